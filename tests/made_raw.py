"""A camera's files, made here: an uncompressed DNG of a scene, also with a small picture before it."""

import struct
from collections.abc import Sequence

import numpy as np
from made_colours import linear
from numpy.typing import NDArray

Tags = dict[int, tuple[int, Sequence[int]]]
_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _SRATIONAL = 1, 2, 3, 4, 5, 10
_CODES = {_BYTE: "B", _ASCII: "B", _SHORT: "H", _LONG: "I", _RATIONAL: "I", _SRATIONAL: "i"}
# XYZ -> linear sRGB by 10 000: the camera sees as sRGB is defined.
_CAMERA = (32405, -15371, -4985, -9693, 18760, 416, 556, -2040, 10572)


def dng(srgb: NDArray[np.uint8], orientation: int = 1, thumbnail: NDArray[np.uint8] | None = None) -> bytes:
    """srgb (H, W, 3), even sides, seen through a mosaic of red, green and blue.

    thumbnail (h, w, 3): a picture that comes first in the file, with the raw one below it, as cameras write.
    """
    light = np.rint(linear(srgb) * 60000).astype(np.uint16)
    mosaic = light[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = light[::2, ::2, 0], light[1::2, 1::2, 2]
    height, width = mosaic.shape
    camera: Tags = {
        50706: (_BYTE, [1, 4, 0, 0]),
        50707: (_BYTE, [1, 1, 0, 0]),
        50708: (_ASCII, b"Made Camera\0"),
        271: (_ASCII, b"Made\0"),
        272: (_ASCII, b"Camera\0"),
        274: (_SHORT, [orientation]),
        50721: (_SRATIONAL, [part for number in _CAMERA for part in (number, 10000)]),
        50728: (_RATIONAL, [1, 1] * 3),
        50778: (_SHORT, [21]),
    }
    sensor = {
        254: (_LONG, [0]),
        **_strip(width, height, 1, 16),
        262: (_SHORT, [32803]),
        33421: (_SHORT, [2, 2]),
        33422: (_BYTE, [0, 1, 1, 2]),
        50714: (_SHORT, [0]),
        50717: (_LONG, [60000]),
    }
    if thumbnail is None:
        return _file([({**camera, **sensor}, mosaic.tobytes())])
    small = {**_strip(thumbnail.shape[1], thumbnail.shape[0], 3, 8), 254: (_LONG, [1]), 262: (_SHORT, [2])}
    return _file([({**camera, **small, 330: (_LONG, [0])}, thumbnail.tobytes()), (sensor, mosaic.tobytes())])


def _strip(width: int, height: int, channels: int, bits: int) -> Tags:
    size = width * height * channels * bits // 8
    return {
        256: (_LONG, [width]),
        257: (_LONG, [height]),
        258: (_SHORT, [bits] * channels),
        259: (_SHORT, [1]),
        273: (_LONG, [0]),
        277: (_SHORT, [channels]),
        278: (_LONG, [height]),
        279: (_LONG, [size]),
    }


def _file(parts: list[tuple[Tags, bytes]]) -> bytes:
    """A TIFF: the first part as IFD 0, a second one below it (tag 330)."""
    data, below = b"", 0
    for tags, pixels in reversed(parts):
        tags = {**tags, 273: (_LONG, [8 + len(data)])}
        if 330 in tags:
            tags[330] = (_LONG, [below])
        data += pixels + bytes(-len(pixels) % 2)
        below = 8 + len(data)
        data += _directory(tags, below)
    return struct.pack("<2sHI", b"II", 42, below) + data


def _directory(tags: Tags, place: int) -> bytes:
    table, behind = struct.pack("<H", len(tags)), b""
    after = place + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        body = struct.pack(f"<{len(values)}{_CODES[kind]}", *values)
        count = len(values) // (2 if kind in (_RATIONAL, _SRATIONAL) else 1)
        if len(body) > 4:
            place_of_body, behind = after + len(behind), behind + body + bytes(len(body) % 2)
            body = struct.pack("<I", place_of_body)
        table += struct.pack("<HHI", tag, kind, count) + body.ljust(4, b"\0")
    return table + bytes(4) + behind
