"""kill -9 at any moment of any work: what was told is there, nothing is half there, nothing is done twice."""

import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from made_crashes import Deed, Made, World, deeds, do, endless, has_pictures, killed_at, steps
from made_items import DIM, ENGINE, unit_vectors
from made_media import write_image, write_video
from made_pictures import is_of

from vicmae.index.backup.snapshot import create, restore, unpacked, verify_snapshot
from vicmae.index.backup.verify import verify
from vicmae.index.catalog import picture_tokens
from vicmae.index.collection import Collection
from vicmae.index.library import Library, open_folder

SCRIPT = """
import sys
from pathlib import Path
from vicmae.export.engine import FakeEngine
from vicmae.index.ingest.pipeline import ingest_many
from vicmae.index.catalog.ledger import read_ledger
from vicmae.index.library import Library
from vicmae.index.ingest.scan import plan, walk

engine = FakeEngine()
with Library(Path(sys.argv[1])) as library:
    collection = library.open_for("c", engine, create=True)
    found = walk([Path(sys.argv[2])])
    todo = [file.path for file in plan(found.files, read_ledger(collection.catalog), 2.0).todo]
    print("todo", len(todo), flush=True)
    for outcome in ingest_many(collection, engine, todo):
        print(outcome.uri, outcome.state, outcome.frames, flush=True)
"""
FILM_SECONDS = 6.0
FRAMES = 12
NOTHING = np.zeros((0, DIM), np.float32)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    for seed in range(16):
        write_image(folder / f"{seed}.png", seed)
    for seed in range(8):
        write_video(folder / f"{seed}.mp4", seed, FILM_SECONDS, fps=10)
    return folder


