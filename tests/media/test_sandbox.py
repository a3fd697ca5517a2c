"""media/sandbox: a bad file costs itself and nothing else, whatever it does to the process that decodes it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from made_media import write_image, write_video
from PIL import Image

from vicmae.errors import CorruptMedia, InvalidRequest, MediaTooLarge, NotFound, Overloaded, UnsupportedMedia
from vicmae.media.decoding import HERE
from vicmae.media.info import MediaInfo
from vicmae.media.limits import MediaLimits
from vicmae.media.sandbox import Sandbox

LIMITS = MediaLimits()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2) as one:
        yield one


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def gone(pids: list[int]) -> bool:
    """Whether all of them end soon."""
    deadline = time.monotonic() + 20
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_alive, pids))


def test_what_comes_back_is_what_decoding_here_gives(sandbox: Sandbox, tmp_path: Path) -> None:
    film, photo = write_video(tmp_path / "a.mp4", 1, 3.0), write_image(tmp_path / "a.png", 1)
    for path in (film, photo):
        for source in (path, path.read_bytes()):
            assert sandbox.probe(source, LIMITS) == HERE.probe(source, LIMITS)
            choices: list[dict[str, object]] = [
                {},
                {"start_seconds": 0.6, "end_seconds": 1.9, "chunk": 3, "shorter_side": 60},
            ]
            for options in choices:
                told: list[MediaInfo] = []
                options["on_info"] = told.append
                there = list(sandbox.read_frames(source, 5.0, LIMITS, **options))  # type: ignore[arg-type]
                here = list(HERE.read_frames(source, 5.0, LIMITS, **options))  # type: ignore[arg-type]
                assert told == [HERE.probe(source, LIMITS)] * 2
                assert [len(f) for f in there] == [len(f) for f in here]
                for mine, its in zip(there, here, strict=True):
                    assert (mine.data == its.data).all() and (mine.seconds == its.seconds).all()
            one, other = sandbox.frame_at(source, 1.2, LIMITS), HERE.frame_at(source, 1.2, LIMITS)
            assert (one.data == other.data).all() and one.seconds == other.seconds
            assert sandbox.thumbnail(source, 1.2, 64, LIMITS) == HERE.thumbnail(source, 1.2, 64, LIMITS)


def test_errors_come_back_as_they_are(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no picture " * 50)
    film = write_video(tmp_path / "a.mp4", 1, 1.0)
    with pytest.raises(UnsupportedMedia, match="no picture or video"):
        sandbox.probe(tmp_path / "a.txt", LIMITS)
    with pytest.raises(NotFound, match="gone.mp4"):
        sandbox.probe(tmp_path / "gone.mp4", LIMITS)
    with pytest.raises(InvalidRequest, match="earlier start"):
        list(sandbox.read_frames(film, 2.0, LIMITS, start_seconds=9.0))
    with pytest.raises(MediaTooLarge, match="max_pixels"):
        sandbox.frame_at(film, 0.0, MediaLimits(max_pixels=100))
    with pytest.raises(MediaTooLarge, match="max_upload_bytes"):
        sandbox.probe(bytes(1000), MediaLimits(max_bytes=999))
    assert sandbox.probe(film, LIMITS).kind == "video"


def test_children_are_used_again_and_only_so_many_are_started(sandbox: Sandbox, tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", 1, 2.0)
    threads = [threading.Thread(target=lambda: list(sandbox.read_frames(film, 5.0, LIMITS))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    before = sandbox.process_ids
    assert 1 <= len(before) <= 2
    sandbox.probe(film, LIMITS)
    assert sandbox.process_ids == before


def test_a_reading_that_is_broken_off_leaves_the_child_ready(sandbox: Sandbox, tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", 1, 4.0)
    sandbox.probe(film, LIMITS)
    before = sandbox.process_ids
    for _ in range(5):
        frames = sandbox.read_frames(film, 20.0, LIMITS, chunk=1)
        next(frames)
        frames.close()
    assert sandbox.process_ids == before
    assert sum(len(f) for f in sandbox.read_frames(film, 5.0, LIMITS)) == 20


@pytest.mark.parametrize("sent", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_names_the_file_and_costs_it_alone(tmp_path: Path, sent: signal.Signals) -> None:
    film = write_video(tmp_path / "film.mp4", 1, 4.0)
    with Sandbox(workers=1) as sandbox:
        frames = sandbox.read_frames(film, 20.0, LIMITS, chunk=1)
        next(frames)
        (child,) = sandbox.process_ids
        os.kill(child, sent)
        assert gone([child])
        with pytest.raises(CorruptMedia, match=rf"film\.mp4 crashed the decoder \({sent.name}\)"):
            list(frames)
        assert sandbox.probe(film, LIMITS).kind == "video"
        assert sandbox.process_ids != [child]


def test_a_child_that_died_while_it_was_idle_costs_at_most_one_call(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", 1, 1.0)
    with Sandbox(workers=1) as sandbox:
        sandbox.probe(film, LIMITS)
        os.kill(sandbox.process_ids[0], signal.SIGKILL)
        with suppress(CorruptMedia):  # the kernel may take longer to bury it than the next call to come
            sandbox.probe(film, LIMITS)
        assert sandbox.probe(film, LIMITS).kind == "video"


def test_a_file_that_hangs_the_decoder_is_given_up(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", 1, 4.0)
    with Sandbox(workers=1, timeout_seconds=20.0) as sandbox:
        frames = sandbox.read_frames(film, 20.0, LIMITS, chunk=1)
        next(frames)
        (child,) = sandbox.process_ids
        sandbox.timeout_seconds = 0.3
        os.kill(child, signal.SIGSTOP)
        with pytest.raises(MediaTooLarge, match=r"film\.mp4 kept the decoder at work .*decode_timeout_seconds"):
            list(frames)
        assert gone([child])
        sandbox.timeout_seconds = 20.0
        assert sandbox.probe(film, LIMITS).kind == "video"


def test_a_picture_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """Sixty frames of 4 million pixels in few bytes: an animation is walked through to know its length."""
    frames = [Image.new("L", (2000, 2000), 80 * i) for i in range(3)]
    path = tmp_path / "endless.png"
    frames[0].save(path, save_all=True, append_images=frames * 20, duration=40)
    with Sandbox(workers=1, timeout_seconds=0.2) as sandbox:
        with pytest.raises(MediaTooLarge, match="decode_timeout_seconds"):
            list(sandbox.read_frames(path, 2.0, LIMITS))


def test_memory_that_explodes_is_refused_in_a_sentence(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    Image.new("L", (12_000, 12_000)).save(bomb, compress_level=1)
    film = write_video(tmp_path / "film.mp4", 1, 0.4, size=(1920, 1080))
    small = write_image(tmp_path / "small.png", 1)
    with Sandbox(workers=1, memory_bytes=64 * 2**20) as sandbox:
        with pytest.raises(MediaTooLarge, match="memory"):
            list(sandbox.read_frames(bomb, 1.0, LIMITS))
        assert sandbox.probe(small, LIMITS).kind == "image"
        sandbox.close()
    with Sandbox(workers=1, memory_bytes=12 * 2**20) as sandbox:
        with pytest.raises((MediaTooLarge, CorruptMedia)):
            list(sandbox.read_frames(film, 60.0, LIMITS))


def test_closing_ends_everything_also_what_is_under_way(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", 1, 4.0)
    sandbox = Sandbox(workers=2, timeout_seconds=60.0)
    frames = sandbox.read_frames(film, 20.0, LIMITS, chunk=1)
    next(frames)
    pids = sandbox.process_ids
    told: list[BaseException] = []

    def wait() -> None:
        try:
            list(frames)
        except Overloaded as error:
            told.append(error)

    os.kill(pids[0], signal.SIGSTOP)
    waiting = threading.Thread(target=wait)
    waiting.start()
    sandbox.close()
    waiting.join(30)
    assert not waiting.is_alive() and told and gone(pids)
    with pytest.raises(Overloaded, match="stopping"):
        sandbox.probe(film, LIMITS)
    sandbox.close()


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", 1, 4.0)
    script = f"""
