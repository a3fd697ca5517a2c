"""vicmae.index.pictures.spool: pictures are kept until it is known which are stored."""

from pathlib import Path

import numpy as np
import pytest
from made_media import scene_frames

from vicmae.index.pictures import Spool, spool, to_jpeg
from vicmae.media.frames import Frames

FRAMES = Frames(np.stack(list(scene_frames(1, 3.0, 10))), np.arange(30) / 10)


@pytest.mark.parametrize("memory_bytes", [10**9, 1000])
def test_the_chosen_ones_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_bytes: int) -> None:
    monkeypatch.setattr(spool, "MEMORY_BYTES", memory_bytes)
    kept = Spool(tmp_path / "pictures")
    for first in range(0, 30, 16):
        kept.add(Frames(FRAMES.data[first : first + 16], FRAMES.seconds[first : first + 16]))
    assert list(kept.read([0, 7, 29])) == [to_jpeg(FRAMES.data[place]) for place in (0, 7, 29)]
    assert kept.size_of([0, 7]) == sum(len(to_jpeg(FRAMES.data[place])) for place in (0, 7)) and len(kept) == 30
    assert kept.places_at(np.array([0.0, 0.7, 2.9])) == [0, 7, 29]
    assert kept.places_at(np.array([0.0004, 0.6996])) == [0, 7]
    assert kept.places_at(np.array([0.0, 0.75])) is None and kept.places_at(np.array([3.0])) is None
    kept.close()
    kept.close()
    assert list((tmp_path / "pictures").iterdir()) == []
