"""What several verbs of this room share: limits, decoding children and ways of ingest, as the settings say."""

from typing import TYPE_CHECKING

from ...settings import Settings

if TYPE_CHECKING:
    from ...media.limits import MediaLimits
    from ...media.sandbox import Sandbox
    from ..ingest import IngestOptions


def limits_of(settings: Settings) -> "MediaLimits":
    from ...media.limits import MediaLimits

    return MediaLimits(**settings.media_limits)


def sandbox_of(settings: Settings) -> "Sandbox":
    from ...media.sandbox import Sandbox

    return Sandbox(**settings.sandbox_options)


def ingest_options(settings: Settings, decoder: "Sandbox") -> "IngestOptions":
    from ..ingest import IngestOptions

    return IngestOptions(settings.frames_per_second, settings.sampling, limits_of(settings), decoder)
