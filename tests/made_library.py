"""A made library for tests of index/answers: photos, clips, look-alikes and distractors, drawn from seeds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_items import ENGINE
from made_media import picture, write_image, write_video

from vicmae.index.answers import ASKED, Bench
from vicmae.index.answers.material import Material, read_material
from vicmae.index.collection import Collection
from vicmae.index.ingest import IngestOptions
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.search import tools_of
from vicmae.media.decoding import HERE
from vicmae.media.limits import MediaLimits

LIMITS = MediaLimits()
PHOTOS, CLIPS = 40, 4


def write_library(folder: Path) -> Path:
    """PHOTOS photos, CLIPS clips of 6 s, a group of three look-alikes, and a file that is no picture."""
    for name in ("photos", "clips", "lookalikes/shapes"):
        (folder / name).mkdir(parents=True)
    for seed in range(PHOTOS):
        write_image(folder / "photos" / f"{seed:02d}.png", seed)
    for seed in range(CLIPS):
        write_video(folder / "clips" / f"{seed}.mp4", 100 + seed, 6.0, fps=10)
    for seed in range(3):
        write_image(folder / "lookalikes" / "shapes" / f"{seed}.png", 200 + seed)
    (folder / "photos" / "broken.jpg").write_bytes(b"no picture at all")
    return folder


def write_distractors(folder: Path, count: int = 5) -> Path:
    folder.mkdir()
    for seed in range(count):
        picture(300 + seed, (64, 64)).save(folder / f"{seed}.jpg")
    return folder


@pytest.fixture(scope="module")
def library_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_library(tmp_path_factory.mktemp("answers") / "library")


@pytest.fixture(scope="module")
def material(library_folder: Path) -> Material:
    return read_material(library_folder, [], HERE, LIMITS)


@pytest.fixture(scope="module")
def indexed(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """The collection of what is indexed of the library, by the engine that sees colours."""
    with Library(tmp_path_factory.mktemp("answers-data")) as library:
        collection = library.create(ASKED, ENGINE)
        for path in material.indexed:
            assert ingest_file(collection, ENGINE, path).state == "added"
        yield collection


def bench(library: Library, said: list[str]) -> Bench:
    """An evaluation in this process; sentences go to `said`."""
    return Bench(library, ENGINE, IngestOptions(), tools_of(ENGINE), said.append, lambda stage, done, total: None)
