"""media/images.py: every format, mode and orientation of pictures and animations, and broken ones."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from made_media import (
    picture,
    write_animation,
    write_empty,
    write_gif_bomb,
    write_image,
    write_text,
    write_truncated,
)
from PIL import ExifTags, Image, ImageSequence

from vicmae.errors import CorruptMedia, MediaError, MediaTooLarge, UnsupportedMedia
from vicmae.media.gif import gif_delays
from vicmae.media.limits import MediaLimits
from vicmae.media.reader import Source, frame_at, probe, read_frames

FORMATS = {
    "jpg": ("jpeg", "image/jpeg", 10),
    "png": ("png", "image/png", 0),
    "webp": ("webp", "image/webp", 14),
    "gif": ("gif", "image/gif", 20),
    "tif": ("tiff", "image/tiff", 0),
    "bmp": ("bmp", "image/bmp", 0),
    "heic": ("heic", "image/heic", 10),
    "avif": ("avif", "image/avif", 10),
    "jp2": ("jpeg2000", "image/jp2", 1),
    "ppm": ("pnm", "image/x-portable-anymap", 0),
}


def read(source: Source) -> np.ndarray:
    """The one picture in a file, (H, W, 3)."""
    (frames,) = read_frames(source, 2.0)
    assert len(frames) == 1 and frames.seconds.tolist() == [0.0]
    return np.asarray(frames.data[0], int)


def saved(image: Image.Image, format_: str = "PNG", **save_args: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format_, **save_args)
    return out.getvalue()


def difference(a: np.ndarray, b: np.ndarray | Image.Image) -> float:
    return float(np.abs(np.asarray(a, int) - np.asarray(b, int)).mean())


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    codec, mime, tolerance = FORMATS[suffix]
    path = write_image(tmp_path / f"picture.{suffix}", 4, (96, 64))
    info = probe(path)
    assert (info.kind, info.width, info.height, info.duration_seconds) == ("image", 96, 64, 0.0)
    assert (info.codec, info.mime) == (codec, mime)
    assert difference(read(path), picture(4, (96, 64))) <= tolerance
    assert (read(path.read_bytes()) == read(path)).all()


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    jpeg = write_image(tmp_path / "picture.jpg", 4)
    for name in ("photo.heic", "film.mp4", "notes.txt", "nothing"):
        assert probe(jpeg.rename(tmp_path / name)).mime == "image/jpeg"
        jpeg = tmp_path / name


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_exif_orientation(orientation: int, format_: str) -> None:
    """Stored turned the other way, a picture comes out as it was, and probe knows its upright size."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = picture(9, (64, 48))
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = saved(stored, format_, exif=exif)
    info = probe(data)
    assert (info.width, info.height) == (64, 48)
    assert difference(read(data), upright) < 12


def test_heic_is_turned_once(tmp_path: Path) -> None:
    upright = picture(9, (64, 48))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = write_image(tmp_path / "plain.heic", 9, (64, 48))
    assert difference(read(path), upright) < 12
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.heic", exif=exif)
    info = probe(tmp_path / "turned.heic")
    assert (info.width, info.height) == (64, 48)
    assert difference(read(tmp_path / "turned.heic"), upright) < 12


def test_a_broken_exif_block_does_not_cost_the_picture() -> None:
    data = saved(picture(1), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + b"\x12" * 30)
    assert read(data).shape == (120, 160, 3)


@pytest.mark.parametrize("big_endian", [False, True])
def test_16_bit_grey_is_scaled_not_clipped(big_endian: bool) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    for data in (saved(Image.fromarray(ramp)), saved(Image.fromarray(ramp), "TIFF")):
        grey = read(data)
        assert grey[0, 0, 0] == 0 and grey[-1, -1, 0] == 255
        assert np.abs(grey[..., 0] - ramp / 257).max() <= 1.01
        assert (grey[..., 0] == grey[..., 2]).all()