def start(data: Path, media: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SCRIPT, str(data), str(media)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def acknowledged(lines: list[str]) -> dict[str, int]:
    """uri -> frames of the complete lines a run printed."""
    rows = [line.split() for line in lines if line.endswith("\n") and not line.startswith("todo")]
    return {uri: int(frames) for uri, state, frames in rows if state == "added"}


def run_and_kill(data: Path, media: Path, after: int) -> dict[str, int]:
    """Kills the run when it has told of `after` files, without waiting for a good moment."""
    lines: list[str] = []
    with start(data, media) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if len(lines) > after:
                os.kill(process.pid, signal.SIGKILL)
                break
        lines += process.stdout.readlines()
    return acknowledged(lines)


def test_kill_at_any_moment(tmp_path: Path, media: Path) -> None:
    chance = random.Random(4)
    told: dict[str, int] = {}
    for after in (0, chance.randint(1, 3), chance.randint(1, 6), chance.randint(1, 6)):
        fresh = run_and_kill(tmp_path, media, after)
        assert not set(fresh) & set(told), "a file was done twice"
        told |= fresh
        with Library(tmp_path) as library:
            collection = library.open_for("c", ENGINE, create=True)
            items = {item.uri: item for item in collection.items(1000)[0]}
            assert set(told) <= set(items)
            for item in items.values():
                assert item.frames == (FRAMES if item.kind == "video" else 1)
                assert len(collection.moments_of(item.id).vectors) == item.frames
                assert len([*collection.pictures.all_of(item.id)]) == item.frames
            collection.pictures.sweep()
            assert collection.pictures.spare() == 0
            database = sqlite3.connect(collection.catalog.path)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        database.close()

    with start(tmp_path, media) as process:
        assert process.stdout is not None
        lines = process.stdout.readlines()
    assert process.returncode == 0
    rest = acknowledged(lines)
    assert len(rest) == int(lines[0].split()[1]) == 24 - len(items)
    with Library(tmp_path) as library:
        collection = library.open("c")
        assert collection.count() == 24
        assert collection.stats()["frames"] == 16 + 8 * FRAMES
        collection.index.refresh()
        assert len(collection.index) == 16 + 8 * FRAMES
    with start(tmp_path, media) as process:
        assert process.stdout is not None
        assert process.stdout.readlines() == ["todo 0\n"]


KILLS = 200
LONGEST_SECONDS = 0.25  # from the first deed to the kill


@pytest.fixture(scope="module")
def forks() -> ForkServerContext:
    """Processes that begin with everything imported."""
    context = get_context("forkserver")
    context.set_forkserver_preload(
        ["vicmae.index.library", "vicmae.index.search.search", "vicmae.index.backup.exchange"]
    )
    return context


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: what a killed process wrote is there without the disk's waiting."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def killed_at_random(forks: ForkServerContext, data: Path, seed: int, world: World) -> int:
    """How many deeds were acknowledged before the kill."""
    heard, told = forks.Pipe(duplex=False)
    process = forks.Process(target=endless, args=(data, seed, world, told))
    process.start()
    told.close()
    chance = random.Random(seed)
    if seed % 8:  # else also while it opens
        assert heard.poll(30)
    time.sleep(chance.random() ** 2 * LONGEST_SECONDS)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, process.exitcode
    count = 0
    with suppress(EOFError):
        while heard.recv_bytes():
            count += 1
    return max(count - 1, 0)


def found_world(library: Library, data: Path, known: World) -> World:
    """What is on disk. Every part is held against every other, and searches against all vectors."""
    world = World({})
    for collection in library.survey()[0]:
        items = {item.id: item for item in collection.items(1000)[0]}
        held = {
            item.id: Made(int(item.sha256, 16), item.frames, item.metadata, item.uri.startswith("upload:"))
            for item in items.values()
        }
        world = world.with_items(collection.name, held)
        verdict = verify(collection)
        assert verdict.faults == []
        assert verdict.counts["ledger"] == (len(items) if collection.name == "c" else 0)
        everything = np.concatenate([unit_vectors(made.seed, made.frames) for made in held.values()] or [NOTHING])
        assert_pictures(collection, held)
        for item_id, made in held.items():
            assert np.allclose(collection.moments_of(item_id).vectors, unit_vectors(made.seed, made.frames), atol=1e-3)
        query = unit_vectors(5, 2)
        best = -np.sort(-(query @ everything.T), axis=1)[:, :5]
        assert np.allclose(collection.index.search(query, 5)[0][:, : best.shape[1]], best, atol=1e-3)
    snapshots = dict(known.snapshots)
    for path in data.joinpath("snapshots").glob("*.tar"):
        if path.name not in snapshots:
            manifest, verdict = verify_snapshot(path)
            assert verdict.is_well, verdict.faults
            with unpacked(path, data) as (_, folder), closing(open_folder(folder)) as collection:
                assert collection.count() == manifest.items
                snapshots[path.name] = {
                    item.id: Made(int(item.sha256, 16), item.frames, item.metadata, item.uri.startswith("upload:"))
                    for item in collection.items(1000)[0]
                }
    return replace(world, aliases=library.aliases.all(), snapshots=snapshots)


def assert_pictures(collection: Collection, held: dict[str, Made]) -> None:
    """Every item shows its own pictures, if it has any; maintenance leaves no file that nobody has."""
    shown = collection.pictures_of_many({item_id: [made.frames / 2 - 0.25] for item_id, made in held.items()})
    for item_id, made in held.items():
        (found,) = shown[item_id]
        assert found is None or is_of(found, made.seed, made.frames - 1)
        # An import has none, and what is being filled has or has not.
        assert found is not None or not has_pictures(made) or collection.name == "again"
    collection.pictures.sweep()
    assert collection.pictures.spare() == 0 and collection.pictures.faults() == {}
    with collection.catalog.read() as db:
        named = {collection.pictures.files.path(token) for token in picture_tokens(db)}
    assert {path for path in collection.pictures.files.folder.rglob("*") if path.is_file()} == named


def new_world(data: Path) -> World:
    (data / "snapshots").mkdir()
    with Library(data) as library:
        library.create("c", ENGINE)
    return World()


def test_two_hundred_kills_of_a_mixed_workload(forks: ForkServerContext, quick_path: Path) -> None:
    first = int(os.environ.get("VICMAE_TEST_SEED", time.time_ns() % 10**6))
    print(f"VICMAE_TEST_SEED={first} does the same deeds again")
    world = new_world(quick_path)
    done: Counter[str] = Counter()
    for seed in range(first, first + KILLS):
        acknowledged = killed_at_random(forks, quick_path, seed, world)
        coming = deeds(seed, world)
        for deed, passed in itertools.islice(coming, acknowledged):
            done[deed[0]] += 1
            world = passed[-1]
        under_way, passed = next(coming)
        with Library(quick_path) as library:
            found = found_world(library, quick_path, world)
        assert found in [world, *passed], f"seed {seed}: {acknowledged} deeds, then killed within {under_way}"
        world = found
    print(f"acknowledged: {dict(done)}")
    # Which kinds of deeds come to their end depends on how busy the machine is; long ones are killed by steps below.
    assert done, "no deed was acknowledged before a kill"
    with Library(quick_path) as library:
        create(library.open("c"), quick_path / "snapshots" / "last.tar")
        restore(library, quick_path / "snapshots" / "last.tar", force=True)
        library.set_alias("now", "c")
    left = [path for path in quick_path.rglob(".*") if path.name.startswith(".")]
    assert left == [], "what kills left is gone"


def a_world(data: Path, deed: Deed) -> World:
    """Two collections, and a snapshot of something older; the deed is possible."""
    world = new_world(data)
    plan: list[Deed] = [
        ("add", {"a": Made(1, 3, {}), "b": Made(3, 30, {"x": 1}), "u": Made(2, 1, {}, True)}),
        ("snapshot", "old.tar"),
        ("import",),
        ("put", "u", Made(4, 2, {}, True)),
        ("delete", "a"),
        ("seal", False),
    ]
    if deed == ("import",):
        plan.append(("drop", "again"))
    with Library(data) as library:
        for step in plan:
            do(step, data, library)
            world = steps(step, world)[-1]
    return world


@pytest.mark.parametrize(
    "deed",
    [
        ("restore", "old.tar"),
        ("snapshot", "new.tar"),
        ("import",),
        ("drop", "again"),
        ("alias", "now", "c"),
        ("seal", True),
        ("put", "u", Made(10, 4, {}, True)),
        ("fill",),
    ],
    ids=lambda deed: deed[0],
)
def test_a_kill_before_each_step_on_the_disk(forks: ForkServerContext, quick_path: Path, deed: Deed) -> None:
    base = quick_path / "base"
    base.mkdir()
    world = a_world(base, deed)
    (after,) = steps(deed, world)
    met = []
    for event in itertools.count():
        data = quick_path / str(event)
        shutil.copytree(base, data)
        process = forks.Process(target=killed_at, args=(data, deed, event))
        process.start()
        process.join()
        with Library(data) as library:
            met.append(found_world(library, data, world))
        assert met[-1] in (world, after), f"killed before step {event}"
        shutil.rmtree(data)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert met[-1] == after and len(met) > 2
