"""The video decoder of this machine's graphics processor, where there is one. Knows nothing of files."""

from functools import cache

from av import Codec
from av.codec.hwaccel import HWAccel, hwdevices_available

_KNOWN = ("cuda", "videotoolbox", "vaapi", "qsv", "d3d11va")  # those that give frames back to main memory


@cache
def hardware_decoder() -> HWAccel | None:
    """The first that can be opened here; it decodes in software what it cannot. None where there is none.

    PyAV lists what FFmpeg was built for, not what the machine has: only opening one tells.
    """
    for name in _KNOWN:
        if name in hwdevices_available():
            try:
                return HWAccel(name, allow_software_fallback=True).create(Codec("h264", "r"))
            except (RuntimeError, NotImplementedError, OSError, ValueError):
                continue
    return None
