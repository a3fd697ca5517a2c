"""The verb `vicmae embed`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ...terminal import FAILED, PARTLY, BundleOption, JsonOption, SamplingOption, print_json, progress, say, stdout


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
    from ...media.limits import MediaLimits
    from ...media.sandbox import Sandbox
    from ...settings import load_settings
    from ..embed import Rows, check_out, embed_files, join, write_rows
    from ..engine import open_engine

    settings = load_settings(bundle=bundle, frames_per_second=fps, sampling=sampling)
    limits = MediaLimits(
        settings.max_upload_bytes, settings.max_pixels, settings.max_frames, settings.max_duration_seconds
    ).for_own_disk()
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