def test_12_bits_in_a_16_bit_tiff_are_not_black() -> None:
    ramp = np.linspace(0, 4095, 64 * 64).astype(np.uint16).reshape(64, 64)
    grey = read(saved(Image.fromarray(ramp), "TIFF"))
    assert grey.min() == 0 and grey.max() == 255


def test_16_bit_rgb_png() -> None:
    rgb = np.asarray(picture(2, (8, 6)))
    rows = b"".join(b"\x00" + (row.astype(">u2") * 257).tobytes() for row in rgb)
    header = struct.pack(">IIBBBBB", 8, 6, 16, 2, 0, 0, 0)

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert (read(data) == rgb).all()


def test_32_bit_and_float_tiff() -> None:
    ramp = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    ramp[0, 0] = np.nan
    assert read(saved(Image.fromarray(ramp), "TIFF"))[-1, -1, 0] == 255
    assert read(saved(Image.fromarray(ramp * 1000), "TIFF"))[-1, -1, 0] == 255
    whole = (np.nan_to_num(ramp) * 2**20).astype(np.int32)
    assert read(saved(Image.fromarray(whole), "TIFF"))[-1, -1, 0] >= 127


def test_transparency_is_shown_on_white() -> None:
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    half.paste((200, 10, 10, 255), (0, 0, 4, 8))
    palette = half.quantize(4)
    keyed = Image.new("L", (8, 8), 7)
    for data in (saved(half), saved(half, "WEBP", lossless=True), saved(half.convert("LA")), saved(palette)):
        assert (read(data)[:, 4:] == 255).all()
        assert read(data)[0, 0].sum() < 400
    assert (read(saved(keyed, transparency=7)) == 255).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "CMYK", "YCbCr", "LAB"])
def test_other_colour_modes(mode: str) -> None:
    image = picture(6)
    stored = image.convert("P", palette=Image.Palette.ADAPTIVE) if mode == "P" else None
    if mode == "LAB":
        lab = np.zeros((120, 160, 3), np.uint8)
        lab[...] = (128, 0, 0)
        stored = Image.frombytes("LAB", (160, 120), lab.tobytes())
    stored = stored or image.convert(mode)
    format_ = {"CMYK": "JPEG", "YCbCr": "JPEG", "LAB": "TIFF"}.get(mode, "PNG")
    out = read(saved(stored, format_))
    assert out.shape == (120, 160, 3)
    if mode in ("CMYK", "YCbCr", "P"):
        assert difference(out, image) < 12
    if mode == "LAB":
        assert np.ptp(out) == 0 and 110 < out[0, 0, 0] < 130


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "avif"])
def test_animations_are_videos_with_their_own_times(tmp_path: Path, suffix: str) -> None:
    path = write_animation(tmp_path / f"moving.{suffix}", [1, 2, 3, 4], [100, 400, 250, 250])
    info = probe(path)
    assert (info.kind, info.width, info.height) == ("video", 160, 120)
    assert info.duration_seconds == pytest.approx(1.0, abs=0.01)
    (frames,) = read_frames(path, 30.0)
    assert frames.seconds == pytest.approx([0.0, 0.1, 0.5, 0.75], abs=0.01)
    for shown, seed in zip(frames.data, [1, 2, 3, 4], strict=True):
        assert difference(shown, picture(seed)) < 20
    assert difference(frame_at(path, 0.6).data[0], picture(3)) < 20
    assert difference(frame_at(path, 99.0).data[0], picture(4)) < 20


def test_frames_without_a_delay_last_a_tenth_of_a_second_as_in_browsers(tmp_path: Path) -> None:
    path = write_animation(tmp_path / "fast.gif", [1, 2, 3], 0)
    assert probe(path).duration_seconds == pytest.approx(0.3)


