"""The video decoder of this machine's graphics processor, where there is one. Knows nothing of files."""

from functools import cache

from av import Codec
from av.codec.hwaccel import HWAccel, hwdevices_available

_KNOWN = ("cuda", "videotoolbox", "vaapi", "qsv", "d3d11va")  # those that give frames back to main memory


def hardware_decoder() -> HWAccel | None:
    """For one opening of one file; it decodes in software what it cannot. None where there is no such device."""
    name = device()
    return HWAccel(name, allow_software_fallback=True) if name else None


@cache
def device() -> str | None:
    """The name of the first device that can be opened here.

    PyAV lists what FFmpeg was built for, not what the machine has: only opening one tells.
    """
    for name in _KNOWN:
        if name in hwdevices_available():
            try:
                HWAccel(name).create(Codec("h264", "r"))
            except (RuntimeError, OSError, ValueError):  # FFmpeg's own errors are among them
                continue
            return name
    return None
