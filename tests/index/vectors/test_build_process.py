"""vicmae.index.vectors.build_process and the background: who seals, what a kill costs, and what is forgotten."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from made_index import agrees, awaited, begin_small, fill
from made_items import DIM, ENGINE, new_item

from vicmae.errors import StorageError
from vicmae.index.catalog.database import Catalog
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.vectors import build, index, merge_policy
from vicmae.index.vectors.build_process import make_apart
from vicmae.index.vectors.follower import Follower
from vicmae.index.vectors.index import VectorIndex
from vicmae.index.vectors.plan import Effort, IndexOptions

IVF = IndexOptions(kind="ivf", min_recall=0.9)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path) as library:
        yield library.create("c", ENGINE)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    begin_small(monkeypatch)


def test_the_background_thread_seals_and_close_ends_it(small: None, tmp_path: Path) -> None:
    with Library(tmp_path, IndexOptions(background=True)) as library:
        collection = library.create("c", ENGINE)
        fill(collection, 3, 4)
        collection.index.refresh()
        thread = collection.index._thread
        assert thread is not None
        thread.join()
        collection.index.refresh()
        assert collection.index.status()["tail_rows"] == 0
        agrees(collection.index, collection)
    with Library(tmp_path) as library:
        agrees_after = library.open("c").index
        agrees_after.refresh()
        assert len(agrees_after) == 12


def is_there(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children_of(process_id: int) -> list[int]:
    """Those that make segments."""
    found = Path(f"/proc/{process_id}/task").glob("*/children")
    every = [int(one) for path in found for one in path.read_text().split()]
    return [one for one in every if b"vicmae.index.vectors.build_process" in Path(f"/proc/{one}/cmdline").read_bytes()]


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are looked up in /proc")


@needs_proc
def test_a_process_that_is_killed_while_it_seals_costs_that_sealing_only(
    small: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Library(tmp_path, IndexOptions(background=True)) as library:
        collection = library.create("c", ENGINE)
        fill(collection, 3, 4)
        collection.index.refresh()
        thread = collection.index._thread
        awaited(lambda: children_of(os.getpid()))
        for child in children_of(os.getpid()):
            os.kill(child, signal.SIGKILL)
        assert thread is not None
        thread.join()
        assert "SIGKILL" in caplog.text and "cannot be sealed now" in caplog.text
        agrees(collection.index, collection)
        assert collection.index.seal() and collection.index.status()["tail_rows"] == 0
        agrees(collection.index, collection)
    assert sorted(path.name[:3] for path in (collection.folder / "index").iterdir()) == ["loc", "seg"]


@needs_proc
def test_closing_ends_a_sealing(small: None, tmp_path: Path) -> None:
    with Library(tmp_path, IndexOptions(background=True)) as library:
        collection = library.create("c", ENGINE)
        fill(collection, 3, 4)
        collection.index.refresh()
        awaited(lambda: children_of(os.getpid()))
    assert not children_of(os.getpid())


ORPHANED = """
import sys, time
from pathlib import Path
from vicmae.index.vectors import merge_policy
from vicmae.index.library import Library
from vicmae.index.vectors.plan import IndexOptions
merge_policy.SEAL_ROWS = 5
with Library(Path(sys.argv[1]), IndexOptions(background=True)) as library:
    library.open("c").index.refresh()
    time.sleep(60)
