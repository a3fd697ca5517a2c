"""The verb `vicmae explain`. Words and exit codes only."""

from pathlib import Path
from typing import Annotated

import typer

from ...errors import InvalidRequest
from ...settings import load_settings
from ...terminal import BundleOption, DataOption, JsonOption, print_json
from .common import limits_of, sandbox_of


def explain(
    query: Annotated[Path, typer.Argument(help="The picture or video that was looked for.")],
    hit: Annotated[Path, typer.Argument(help="The picture or video that was found.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write, such as why.png.")],
    at: Annotated[float, typer.Option(min=0, help="Second of the query, for a video.")] = 0.0,
    hit_at: Annotated[float, typer.Option(min=0, help="Second of the hit, for a video.")] = 0.0,
    data: DataOption = None,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw why two pictures are alike: each beside itself under a heat map of what the other one holds too."""
    from PIL import Image

    from ...export.engine import open_engine
    from ...export.explanation import SHOWN_SIDE, side_by_side
    from ...export.explanation import explain as explained

    settings = load_settings(data=data, bundle=bundle)
    if out.suffix.lower() not in {".png", ".jpg", ".jpeg", ".webp"} or not out.parent.is_dir():
        raise InvalidRequest(f"-o {out}: expected a file .png, .jpg or .webp in a folder that exists.")
    with open_engine(settings.bundle, **settings.engine_options) as engine, sandbox_of(settings) as decoder:
        frames = [
            decoder.frame_at(path, seconds, limits_of(settings), max(SHOWN_SIDE, 2 * engine.spec.size))
            for path, seconds in ((query, at), (hit, hit_at))
        ]
        why = explained(engine, *frames)
    try:
        Image.fromarray(side_by_side(why)).save(out)
    except OSError as error:
        raise InvalidRequest(f"{out} cannot be written: {error.strerror or error}.") from error
    if as_json:
        grids = {"query": why.query.grid.tolist(), "hit": why.hit.grid.tolist()}
        print_json({"score": why.score, **grids, "out": str(out)})
    else:
        typer.echo(f"cosine {why.score:.3f}; {out} shows where the two agree")
