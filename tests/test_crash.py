"""kill -9 at any moment of indexing: what was told is there, nothing is half there, nothing is done twice."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from made_items import ENGINE
from made_media import write_image, write_video

from vicmae.index.library import Library

SCRIPT = """
import sys
from pathlib import Path
from vicmae.export.engine import FakeEngine
from vicmae.index.ingest import ingest_many
from vicmae.index.ledger import read_ledger
from vicmae.index.library import Library
from vicmae.index.scan import plan, walk

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
