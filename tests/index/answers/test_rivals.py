"""index/answers/rivals.py: a hash finds what was not changed, is sure of it, and knows nothing of strangers."""

import numpy as np
import pytest
from made_library import LIMITS, library_folder, material
from made_media import picture
from numpy.typing import NDArray

from vicmae.index.answers.ask import Question
from vicmae.index.answers.judge import png
from vicmae.index.answers.material import Material
from vicmae.index.answers.rivals import HashRival, installed_rivals, take_all
from vicmae.index.paths import file_uri
from vicmae.media.decoding import HERE

__all__ = ["library_folder", "material"]


def bits(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of 8 x 8 cells are brighter than the mean."""
    height, width = (side // 8 for side in picture.shape[:2])
    cells = picture[: 8 * height, : 8 * width].reshape(8, height, 8, width, 3).mean(axis=(1, 3, 4))
    return np.asarray(cells > cells.mean()).ravel()


def test_the_nearest_file_comes_first_each_once_and_sure_where_few_bits_differ(material: Material) -> None:
    rival = HashRival("bits", bits, most=4)
    paths = [*material.photos.values(), *material.clips.values()]
    assert list(take_all([rival], paths, HERE, LIMITS)) == list(range(1, len(paths) + 1))
    own = material.photos["photos/00.png"] if "photos/00.png" in material.photos else paths[0]
    seed = int(own.stem)
    hits = rival.ask(Question(png(np.asarray(picture(seed))), 10))
    assert hits[0]["uri"] == file_uri(own) and hits[0]["confidence"] == 1
    assert len({hit["uri"] for hit in hits}) == len(hits) == 10
    board = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((15, 20)))[..., None].repeat(3, axis=2)
    assert rival.ask(Question(png((255 * board).astype(np.uint8)), 1))[0]["confidence"] == 0


def test_a_frame_of_a_clip_is_found_at_its_second(material: Material) -> None:
    rival = HashRival("bits", bits, most=4)
    list(take_all([rival], list(material.clips.values()), HERE, LIMITS))
    clip = material.clips["clips/1.mp4"]
    shown = HERE.frame_at(clip, 3.0, LIMITS).data[0]
    (hit,) = rival.ask(Question(png(shown), 1))
    assert hit["uri"] == file_uri(clip) and hit["start_seconds"] == pytest.approx(3.0, abs=0.5)


def test_installed_rivals_answer_and_missing_ones_say_how_to_get_them(material: Material) -> None:
    found, missing = installed_rivals()
    assert len(found) + len(missing) == 2
    assert all("pip install '.[bench]'" in sentence for sentence in missing)
    path = next(iter(material.photos.values()))
    list(take_all(found, list(material.photos.values()), HERE, LIMITS))
    for rival in found:
        hits = rival.ask(Question(png(np.asarray(picture(int(path.stem)))), 3))
        assert hits[0]["uri"] == file_uri(path) and hits[0]["confidence"] == 1


def test_what_cannot_be_read_is_left_out(material: Material) -> None:
    rival = HashRival("bits", bits, most=4)
    broken = material.folder / "photos" / "broken.jpg"
    assert list(take_all([rival], [broken, *material.photos.values()], HERE, LIMITS))
    assert file_uri(broken) not in {hit["uri"] for hit in rival.ask(Question(png(np.asarray(picture(0))), 1000))}