"""


@needs_proc
def test_a_sealing_ends_with_who_began_it(small: None, tmp_path: Path) -> None:
    with Library(tmp_path) as library:
        collection = library.create("c", ENGINE)
        fill(collection, 3, 4)
    with subprocess.Popen([sys.executable, "-c", ORPHANED, str(tmp_path)]) as process:
        awaited(lambda: children_of(process.pid))
        (child,) = children_of(process.pid)
        process.kill()
    awaited(lambda: not is_there(child))
    with Library(tmp_path) as library:
        collection = library.open("c")
        assert collection.index.seal()
        agrees(collection.index, collection)
    assert sorted(path.name[:3] for path in (collection.folder / "index").iterdir()) == ["loc", "seg"]


def test_what_goes_wrong_in_the_process_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="none/catalog.sqlite"):
        make_apart(tmp_path / "none" / "catalog.sqlite", tmp_path, (1, 2), DIM, IndexOptions(), lambda: None)


def test_a_long_merge_does_not_keep_the_tail_waiting(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sealing, a long one, goes on until the second is done."""
    second_done = Event()
    spans = []

    def slow(catalog: Path, folder: Path, span: merge_policy.Span, *rest: object) -> Path:
        spans.append(span)
        if span[1] - span[0] >= 30:
            assert second_done.wait(60)
        with closing(Catalog(catalog)) as own:
            made = build.make_segment(own, folder, span, DIM, IndexOptions(), lambda: None)
        if span[0] > 1:
            second_done.set()
        return made

    monkeypatch.setattr(index, "LONG_ROWS", 30)
    monkeypatch.setattr(merge_policy, "LONG_ROWS", 30)
    monkeypatch.setattr(index, "make_apart", slow)
    with Library(tmp_path) as library:
        collection = library.create("c", ENGINE)
        fill(collection, 10, 4)
        assert collection.index.seal()
    with Library(tmp_path, IndexOptions(background=True)) as library:
        collection = library.open("c")
        for seed in range(4):
            collection.delete(new_item(seed).id)
        collection.index.refresh()
        awaited(lambda: spans)
        collection.delete(new_item(7).id)
        fill(collection, 3, 4, first=20)
        collection.delete(new_item(21).id)
        collection.index.refresh()
        thread = collection.index._thread
        assert thread is not None
        thread.join()
        assert spans == [(1, 40), (41, 52)]
        agrees(collection.index, collection)
        assert [s["alive"] for s in collection.index.status()["segments"]] == [20, 8]
    with Library(tmp_path) as library:
        agrees_after = library.open("c")
        agrees_after.index.refresh()
        agrees(agrees_after.index, agrees_after)


def test_removals_that_come_while_a_segment_is_taken_in_are_not_forgotten(
    small: None, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(collection, 5, 4)
    sweep = VectorIndex._sweep

    def swept(index: VectorIndex, made: str) -> None:
        collection.delete(new_item(2).id)
        fill(collection, 1, 4, first=30)
        collection.delete(new_item(30).id)
        sweep(index, made)

    monkeypatch.setattr(VectorIndex, "_sweep", swept)
    assert collection.index.seal()
    opened: list[str] = []
    monkeypatch.setattr(Follower, "open", lambda follower, name: opened.append(name))
    collection.index.refresh()
    assert not opened, "what is open stays so"
    agrees(collection.index, collection)


KILLED = """
import sys
from pathlib import Path
from vicmae.errors import StorageError
from vicmae.index.vectors import ivf, merge_policy
from vicmae.index.library import Library
from vicmae.index.vectors.plan import IndexOptions
merge_policy.SEAL_ROWS, ivf.LEAST_ROWS = 5, 200
with Library(Path(sys.argv[1]), IndexOptions(kind="ivf")) as library:
    index = library.open("c").index
    print("ready", flush=True)
    while True:
        index.seal(everything=True)
        print("sealed", flush=True)
"""


def test_kill_at_any_moment_of_sealing(tmp_path: Path) -> None:
    chance = random.Random(3)
    with Library(tmp_path) as library:
        collection = library.create("c", ENGINE)
        for turn in range(3):
            fill(collection, 4, 70, first=10 * turn)
            with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                for _ in range(1 + turn % 2):
                    process.stdout.readline()
                try:
                    process.wait(timeout=chance.random() / 2)
                except subprocess.TimeoutExpired:
                    os.kill(process.pid, signal.SIGKILL)
            again = VectorIndex(collection.catalog, DIM, IVF)
            again.refresh()
            assert again.status()["damaged"] == {}
            agrees(again, collection, Effort(exact=True))
        assert again.seal(everything=True)
    left = sorted(p.name for p in (collection.folder / "index").iterdir())
    assert len(left) == 2 and left[0] == "lock"
