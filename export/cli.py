"""The verbs of this room: `vicmae export`, `vicmae embed` and `vicmae bench engine`."""

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ..errors import BundleError, InvalidRequest
from ..terminal import FAILED, PARTLY, BundleOption, JsonOption, print_json, progress, say, stdout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..media.spec import InputSpec
    from .bench import Report

PICTURES_FOR_DRIFT = 500


def register(app: typer.Typer) -> None:
    app.command()(export)
    app.command()(embed)
    bench = typer.Typer(help="Measure on this machine.", no_args_is_help=True)
    bench.callback()(lambda: None)  # so that one verb alone still wants its name
    bench.command("engine")(bench_engine)
    app.add_typer(bench, name="bench")


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint file, a step's folder or a run's folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle.")],
    name: Annotated[str | None, typer.Option(help="The model's name [default: the folder's].")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the pictures in pixels [default: as trained].")] = None,
    pictures: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of real pictures to measure the drift on; may be repeated."),
    ] = None,
    provenance: Annotated[
        Path | None, typer.Option(help="JSON file with facts for the card [default: the run's run.json].")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write an engine that fails the drift gate.")] = False,
    tensorrt: Annotated[
        bool, typer.Option("--tensorrt", help="Build TensorRT engines for this machine's GPU, too: minutes.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Make a bundle of a checkpoint: ONNX with normalisation inside, and the proof that it agrees with PyTorch."""
    missing = [package for package in ("torch", "timm", "onnx", "onnxscript") if find_spec(package) is None]
    if missing:
        raise BundleError(f"{', '.join(missing)} is not installed. Run: pip install 'vicmae[export]'")
    if tensorrt:
        from .tensorrt_engine import require_tensorrt

        require_tensorrt()
    from dataclasses import asdict

    from ..model.checkpoints import find_checkpoint, load_encoder
    from .to_onnx import export_bundle

    weights = find_checkpoint(checkpoint)
    encoder = load_encoder(weights, size)
    facts = _provenance(weights, provenance)
    found = _pictures(pictures or [], encoder.spec)
    manifest = export_bundle(
        encoder,
        name or out.name,
        out,
        found or None,
        f"{sum(map(len, found))} real pictures" if found else "made-up pictures",
        facts,
        force,
    )
    drift = {file_name: asdict(file.drift) for file_name, file in manifest.engines.items()}
    if tensorrt:
        from .choice import build_tensorrt

        say(f"built for this GPU: {', '.join(build_tensorrt(out))}")
    if json_output:
        print_json({"bundle": str(out), "fingerprint": manifest.fingerprint, "drift": drift})
        return
    for file_name, d in drift.items():
        stdout.print(
            f"{out / file_name}: mean cosine {d['mean_cosine']:.7f}, minimum {d['min_cosine']:.7f} over "
            f"{d['pictures']} pictures ({d['source']})",
            soft_wrap=True,
        )


def _provenance(weights: Path, given: Path | None) -> dict[str, Any]:
    """The facts of a run, from the file given or from run.json in the run's folder."""
    candidates = [given] if given else [weights.parent / "run.json", weights.parent.parent / "run.json"]
    for path in candidates:
        if path.is_file():
            try:
                facts = json.loads(path.read_text())
            except ValueError as error:
                raise InvalidRequest(f"{path} is not JSON: {error}.") from error
            if not isinstance(facts, dict):
                raise InvalidRequest(f"{path} must hold one JSON object.")
            return facts
    if given:
        raise InvalidRequest(f"There is no file {given}.")
    return {}


def _pictures(folders: list[Path], spec: "InputSpec") -> "list[NDArray[np.uint8]]":
    """Up to 500 pictures and first frames below the folders, spread evenly over them, as pixels."""
    from ..errors import MediaError
    from ..media.preprocess import to_pixels
    from ..media.reader import MEDIA_SUFFIXES, frame_at

    files = sorted(
        p for folder in folders for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in MEDIA_SUFFIXES
    )
    if folders and not files:
        raise InvalidRequest(f"There is no picture or video below {', '.join(map(str, folders))}.")
    every = max(1, len(files) // PICTURES_FOR_DRIFT)
    found = []
    with progress("pictures") as bar:
        task = bar.add_task("reading", rate="")
        for path in bar.track(files[::every][:PICTURES_FOR_DRIFT], task_id=task, description="reading"):
            try:
                found.append(to_pixels(frame_at(path, 0.0), spec))
            except MediaError as error:
                say(f"skipped {path}: {error}")
    if folders and not found:
        raise InvalidRequest(f"Not one of {len(files)} files below {', '.join(map(str, folders))} can be read.")
    return found


def embed(
    files: Annotated[list[Path], typer.Argument(help="Pictures and videos.")],
    out: Annotated[str, typer.Option("--out", "-o", help="FILE.npz, FILE.parquet, or - for JSON lines on stdout.")],
    clip: Annotated[bool, typer.Option("--clip", help="One row a video: the mean of its frames.")] = False,
    fps: Annotated[float | None, typer.Option(help="Frames a second of video.")] = None,
    bundle: BundleOption = None,
    json_output: JsonOption = False,
) -> None:
    """Embed files and write uri, start_seconds and vectors: a row an image, a row a sampled frame."""
    from ..media.limits import MediaLimits
    from ..media.sandbox import Sandbox
    from ..settings import load_settings
    from .choice import open_engine
    from .embed import Rows, check_out, embed_files, join, write_rows

    settings = load_settings(bundle=bundle, frames_per_second=fps)
    limits = MediaLimits(
        settings.max_upload_bytes, settings.max_pixels, settings.max_frames, settings.max_duration_seconds
    )
    if out != "-":
        check_out(Path(out))
    parts: list[Rows] = []
    failed: list[dict[str, str]] = []
    decoder = Sandbox(
        settings.decode_workers,
        settings.decode_memory_bytes,
        settings.decode_timeout_seconds,
        settings.hardware_decoding == "auto",
    )
    with open_engine(settings.bundle, **settings.engine_options) as engine, decoder, progress("files") as bar:
        task = bar.add_task("embedding", total=len(files), rate="")
        for path, result in embed_files(engine, files, settings.frames_per_second, clip, limits, decoder):
            bar.advance(task)
            if isinstance(result, str):
                failed.append({"path": str(path), "reason": result})
                say(f"{path}: {result}")
            elif out == "-":
                _print_rows(result)
            else:
                parts.append(result)
        rows = join(parts, engine.spec.dim)
        facts = {"model": engine.name, "fingerprint": engine.fingerprint, "rows": len(rows), "failed": failed}
    if out != "-":
        write_rows(rows, Path(out))
        if json_output:
            print_json({"out": out, **facts})
        else:
            stdout.print(f"{len(rows)} vectors of {rows.vectors.shape[1]} numbers in {out}", soft_wrap=True)
    if failed:
        raise typer.Exit(FAILED if len(failed) == len(files) else PARTLY)


def bench_engine(
    bundle: BundleOption = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Pictures at a time; may be repeated.")] = None,
    threads: Annotated[
        list[int] | None, typer.Option(min=1, help="CPU threads; may be repeated [default: every core].")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Time for each engine, batch and threads.")] = 3.0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, tensorrt or auto.")] = "cpu",
    engine: Annotated[list[str] | None, typer.Option(help="Only this engine; may be repeated.")] = None,
    pictures: Annotated[
        list[Path] | None, typer.Option(help="Folder of pictures for the cosines; may be repeated [default: canary].")
    ] = None,
    table_only: Annotated[bool, typer.Option("--markdown", help="Print the table of docs/engines.md.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw images/s into FILE.png; needs the extra bench.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Time every engine of a bundle beside PyTorch eager, and say how faithful each is."""
    from ..settings import load_settings
    from .bench import markdown, measure
    from .bench import plot as draw
    from .bundle import read_manifest

    if plot is not None and find_spec("matplotlib") is None:
        raise InvalidRequest("--plot needs matplotlib. Run: pip install 'vicmae[bench]'")
    chosen = load_settings(bundle=bundle).bundle
    found = _pictures(pictures or [], read_manifest(chosen).spec)
    batches, counts = batch or [1, 8, 32], threads or [os.cpu_count() or 1]
    source = f"{sum(map(len, found))} real pictures" if found else "canary"
    report = measure(chosen, batches, counts, seconds, device, engine, found, source, say)
    if plot is not None:
        draw(report, plot)
    for name, reason in report.refused.items():
        say(f"{name}: {reason}")
    if find_spec("torch") is None:
        say("PyTorch is not installed, so there is no ratio to it. Run: pip install 'vicmae[train]'")
    if json_output:
        print_json(report.to_dict())
    elif table_only:
        for size in batches:
            typer.echo(markdown(report, size))
    else:
        _print_bench(report)


def _print_bench(report: "Report") -> None:
    speeds = Table(title=report.machine)
    speeds.add_column("engine", no_wrap=True)
    for heading in ("threads", "batch", "images/s", "ms", "x eager", "of peak"):
        speeds.add_column(heading, justify="right")
    for s in report.speeds:
        ratio, share = (f"{x:.2f}" if x is not None else "–" for x in (s.ratio, s.share))
        figures = (f"{s.images_per_second:.1f}", f"{s.ms:.1f}", ratio, share)
        speeds.add_row(s.engine, str(s.threads), str(s.batch), *figures)
    stdout.print(speeds)
    for count, peak in report.peaks.items():
        stdout.print(f"fp32 matrix peak with {count} threads: {peak:.0f} GFLOP/s")
    faiths = Table(title=f"vectors of {report.faiths[0].drift.pictures} pictures" if report.faiths else None)
    faiths.add_column("engine", no_wrap=True)
    for heading in ("file MB", "memory MB", "mean cosine", "minimum", "top-10"):
        faiths.add_column(heading, justify="right")
    for f in report.faiths:
        cosines = (f"{f.drift.mean_cosine:.6f}", f"{f.drift.min_cosine:.6f}", f"{f.drift.top10_overlap:.3f}")
        faiths.add_row(f.engine, f"{f.file_bytes / 1e6:.1f}", f"{f.memory_bytes / 1e6:.0f}", *cosines)
    stdout.print(faiths)


def _print_rows(rows: Any) -> None:
    for uri, start, vector in zip(rows.uri, rows.start_seconds, rows.vectors, strict=True):
        typer.echo(json.dumps({"uri": str(uri), "start_seconds": float(start), "vector": vector.tolist()}))
