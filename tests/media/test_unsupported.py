"""media/unsupported.py: what is whole and not read is called so, and never damaged."""

import io
import struct

import numpy as np
import pytest
from made_media import picture
from PIL import Image

from vicmae.errors import CorruptMedia, UnsupportedMedia
from vicmae.media.reader import frame_at

PIXELS = np.asarray(picture(2, (32, 24)))


def tiff(values: np.ndarray, kind: int, compression: int = 1, data: bytes | None = None) -> bytes:
    """values (H, W, C) as a TIFF with one strip; kind: of its numbers (1 integer, 3 floating-point)."""
    height, width, channels = values.shape
    data = values.tobytes() if data is None else data
    tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8 * values.itemsize] * channels),
        259: (3, [compression]),
        262: (3, [2 if channels == 3 else 1]),
        273: (4, [8]),
        277: (3, [channels]),
        278: (4, [height]),
        279: (4, [len(data)]),
        339: (3, [kind] * channels),
    }
    place = 8 + len(data)
    table, behind = struct.pack("<H", len(tags)), b""
    after = place + 2 + 12 * len(tags) + 4
    for tag, (type_, numbers) in tags.items():
        body = struct.pack(f"<{len(numbers)}{'H' if type_ == 3 else 'I'}", *numbers)
        if len(body) > 4:
            behind, body = behind + body, struct.pack("<I", after + len(behind))
        table += struct.pack("<HHI", tag, type_, len(numbers)) + body.ljust(4, b"\0")
    return struct.pack("<2sHI", b"II", 42, place) + data + table + bytes(4) + behind


def jpeg_of_kind(marker: int) -> bytes:
    """A JPEG whose pixels are said to be made by another process."""
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "JPEG")
    return out.getvalue().replace(b"\xff\xc0", bytes((0xFF, marker)), 1)


WHOLE = {
    "floating-point": tiff((PIXELS / 255).astype(np.float32), 3),
    "64-bit": tiff((PIXELS / 255).astype(np.float64), 3),
    "compression 34712": tiff(PIXELS, 1, 34712, bytes(500)),
    "JPEG-LS": jpeg_of_kind(0xF7),
    "JPEG XL": b"\xff\x0a" + bytes(100),
    "JPEG XL ": b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(100),
    "Photoshop": b"8BPS\x00\x01" + bytes(100),
    "OpenEXR": b"\x76\x2f\x31\x01" + bytes(100),
    "Radiance HDR": b"#?RADIANCE\n" + bytes(100),
    "JPEG XR": b"II\xbc\x01" + bytes(100),
    "PDF": b"%PDF-1.7\n" * 50,
    "SVG": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"></svg>',
}


@pytest.mark.parametrize("name", WHOLE)
def test_it_is_said_that_a_format_is_not_supported(name: str) -> None:
    with pytest.raises(UnsupportedMedia, match=f"This format is not supported: .*{name.strip()}"):
        frame_at(WHOLE[name], 0.0)


def test_lossless_jpeg_is_read_or_called_unsupported() -> None:
    """Newer libraries read some of it."""
    try:
        frame_at(jpeg_of_kind(0xC3), 0.0)
    except UnsupportedMedia as error:
        assert "lossless JPEG" in str(error)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_what_is_cut_short_is_not_called_unsupported(share: float) -> None:
    whole = WHOLE["floating-point"]
    with pytest.raises(CorruptMedia, match="damaged or cut short"):
        frame_at(whole[: int(share * len(whole))], 0.0)


def test_the_makers_of_these_files_make_readable_ones_too() -> None:
    assert (frame_at(tiff(PIXELS, 1), 0.0).data[0] == PIXELS).all()
