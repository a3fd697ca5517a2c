"""The verb `vicmae calibrate`. Words and exit codes only."""

from pathlib import Path
from typing import Annotated

import typer

from ...errors import InvalidRequest
from ...settings import load_settings
from ...terminal import DeviceOption, EngineOption, JsonOption, print_json, say
from .common import limits_of, sandbox_of, stages


def calibrate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the model; its manifest is written.")],
    media: Annotated[list[Path], typer.Argument(metavar="MEDIA", help="Photos and clips, or folders of them.")],
    device: DeviceOption = None,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit to your own media what depends on the model: how sure a hit is, and which frames are the same.

    No labels are needed: the media are edited and asked for. At least 40 pictures of 10 files, and 8 clips for what
    concerns clips; at most 200 photos and 40 clips are read. Written into the bundle's manifest and card.
    """
    from ...export.bundle import read_manifest, record_calibration
    from ...export.engine import open_engine
    from ..calibrate import calibrate as fit
    from ..ingest import walk

    settings = load_settings(bundle=bundle, device=device, engine=engine)
    read_manifest(bundle)  # that it is a bundle at all is told before any medium is read
    found = walk(media)
    if not found.files:
        missing = "; ".join(f"{path}: {reason.rstrip('.')}" for path, reason in found.unseen)
        named = ", ".join(map(str, media))
        raise InvalidRequest(f"There is no photo and no clip in {named}. {missing}".rstrip())
    with (
        open_engine(settings.bundle, **settings.engine_options) as opened,
        sandbox_of(settings) as decoder,
        stages() as on_progress,
    ):
        paths = [file.path for file in found.files]
        fitted = fit(paths, opened, decoder, limits_of(settings), on_progress)
    record_calibration(bundle, opened.fingerprint, fitted)
    counts = fitted.fitted_on
    told = f"Fitted to {counts['photos']} photos and {counts['clips']} clips"
    say(f"{told} ({counts['pictures']} pictures, {counts['questions']} questions, {counts['stretches']} stretches).")
    if fitted.stretch is None:
        say(f"{counts['clips']} clips are too few to fit what concerns clips: their hits stay without a confidence.")
    values = fitted.to_dict()
    del values["mean"]  # of hundreds of numbers
    if as_json:
        print_json({"bundle": str(bundle), "calibration": values})
        return
    for name, value in values.items():
        typer.echo(f"{name}: {value}")
