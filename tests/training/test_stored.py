"""vicmae.training.stored: the two forms of a cache give the same pictures, and a damaged one says so."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_media import write_text, write_video
from made_runs import made_pictures, nano, nano_recipe, write_pictures
from numpy.typing import NDArray

from vicmae.errors import TrainingError
from vicmae.training.pretrain import pretrain, read_ahead, split_rows
from vicmae.training.sources import Pictures, load_pictures
from vicmae.training.stored import CacheWriter, Stored, encode_rows, read_cache

__all__ = ["nano"]


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = write_pictures(tmp_path / "media", 40)
    write_video(folder / "clip.mp4", 1, seconds=2.0, fps=25, size=(64, 48))
    write_text(folder / "bad.jpg")
    return folder


def load(media: Path, stored: Stored, size: int = 42, **changes: float) -> Pictures:
    return load_pictures([media], media.parent / "cache", size, stored=stored, threads=2, **changes)  # type: ignore[arg-type]


def every_row(pictures: Pictures) -> NDArray[np.uint8]:
    return np.asarray(pictures.data[np.arange(len(pictures.data))])


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def test_both_forms_hold_the_same_items(media: Path) -> None:
    raw, jpeg = load(media, "raw"), load(media, "jpeg")
    assert jpeg.data.shape == raw.data.shape == (60, 42, 42, 3)
    for name in ("seconds", "first", "count", "source"):
        assert (getattr(raw, name) == getattr(jpeg, name)).all()
    assert raw.bad == jpeg.bad and [name for name, _ in raw.bad] == ["bad.jpg"]
    a, b = every_row(raw), every_row(jpeg)
    assert b.dtype == np.uint8 and b.shape == a.shape
    assert all(psnr(one, other) > 15 for one, other in zip(a, b, strict=True))
    again = load(media, "jpeg")
    assert (every_row(again) == b).all() and again.bad == jpeg.bad


def test_jpeg_is_smaller(media: Path) -> None:
    load(media, "raw", 128), load(media, "jpeg", 128)
    (raw,), (jpeg,) = ((media.parent / "cache").glob(f"*/pictures.{form}") for form in ("u8", "jpeg"))
    assert jpeg.stat().st_size < raw.stat().st_size / 4


def test_rows_in_any_order_shape_and_number(media: Path) -> None:
    pictures = load(media, "jpeg")
    rows = every_row(pictures)
    for wanted in (7, [3], [[5, 5, 1], [59, 0, 5]], np.zeros((2, 0), np.int64), np.repeat(np.arange(59), 3)[::-1]):
        got = pictures.data[wanted]
        assert got.shape == (*np.shape(wanted), 42, 42, 3)
        assert (got == rows[np.asarray(wanted, np.int64)]).all()
    with pytest.raises(IndexError):
        pictures.data[[60]]


@pytest.mark.usefixtures("nano")
def test_batches_of_both_forms_show_the_same_pictures(media: Path) -> None:
    recipe = nano_recipe(clip_share=0.125, steps=3)
    rows = split_rows(8, 1)
    raw, jpeg = load(media, "raw"), load(media, "jpeg")
    batches = [list(read_ahead(recipe, pictures, 0, rows, False)) for pictures in (raw, jpeg)]
    for (step, a, _), (same_step, b, waited_seconds) in zip(*batches, strict=True):
        assert step == same_step and waited_seconds >= 0 and bool((a.is_clip == b.is_clip).all())
        assert psnr(a.pixels.numpy(), b.pixels.numpy()) > 15


@pytest.mark.usefixtures("nano")
def test_a_run_reads_a_jpeg_cache_and_resumes(media: Path, tmp_path: Path) -> None:
    recipe = nano_recipe(clip_share=0.125, stored="jpeg", steps=4)
    whole = pretrain(recipe, load(media, "jpeg"), tmp_path / "whole")
    pretrain(replace(recipe, steps=2), load(media, "jpeg"), tmp_path / "part")
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert whole.name == "step-00000004" and all(0 <= line["waiting"] <= 1 for line in lines)
    assert pretrain(recipe, load(media, "jpeg"), tmp_path / "part", resume=True).name == whole.name


def change_a_byte(cache: Path, name: str) -> None:
    content = bytearray((cache / name).read_bytes())
    content[len(content) // 2] ^= 0x10
    (cache / name).write_bytes(content)


def cut(cache: Path, name: str) -> None:
    content = (cache / name).read_bytes()
    (cache / name).write_bytes(content[: len(content) // 2])


def remove(cache: Path, name: str) -> None:
    (cache / name).unlink()


@pytest.mark.parametrize(
    ("stored", "harm", "name"),
    [
        ("jpeg", change_a_byte, "pictures.jpeg"),
        ("jpeg", cut, "pictures.jpeg"),
        ("jpeg", cut, "offsets.npy"),
        ("jpeg", remove, "checks.npy"),
        ("raw", cut, "pictures.u8"),
        ("raw", cut, "index.json"),
        ("raw", cut, "count.npy"),
        ("raw", remove, "seconds.npy"),
    ],
)
def test_a_damaged_cache_says_so(media: Path, stored: Stored, harm: Callable[[Path, str], None], name: str) -> None:
    load(media, stored)
    (cache,) = (media.parent / "cache").iterdir()
    harm(cache, name)
    with pytest.raises(TrainingError, match=f"The cache .*{cache.name} is damaged .* Remove it, then start again"):
        every_row(load(media, stored))


@pytest.mark.usefixtures("nano")
def test_a_damaged_picture_ends_a_run_in_its_sentence(media: Path, tmp_path: Path) -> None:
    load(media, "jpeg")
    (content,) = (media.parent / "cache").glob("*/pictures.jpeg")
    change_a_byte(content.parent, content.name)
    with pytest.raises(TrainingError, match="picture .* is not what was written"):
        pretrain(nano_recipe(batch=40, clip_share=0.025), load(media, "jpeg"), tmp_path / "run")


@pytest.mark.parametrize("stored", ["raw", "jpeg"])
def test_what_is_written_is_read(tmp_path: Path, stored: Stored) -> None:
    pixels = np.asarray(made_pictures(5, 1).data)
    with CacheWriter(tmp_path, stored) as writer:
        for row in range(5):
            writer.add(row // 2, np.zeros(1), encode_rows(pixels[row : row + 1], stored))
        writer.add(9, np.arange(8) / 4, encode_rows(pixels[5:], stored))
        writer.finish([("x.jpg", "broken.")])
    kept = read_cache(tmp_path, stored, 42, 1)
    assert kept.count.tolist() == [1] * 5 + [8] and kept.first.tolist() == [0, 1, 2, 3, 4, 5]
    assert kept.file is not None and kept.file.tolist() == [0, 0, 1, 1, 2, 9]
    assert kept.seconds.tolist() == [0.0] * 5 + (np.arange(8) / 4).tolist()
    assert kept.bad == [("x.jpg", "broken.")]
    got = np.asarray(kept.data[np.arange(13)])
    assert (got == pixels).all() if stored == "raw" else psnr(got, pixels) > 15


def test_fewer_frames_of_a_clip(media: Path) -> None:
    full, few = load(media, "jpeg"), load(media, "jpeg", clip_frames_per_second=2.0)
    assert (full.count.max(), few.count.max()) == (20, 4)
    assert few.seconds[few.first[few.is_clip][0] :][:4] == pytest.approx([0, 0.5, 1, 1.5], abs=0.05)
