"""vicmae.index.search.film_frames: the film's own frames around a second that are most like a picture."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made_items import ENGINE, new_item
from made_media import frame_of, write_video

from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.search import Tools, frames_like


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path / "data") as library:
        yield library.create("c", ENGINE)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_very_frame_is_found_beside_the_second(collection: Collection, tmp_path: Path, mirrored: bool) -> None:
    film = collection.add(new_item(1, 8, path=write_video(tmp_path / "a.mp4", 5, 4.0)))
    wanted = np.asarray(frame_of(5, 1.75))
    first, *_ = frames_like(wanted[:, ::-1] if mirrored else wanted, film, 2.1, Tools())
    assert np.abs(first.astype(int) - wanted).mean() < 6


def test_a_file_that_is_gone_has_none(collection: Collection, tmp_path: Path) -> None:
    film = collection.add(new_item(1, 8, path=tmp_path / "gone.mp4"))
    assert frames_like(np.asarray(frame_of(5, 1.0)), film, 1.0, Tools()) == []
