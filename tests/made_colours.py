"""ICC profiles of wide colour spaces, and pictures in their colours, worked out here from the spaces' definitions."""

import struct

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# (x, y) of red, green, blue and white, and the exponent of the transfer curve.
SPACES: dict[str, tuple[tuple[tuple[float, float], ...], float]] = {
    "Display P3": (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)), 2.2),
    "Adobe RGB": (((0.640, 0.330), (0.210, 0.710), (0.150, 0.060), (0.3127, 0.3290)), 2.19921875),
    "ProPhoto": (((0.734699, 0.265301), (0.159597, 0.840403), (0.036598, 0.000105), (0.345704, 0.358540)), 1.8),
    "Rec. 2020": (((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)), 2.4),
}
SRGB = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), (0.3127, 0.3290))
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_xyz(primaries: tuple[tuple[float, float], ...]) -> Array:
    """(3, 3): linear RGB of the space -> XYZ adapted to D50, by Bradford's way."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    white = columns[:, 3]
    matrix = columns[:, :3] * np.linalg.solve(columns[:, :3], white)
    gains = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapted: Array = np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD @ matrix
    return adapted


def linear(srgb: NDArray[np.uint8]) -> Array:
    """8-bit sRGB -> light, 0..1."""
    value = srgb / 255.0
    light: Array = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return light


def in_space(srgb: NDArray[np.uint8], space: str) -> NDArray[np.uint8]:
    """The same colours, (..., 3), as numbers of that space."""
    primaries, gamma = SPACES[space]
    light = linear(srgb) @ (np.linalg.inv(to_xyz(primaries)) @ to_xyz(SRGB)).T
    return np.rint(np.clip(light, 0, 1) ** (1 / gamma) * 255).astype(np.uint8)


def profile(space: str) -> bytes:
    """An ICC profile (version 2, matrix and curve) of the space."""
    primaries, gamma = SPACES[space]
    name = space.encode() + b"\0"
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(_D50),
        **{mark: _xyz(column) for mark, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), to_xyz(primaries).T, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, data = struct.pack(">I", len(tags)), b""
    for mark, body in tags.items():
        table += mark + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    size = 128 + len(table) + len(data)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    head += bytes(28) + struct.pack(">3i", *(round(float(v) * 65536) for v in _D50))
    return head.ljust(128, b"\0") + table + data


def _xyz(values: Array) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(v) * 65536) for v in values))
