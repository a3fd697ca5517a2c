"""Formats that are known and not read: what a file is, so that nobody is told it is damaged."""

import io
from typing import BinaryIO

from PIL import TiffImagePlugin

from .info import match_mark

_MARKS = (
    ("JPEG XL", rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n"),
    ("Photoshop", rb"8BPS\x00[\x01\x02]"),
    ("OpenEXR", rb"\x76\x2f\x31\x01"),
    ("Radiance HDR", rb"#\?(RADIANCE|RGBE)\n"),
    ("JPEG XR", rb"II\xbc\x01"),
    ("BPG", rb"BPG\xfb"),
    ("FLIF", rb"FLIF"),
    ("GIMP", rb"gimp xcf "),
    ("DirectDraw", rb"DDS \x7c\x00\x00\x00"),
    ("FITS", rb"SIMPLE  ="),
    ("PDF", rb"%PDF-"),
    ("SVG", rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg[\s>]"),
)
_JPEG_KINDS = {0xC3: "lossless JPEG", 0xF7: "JPEG-LS", 0xC5: "hierarchical JPEG", 0xC6: "hierarchical JPEG"}
_JPEG_KINDS |= {0xC7: "lossless hierarchical JPEG", 0xCB: "lossless JPEG", 0xCF: "lossless hierarchical JPEG"}
_SIZE_TAGS = (256, 257)
_PLACE_TAGS = (273, 324)  # of strips, of tiles
_SAMPLES = {1: "integer", 2: "signed integer", 3: "floating-point", 5: "complex integer", 6: "complex"}


def unsupported_format(head: bytes) -> str | None:
    """The first bytes of a file -> the name of a format that is known and not read."""
    return match_mark(_MARKS, head)


def unsupported_variety(file: BinaryIO, name: str) -> str | None:
    """What a picture is that cannot be opened, although it is whole; None where it is damaged.

    name: of its format, as info.py has it.
    """
    try:
        file.seek(0)
        if name == "JPEG":
            return _JPEG_KINDS.get(_frame_marker(file))
        return _kind_of_tiff(file) if name == "TIFF" else None
    # Whatever the file does to the parser of its tags, it is damaged then.
    except Exception:
        return None


def _frame_marker(file: BinaryIO) -> int:
    """Which process a JPEG was made by: its SOF marker; 0 where there is none before the pixels."""
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        marker, length = head[1], int.from_bytes(head[2:], "big")
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return marker
        if marker == 0xDA:
            return 0
        file.seek(max(length - 2, 0), io.SEEK_CUR)
    return 0


def _kind_of_tiff(file: BinaryIO) -> str | None:
    """The variety of a TIFF whose tags are whole and whose pixels lie within the file."""
    head = file.read(16)
    tags = TiffImagePlugin.ImageFileDirectory_v2(head if head[2] == 43 or head[3] == 43 else head[:8])
    file.seek(tags.next)
    tags.load(file)
    places = next((tags[tag] for tag in _PLACE_TAGS if tag in tags), ())
    counts = next((tags[tag + 6 if tag == 273 else 325] for tag in _PLACE_TAGS if tag in tags), ())
    size = file.seek(0, io.SEEK_END)
    if not all(tags.get(tag) for tag in _SIZE_TAGS) or not places or len(places) != len(counts):
        return None
    if any(place + count > size for place, count in zip(places, counts, strict=True)):
        return None
    bits, samples = tags.get(258, (1,)), tags.get(277, 1)
    kind = _SAMPLES.get(tags.get(339, (1,))[0], "unknown")
    return f"TIFF with {samples} channels of {bits[0]}-bit {kind} numbers, compression {tags.get(259, 1)}"
