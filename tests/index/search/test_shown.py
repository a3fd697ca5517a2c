"""vicmae.index.search.shown: the stored picture, else the file's, else none."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made_items import ENGINE, new_item
from made_media import frame_of, picture, write_image, write_video
from made_pictures import is_of, jpegs_of

from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.pictures import StoredPicture
from vicmae.index.search import FilePicture, Tools, picture_shown, pictures_shown


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path / "data") as library:
        yield library.create("c", ENGINE)


def test_a_stored_picture_needs_no_file(collection: Collection) -> None:
    new = new_item(1, 4)
    collection.add(new, pictures=jpegs_of(new))
    shown = picture_shown(collection, new.id, 1.2, Tools())
    assert isinstance(shown, StoredPicture) and is_of(shown, 1, 2)


def test_without_one_the_file_is_read(collection: Collection, tmp_path: Path) -> None:
    film = new_item(1, 8, path=write_video(tmp_path / "a.mp4", 5, 4.0))
    still = new_item(2, 1, path=write_image(tmp_path / "b.png", 6))
    collection.add_many([film, still])
    found = pictures_shown(collection, {film.id: [0.52, 3.0], still.id: [7.0]}, Tools())
    early, late = found[film.id]
    assert isinstance(early, FilePicture) and late is not None and early.start_seconds == 0.5 and early.key != late.key
    assert np.abs(early.pixels().astype(int) - np.asarray(frame_of(5, 0.52), int)).mean() < 6
    (image,) = found[still.id]
    assert image is not None and (image.pixels() == np.asarray(picture(6))).all()


def test_what_cannot_be_read_is_none_and_told(collection: Collection, caplog: pytest.LogCaptureFixture) -> None:
    gone, kept = new_item(1, 4), new_item(2, 2)
    collection.add(gone)
    collection.add(kept, pictures=jpegs_of(kept))
    with caplog.at_level(logging.WARNING):
        found = pictures_shown(collection, {gone.id: [0.0, 1.0], kept.id: [0.0], "unknown": [0.0]}, Tools())
    assert found[gone.id] == [None, None] and found["unknown"] == [None] and is_of(found[kept.id][0], 2, 0)  # type: ignore[arg-type]
    assert gone.id in caplog.text and kept.id not in caplog.text
