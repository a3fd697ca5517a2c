"""What these verbs share: limits, decoding children and ways of ingest, as the settings say."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from ...errors import BundleError
from ...settings import Settings
from ...terminal import progress, say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...export.calibration import Calibration
    from ...export.engine import Engine
    from ...media.decoding import Decoder
    from ...media.limits import MediaLimits
    from ...media.sandbox import Sandbox
    from ..collection import Collection
    from ..ingest import IngestOptions
    from ..search import Tools


def limits_of(settings: Settings) -> "MediaLimits":
    from ...media.limits import MediaLimits

    return MediaLimits(**settings.media_limits)


def sandbox_of(settings: Settings) -> "Sandbox":
    from ...media.sandbox import Sandbox

    return Sandbox(**settings.sandbox_options)


def ingest_options(settings: Settings, decoder: "Sandbox") -> "IngestOptions":
    from ..ingest import IngestOptions

    return IngestOptions(
        settings.frames_per_second, settings.sampling, limits_of(settings), decoder, **settings.frame_store_options
    )


def calibration_of(collection: "Collection", settings: Settings) -> "Calibration":
    """What was fitted for the model of a collection, if that is the bundle's; else a line says what is missing."""
    from ...export.bundle import read_manifest
    from ...export.calibration import UNCALIBRATED, how_to_calibrate

    try:
        manifest = read_manifest(settings.bundle)
    except BundleError as error:  # what was found stands without it
        say(str(error))
        return UNCALIBRATED
    if manifest.fingerprint != collection.fingerprint:
        say(
            f"{settings.bundle} is not the model of {collection.name}, {collection.model}: its calibration is not "
            "used. Name the model's bundle with --bundle."
        )
        return UNCALIBRATED
    if manifest.calibration is None:
        say(how_to_calibrate("pictures").replace("BUNDLE", str(settings.bundle)))
        return UNCALIBRATED
    return manifest.calibration


def search_tools(settings: Settings, engine: "Engine", decoder: "Decoder", timing: dict[str, float]) -> "Tools":
    """What the settings say; milliseconds of each stage go to `timing`."""
    from ..search import Tools

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        began = perf_counter()
        yield
        timing[name] = round(timing.get(name, 0.0) + 1000 * (perf_counter() - began), 3)

    def embed(batches: "Sequence[NDArray[np.uint8]]") -> "list[NDArray[np.float32]]":
        with stage("engine_ms"):
            return [engine.embed(pixels) for pixels in batches]

    return Tools(
        embed,
        limits_of(settings),
        decoder,
        settings.frames_per_second,
        settings.max_query_seconds,
        engine.calibration,
        stage,
        settings.verify_budget_seconds,
    )


@contextmanager
def stages() -> "Iterator[Callable[[str, int, int], None]]":
    """A progress bar over what is being done."""
    with progress("") as bar:
        task = bar.add_task("", total=None, rate="")
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)