import sys, time
from pathlib import Path
from vicmae.media.sandbox import Sandbox
from vicmae.media.limits import MediaLimits
sandbox = Sandbox(workers=1)
frames = sandbox.read_frames(Path({str(film)!r}), 20.0, MediaLimits(), chunk=1)
next(frames)
print(*sandbox.process_ids, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(word) for word in parent.stdout.readline().split()]
        assert len(children) == 1 and is_alive(children[0])
        parent.kill()
        parent.wait()
        assert gone(children)


def test_no_file_stays_open(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", 1, 1.0)
    before = len(os.listdir("/proc/self/fd"))
    with Sandbox(workers=1) as sandbox:
        for _ in range(3):
            list(sandbox.read_frames(film.read_bytes(), 5.0, LIMITS))
            with pytest.raises(UnsupportedMedia):
                sandbox.probe(b"nothing" * 10, LIMITS)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_working_folder_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('a module of the folder we happen to be in')")
    write_image(tmp_path / "a.png", 1)
    monkeypatch.chdir(tmp_path)
    with Sandbox(workers=1) as sandbox:
        assert sandbox.probe(Path("a.png"), LIMITS).kind == "image"
        (frames,) = sandbox.read_frames(Path("a.png"), 1.0, LIMITS)
        assert frames.seconds.tolist() == [0.0] and isinstance(frames.data, np.ndarray)