def test_the_blocks_of_a_gif_tell_what_decoding_it_tells(tmp_path: Path) -> None:
    for seeds, delays in (([1, 2, 3, 4], [100, 400, 20, 250]), ([5], [70]), ([1, 1, 2], [30, 40, 50])):
        path = write_animation(tmp_path / "moving.gif", seeds, delays)
        with Image.open(path) as image, path.open("rb") as file:
            file.seek(5)
            told = gif_delays(file)
            assert file.tell() == 5
            decoded = [frame.info.get("duration", 0) for frame in ImageSequence.Iterator(image)]
            assert told == decoded
    cut = write_truncated(tmp_path / "cut.gif", path, 0.5).read_bytes()
    assert 1 <= len(gif_delays(io.BytesIO(cut))) < 3
    assert gif_delays(io.BytesIO(b"GIF89a")) == []


def test_a_single_frame_gif_is_an_image(tmp_path: Path) -> None:
    assert probe(write_image(tmp_path / "still.gif", 1)).kind == "image"


def test_a_multi_page_tiff_is_its_first_page(tmp_path: Path) -> None:
    path = write_animation(tmp_path / "pages.tif", [1, 2], 100)
    assert probe(path).kind == "image"
    assert difference(read(path), picture(1)) == 0


def test_an_animation_that_breaks_off_gives_what_it_has(tmp_path: Path) -> None:
    whole = write_animation(tmp_path / "whole.gif", [1, 2, 3, 4], 200)
    cut = write_truncated(tmp_path / "cut.gif", whole, 0.6)
    (frames,) = read_frames(cut, 30.0)
    assert 1 <= len(frames) < 4
    assert difference(frames.data[0], picture(1)) < 20


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp", "heic", "avif"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_truncated_pictures_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    """Those of which less than half is there (partial.py), or of a format that is decoded as one."""
    if share > 0.5 and suffix in ("jpg", "png", "tif", "bmp"):
        pytest.skip("more than half of it is there")
    whole = write_image(tmp_path / f"whole.{suffix}", 4)
    with pytest.raises(CorruptMedia, match="damaged or cut short"):
        read(write_truncated(tmp_path / f"cut.{suffix}", whole, share))


def test_empty_text_and_bomb(tmp_path: Path) -> None:
    with pytest.raises(CorruptMedia, match="empty"):
        probe(write_empty(tmp_path / "empty.jpg"))
    with pytest.raises(UnsupportedMedia, match="no picture or video"):
        probe(write_text(tmp_path / "text.jpg"))
    with pytest.raises(MediaTooLarge, match="max_pixels"):
        probe(write_gif_bomb(tmp_path / "bomb.gif"))


def test_large_pictures_are_read_up_to_the_limit_and_no_further() -> None:
    data = saved(Image.new("1", (20_000, 9_500)), "PNG")
    assert probe(data).width == 20_000
    with pytest.raises(MediaTooLarge, match="max_pixels"):
        probe(data, MediaLimits(max_pixels=189_000_000))


def test_a_file_that_takes_memory_while_it_is_opened_is_refused_before() -> None:
    """This GIF of 44 bytes has a small canvas, and a first frame of 4 gigapixels that is to be cleared."""
    bomb = "47494638396120002000f103009500a3ff0000ffff00ffffff21f904c900e500002c000000ffffff29d2008f"
    with pytest.raises(MediaTooLarge, match="max_pixels"):
        probe(bytes.fromhex(bomb))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "tif", "heic", "avif", "jp2"])
def test_flipped_bytes_end_in_a_picture_or_a_sentence(tmp_path: Path, suffix: str) -> None:
    data = write_image(tmp_path / f"picture.{suffix}", 4, (48, 32)).read_bytes()
    dice = np.random.default_rng(0)
    for _ in range(40):
        broken = bytearray(data)
        for place in dice.integers(0, len(data), 4):
            broken[place] = dice.integers(256)
        try:
            for frames in read_frames(bytes(broken), 2.0, MediaLimits(max_pixels=10**6)):
                assert len(frames) >= 1
        except MediaError as error:
            assert str(error).endswith(".")
