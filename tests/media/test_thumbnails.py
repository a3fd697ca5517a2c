"""media/thumbnails.py: small upright JPEGs without metadata."""

import io
from pathlib import Path

import numpy as np
import pytest
from made_media import picture, scene_at, write_image, write_text, write_video
from PIL import ExifTags, Image

from vicmae.errors import MediaError
from vicmae.media.thumbnails import thumbnail


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def test_a_picture_becomes_a_small_jpeg(tmp_path: Path) -> None:
    image = opened(thumbnail(write_image(tmp_path / "a.png", 1, (800, 600)), max_side=200))
    assert image.format == "JPEG" and image.size == (200, 150)
    assert np.abs(np.asarray(image, int) - np.asarray(picture(1, (200, 150)), int)).mean() < 12


def test_a_small_picture_keeps_its_size(tmp_path: Path) -> None:
    assert opened(thumbnail(write_image(tmp_path / "a.png", 1, (40, 30)))).size == (40, 30)


def test_a_video_is_shown_at_the_second_asked_for(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 1, 6.0)
    for second in (0.0, 3.0, 5.0):
        image = opened(thumbnail(path, second))
        assert np.abs(np.asarray(image, int) - scene_at(1, second).astype(int)).mean() < 20


def test_it_is_upright_and_says_nothing_about_its_origin(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Model] = "a camera"
    image = opened(thumbnail(write_image(tmp_path / "a.jpg", 1, (160, 120), exif=exif)))
    assert image.size == (120, 160)
    assert not image.getexif() and "exif" not in image.info


def test_extreme_shapes_and_no_picture(tmp_path: Path) -> None:
    assert opened(thumbnail(write_image(tmp_path / "a.png", 1, (2000, 1)))).size == (320, 1)
    with pytest.raises(MediaError):
        thumbnail(write_text(tmp_path / "a.jpg"))
