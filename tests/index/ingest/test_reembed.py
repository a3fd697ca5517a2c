"""vicmae reembed: another model's vectors beside the old ones, resumable, then an alias is switched."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import typer
from made_items import ENGINE
from made_media import write_image, write_video
from served import added, finished_job, problem, send, served
from typer.testing import CliRunner

from vicmae.errors import Conflict
from vicmae.export.engine import FakeEngine
from vicmae.index import cli
from vicmae.index.catalog.dismissals import dismiss, dismissed
from vicmae.index.catalog.ledger import read_ledger
from vicmae.index.collection import Collection
from vicmae.index.ingest.options import IngestOptions
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.ingest.reader import Task
from vicmae.index.ingest.reembed import Tally, open_both, reembed
from vicmae.index.library import Library

NEW = FakeEngine(fingerprint="other-1")

SCRIPT = """
import sys
from pathlib import Path
from vicmae.export.engine import FakeEngine
from vicmae.index.library import Library
from vicmae.index.ingest.reembed import open_both, reembed

engine = FakeEngine(fingerprint="other-1")
with Library(Path(sys.argv[1])) as library:
    for tally in reembed(*open_both(library, "old", "new", engine), engine):
        print(tally.done, flush=True)
"""


def fill(library: Library, folder: Path, pictures: int = 4) -> Collection:
    """A collection of pictures, a film, and an upload."""
    collection = library.create("old", ENGINE)
    for seed in range(pictures):
        ingest_file(collection, ENGINE, Task.of(write_image(folder / f"{seed}.png", seed), metadata={"seed": seed}))
    film = write_video(folder / "film.mp4", 9, seconds=4)
    ingest_file(collection, ENGINE, film, IngestOptions(1.0, "shots"))
    upload = write_image(collection.uploads / "abc.png", 77)
    ingest_file(collection, ENGINE, Task.of(upload, uri="upload:abc.png", item_id="mine", name="holiday.png"))
    return collection


def run_all(source: Collection, target: Collection, from_files: bool = True) -> Tally:
    return list(reembed(source, target, NEW, from_files=from_files))[-1]


def test_everything_but_the_vectors_stays(tmp_path: Path) -> None:
    with Library(tmp_path / "data") as library:
        old = fill(library, tmp_path)
        before = old.items(100)[0]
        dismiss(old.catalog, before[0].id, before[1].id)
        source, target = open_both(library, "old", "new", NEW, "now")
        tally = run_all(source, target)
        assert (tally.total, tally.done, tally.gone, tally.failed) == (6, 6, [], [])
        after = target.items(100)[0]
        for one, other in zip(before, after, strict=True):
            same = ("id", "uri", "name", "metadata", "created_at", "sampling", "frames_per_second", "frames", "sha256")
            assert [getattr(one, name) for name in same] == [getattr(other, name) for name in same]
        assert target.fingerprint == "other-1"
        assert dismissed(target.catalog) == dismissed(old.catalog)
        library.drop("old")
        assert target.get("mine").path.read_bytes() == (target.uploads / "abc.png").read_bytes()


def test_gone_and_broken_files_are_named(tmp_path: Path) -> None:
    with Library(tmp_path / "data") as library:
        old = fill(library, tmp_path)
        (tmp_path / "1.png").unlink()
        (tmp_path / "2.png").write_bytes(b"no picture")
        source, target = open_both(library, "old", "new", NEW)
        for _ in range(2):
            tally = run_all(source, target)
            assert tally.gone == [tmp_path / "1.png"]
            assert [failure.path for failure in tally.failed] == [tmp_path / "2.png"]
            assert (tally.total, tally.done) == (6, 4)
        write_image(tmp_path / "2.png", 22)
        assert run_all(source, target).done == 5
        assert old.count() == 6


def test_stored_pictures_are_embedded_and_no_file_is_opened(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    with Library(tmp_path / "data") as library:
        old = fill(library, media)
        film = write_video(media / "long.mp4", 8, seconds=6)
        item_id = ingest_file(old, ENGINE, film, IngestOptions(2.0)).item_id
        ledger = read_ledger(old.catalog)
        media.rename(tmp_path / "away")
        source, target = open_both(library, "old", "new", NEW)
        tally = run_all(source, target, from_files=False)
        assert (tally.total, tally.done, tally.gone, tally.failed) == (7, 7, [], [])
        for one, other in zip(old.items(100)[0], target.items(100)[0], strict=True):
            assert (one.id, one.sha256, one.frames) == (other.id, other.sha256, other.frames)
            was, now = old.moments_of(one.id), target.moments_of(other.id)
            assert (was.start_seconds == now.start_seconds).all() and (was.end_seconds == now.end_seconds).all()
            assert (was.vectors * now.vectors).sum(axis=1).min() > 0.98  # the same model under another name
        assert read_ledger(target.catalog) == ledger  # `index` finds the files unchanged when they are back
        was_shown, now_shown = (collection.pictures_at(item_id, [3.0])[0] for collection in (old, target))
        assert was_shown and now_shown and was_shown.data == now_shown.data
        assert target.stats()["without_pictures"] == 0


def test_where_a_picture_is_too_small_for_the_model_the_file_is_read(tmp_path: Path) -> None:
    with Library(tmp_path / "data") as library:
        old = library.create("old", ENGINE)
        for name, size in (("large", (800, 800)), ("small", (90, 90))):
            ingest_file(old, ENGINE, write_image(tmp_path / f"{name}.png", 1 + len(name), size))
        for path in tmp_path.glob("*.png"):
            path.unlink()
        fine = FakeEngine(size=384, fingerprint="fine")
        tally = [*reembed(*open_both(library, "old", "new", fine), fine)][-1]
        assert (tally.done, tally.gone) == (1, [tmp_path / "large.png"])


def test_a_damaged_picture_file_is_named(tmp_path: Path) -> None:
    with Library(tmp_path / "data") as library:
        old = library.create("old", ENGINE)
        ingest_file(old, ENGINE, write_image(tmp_path / "a.png", 1))
        (stored,) = old.pictures.files.folder.rglob("*.pictures")
        stored.write_bytes(b"no picture" * 1000)
        tally = run_all(*open_both(library, "old", "new", NEW), from_files=False)
        assert [failure.stage for failure in tally.failed] == ["decode"] and "verify" in tally.failed[0].reason


def test_what_happens_in_the_meantime_is_followed(tmp_path: Path) -> None:
    with Library(tmp_path / "data") as library:
        old = fill(library, tmp_path)
        source, target = open_both(library, "old", "new", NEW)
        late = write_image(tmp_path / "late.png", 50)
        with closing(reembed(source, target, NEW)) as run:
            for tally in run:
                if tally.done == 2 and not old.find_by_uri(late.as_uri()):
                    ingest_file(old, ENGINE, late)
                    old.delete(target.items(1)[0][0].id)
        assert {item.id for item in target.items(100)[0]} == {item.id for item in old.items(100)[0]}
        assert target.find_by_uri(late.as_uri()) is not None


def test_it_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with Library(tmp_path / "data") as library:
        fill(library, tmp_path, 1)
        library.create("taken", NEW)
        with pytest.raises(Conflict, match="already"):
            open_both(library, "old", "new", ENGINE)
        with pytest.raises(Conflict, match="no re-embedding of 'old'"):
            open_both(library, "old", "taken", NEW)
        with pytest.raises(Conflict, match="an alias needs a name"):
            open_both(library, "old", "new", NEW, "taken")
        assert [*library.names()] == ["old", "taken"]


def test_kill_and_go_on(tmp_path: Path) -> None:
    with Library(tmp_path / "data") as library:
        fill(library, tmp_path, 10)
    told: list[int] = []
    for after in (1, 4):
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                told.append(int(line))
                if len(told) > after:
                    os.kill(process.pid, signal.SIGKILL)
                    break
        with Library(tmp_path / "data") as library:
            assert library.open("new").count() >= max(told)
    with Library(tmp_path / "data") as library:
        source, target = open_both(library, "old", "new", NEW)
        made = {item.id: item for item in target.items(100)[0]}
        vector_ids = target_vectors(target)
        assert run_all(source, target).done == 12
        assert {item.id for item in target.items(100)[0]} >= set(made)
        assert set(vector_ids) <= set(target_vectors(target)), "an item was embedded twice"


def target_vectors(collection: Collection) -> list[int]:
    with collection.catalog.read() as db:
        return [row[0] for row in db.execute("SELECT vector_id FROM frames")]


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library(tmp_path / "data") as library:
        fill(library, tmp_path, 2)
        library.set_alias("now", "old")
    (tmp_path / "1.png").unlink()
    monkeypatch.setattr("vicmae.export.engine.open_engine", lambda folder, **options: NEW)
    app = typer.Typer()
    cli.register(app)
    words = [
        "reembed",
        "-c",
        "now",
        "--into",
        "new",
        "--alias",
        "now",
        "--from-files",
        "--data",
        str(tmp_path / "data"),
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3, result.output
    first, second = result.stdout.splitlines()
    assert first == "3 of 4 items embedded, 1 gone, 0 failed"
    assert second.startswith(str(tmp_path / "1.png"))
    with Library(tmp_path / "data") as library:
        assert library.aliases.target("now") == "new"
    again = ["reembed", "-c", "old", "--into", "new", "--json", "--data", str(tmp_path / "data")]
    assert json.loads(CliRunner().invoke(app, again).stdout)["embedded"] == 4  # the picture of the one that is gone


def test_over_http(tmp_path: Path) -> None:
    picture = write_image(tmp_path / "a.png", 1)
    with served(tmp_path / "data") as client:
        client.put("/v1/collections/old")
        added(client, picture, url="/v1/collections/old/items", id="a")
        added(client, write_video(tmp_path / "v.mp4", 2, seconds=3), url="/v1/collections/old/items", id="v")
        client.put("/v1/aliases/now", json={"collection": "old"})
        problem(client.post("/v1/collections/old/reembed", json={"into": "new"}), 409)
    with served(tmp_path / "data", NEW) as client:
        told = problem(send(client, picture, "/v1/collections/now/search"), 409)
        assert "vicmae reembed -c old --into" in told["detail"]
        answer = client.post("/v1/collections/now/reembed", json={"into": "new", "alias": "now"})
        assert answer.status_code == 202
        job = finished_job(client, answer.headers["location"])
        assert job["state"] == "succeeded" and job["progress"] == {"done": 2, "total": 2, "unit": "items"}
        report = client.get(job["result_url"]).json()
        assert (report["source"], report["into"], report["embedded"], report["gone"]) == ("old", "new", 2, [])
        found = send(client, picture, "/v1/collections/now/search").json()["data"]
        assert found[0]["id"] == "a" and found[0]["media_url"].startswith("/v1/collections/new/")
        assert client.get(found[0]["media_url"]).content == picture.read_bytes()
        assert client.delete("/v1/collections/old").status_code == 204
