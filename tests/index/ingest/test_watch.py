"""vicmae index --watch: what is added, changed or removed while it runs is taken in, and Ctrl-C ends it well."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest
import typer
from made_items import ENGINE
from made_media import write_image
from typer.testing import CliRunner, Result

from vicmae.index import cli
from vicmae.index.ingest import watch as watching
from vicmae.index.ingest.scan import Candidate
from vicmae.index.library import Library

PATIENCE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vicmae.export.engine.open_engine", lambda folder, **options: ENGINE)
    monkeypatch.setattr(watching, "QUIET_SECONDS", 0.2)


def names(data: Path) -> set[str]:
    with Library(data) as library:
        if not library.names():
            return set()
        return {item.name for item in library.open("default").items(1000)[0]}


def until(data: Path, expected: set[str]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while (found := names(data)) != expected:
        assert time.monotonic() < end, f"{found}, expected {expected}"
        time.sleep(0.1)


def watch(folder: Path, data: Path, deeds: Callable[[], None], *words: str) -> Result:
    """What `vicmae index --watch` printed while the deeds were done beside it; Ctrl-C follows them."""
    app = typer.Typer()
    cli.register(app)
    failures: list[BaseException] = []

    def act() -> None:
        try:
            deeds()
        except BaseException as error:
            failures.append(error)
        os.kill(os.getpid(), signal.SIGINT)

    thread = Thread(target=act)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests in the background ignores it
    try:
        thread.start()
        result = CliRunner().invoke(app, ["index", str(folder), "--watch", "--data", str(data), *words])
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert not failures, failures
    return result


def test_what_comes_changes_and_goes_is_followed(tmp_path: Path) -> None:
    folder, data = tmp_path / "media", tmp_path / "media" / "data"  # what it writes itself is no change
    folder.mkdir()
    write_image(folder / "a.png", 1)

    def deeds() -> None:
        until(data, {"a.png"})
        write_image(folder / "b.png", 2)
        until(data, {"a.png", "b.png"})
        (folder / "new").mkdir()
        write_image(folder / "new" / "c.png", 3)
        (folder / "a.png").unlink()
        until(data, {"b.png", "c.png"})

    result = watch(folder, data, deeds, "--prune")
    assert result.exit_code == 0, result.output
    first, *later = result.stdout.splitlines()
    assert first == "1 added, 0 unchanged, 0 failed"
    assert sum(int(line.split()[0]) for line in later) == 2


def test_an_empty_folder_may_be_watched_and_a_bad_file_is_told_once(tmp_path: Path) -> None:
    folder, data = tmp_path / "media", tmp_path / "data"
    folder.mkdir()

    def deeds() -> None:
        write_image(folder / "a.png", 1)
        (folder / "bad.png").write_bytes(b"no picture")
        until(data, {"a.png"})
        write_image(folder / "b.png", 2)
        until(data, {"a.png", "b.png"})

    result = watch(folder, data, deeds, "--json")
    assert result.exit_code == 3
    reports, text = [], result.stdout
    while text.strip():
        report, end = json.JSONDecoder().raw_decode(text)
        reports.append(report)
        text = text[end:].lstrip()
    assert sum(report["added"] for report in reports) == 2
    assert [Path(failure["path"]).name for report in reports for failure in report["failed"]] == ["bad.png"]


def test_where_the_system_tells_nothing_folders_are_walked_by_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: Path, **options: object) -> None:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr(watching, "watch", refuse)
    monkeypatch.setattr(watching, "UNTOLD_SECONDS", 0.2)
    folder, data = tmp_path / "media", tmp_path / "data"
    folder.mkdir()

    def deeds() -> None:
        until(data, set())
        write_image(folder / "a.png", 1)
        until(data, {"a.png"})

    result = watch(folder, data, deeds)
    assert result.exit_code == 0
    assert "OS file watch limit reached" in result.stderr and "every minute" in result.stderr


def test_a_change_is_told_and_what_is_apart_is_none(tmp_path: Path) -> None:
    apart = tmp_path / "apart"
    apart.mkdir()
    woken = Event()
    with watching.watched([tmp_path], apart) as turns:

        def wait() -> None:
            turns.wait()
            woken.set()

        thread = Thread(target=wait, daemon=True)
        thread.start()
        for name in ("apart/a.png", ".hidden.png"):
            (tmp_path / name).write_bytes(b"1")
        assert not woken.wait(1.0)
        while not woken.wait(0.5):
            (tmp_path / "a.png").write_bytes(os.urandom(8))
        thread.join(PATIENCE_SECONDS)


def test_a_file_written_to_a_moment_ago_is_left_for_later(tmp_path: Path) -> None:
    now = time.time_ns()
    assert watching.is_being_written(Candidate(tmp_path, 1, now))
    assert not watching.is_being_written(Candidate(tmp_path, 1, now - 10**9))
    assert not watching.is_being_written(Candidate(tmp_path, 1, now + 10**12)), "a clock that goes wrong stops nothing"
    assert not watching.is_being_written(Candidate(tmp_path, -1, -1))
