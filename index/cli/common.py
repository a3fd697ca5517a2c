"""What several verbs of this room share: the limits of media, and the children that decode, as the settings say."""

from typing import TYPE_CHECKING

from ...settings import Settings

if TYPE_CHECKING:
    from ...media.limits import MediaLimits
    from ...media.sandbox import Sandbox


def limits_of(settings: Settings) -> "MediaLimits":
    from ...media.limits import MediaLimits

    return MediaLimits(
        max_bytes=settings.max_upload_bytes,
        max_pixels=settings.max_pixels,
        max_frames=settings.max_frames,
        max_duration_seconds=settings.max_duration_seconds,
    )


def sandbox_of(settings: Settings) -> "Sandbox":
    from ...media.sandbox import Sandbox

    return Sandbox(
        settings.decode_workers,
        settings.decode_memory_bytes,
        settings.decode_timeout_seconds,
        settings.hardware_decoding == "auto",
    )
