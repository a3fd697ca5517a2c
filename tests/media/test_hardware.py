"""media/video/hardware.py: a machine without a graphics processor decodes all the same."""

from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from made_media import write_video

from vicmae.media.decoding import HERE, InProcess
from vicmae.media.limits import MediaLimits
from vicmae.media.sandbox import Sandbox
from vicmae.media.video import hardware


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What was found out of this machine is asked anew."""
    hardware.device.cache_clear()
    yield
    hardware.device.cache_clear()


class Refuses:
    """Stands for a device that FFmpeg was built for and the machine does not have."""

    tried: list[str] = []

    def __init__(self, name: str, **_: object) -> None:
        self.tried.append(name)

    def create(self, _: object) -> "Refuses":
        raise av.error.PermissionError(1, "Operation not permitted")


def test_devices_that_are_not_there_are_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["cuda", "vaapi", "qsv", "unheard of"])
    monkeypatch.setattr(hardware, "HWAccel", Refuses)
    film, limits = write_video(tmp_path / "a.mp4", 1, 1.0), MediaLimits()
    (frames,) = InProcess(hardware=True).read_frames(film, 5.0, limits)
    assert Refuses.tried == ["cuda", "vaapi", "qsv"]
    (expected,) = HERE.read_frames(film, 5.0, limits)
    assert (frames.data == expected.data).all() and (frames.seconds == expected.seconds).all()
    assert hardware.device() is None and len(Refuses.tried) == 3


def test_whatever_this_machine_has_the_frames_come(tmp_path: Path) -> None:
    film, limits = write_video(tmp_path / "a.mp4", 1, 1.0), MediaLimits()
    with Sandbox(workers=1, hardware=True) as sandbox:
        (frames,) = sandbox.read_frames(film, 5.0, limits)
    (expected,) = HERE.read_frames(film, 5.0, limits)
    assert (frames.seconds == expected.seconds).all()
    assert abs(frames.data.astype(int) - expected.data).mean() < 2
