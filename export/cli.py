"""The verbs of this room: `vicmae export` and `vicmae embed`."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BundleError, InvalidRequest
from ..terminal import FAILED, PARTLY, BundleOption, JsonOption, SamplingOption, print_json, progress, say, stdout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..media.spec import InputSpec

PICTURES_FOR_DRIFT = 500


def register(app: typer.Typer) -> None:
    app.command()(export)
    app.command()(embed)


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
    json_output: JsonOption = False,
) -> None:
    """Make a bundle of a checkpoint: ONNX with normalisation inside, and the proof that it agrees with PyTorch."""
    missing = [package for package in ("torch", "timm", "onnx", "onnxscript") if find_spec(package) is None]
    if missing:
        raise BundleError(f"{', '.join(missing)} is not installed. Run: pip install 'vicmae[export]'")
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
    sampling: SamplingOption = None,
    bundle: BundleOption = None,
    json_output: JsonOption = False,
) -> None:
    """Embed files and write uri, start_seconds and vectors: a row an image, a row a sampled frame."""
    from ..media.limits import MediaLimits
    from ..media.sandbox import Sandbox
    from ..settings import load_settings
    from .choice import open_engine
    from .embed import Rows, check_out, embed_files, join, write_rows

    settings = load_settings(bundle=bundle, frames_per_second=fps, sampling=sampling)
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
        rate = settings.frames_per_second
        for path, result in embed_files(engine, files, rate, clip, limits, decoder, settings.sampling):
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


def _print_rows(rows: Any) -> None:
    for uri, start, vector in zip(rows.uri, rows.start_seconds, rows.vectors, strict=True):
        typer.echo(json.dumps({"uri": str(uri), "start_seconds": float(start), "vector": vector.tolist()}))
