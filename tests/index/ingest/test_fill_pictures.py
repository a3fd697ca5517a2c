"""vicmae.index.ingest.fill_pictures: items without pictures get theirs from their files; a killed run goes on."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import typer
from made_items import ENGINE
from made_media import write_image, write_video
from served import added, finished_job, served
from typer.testing import CliRunner

from vicmae.index import cli
from vicmae.index.collection import Collection
from vicmae.index.ingest import Filled, IngestOptions, Task, fill_pictures, ingest_file
from vicmae.index.library import Library

WITHOUT = IngestOptions(frame_store=False)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path / "data") as library:
        yield library.create("c", ENGINE)


def indexed(collection: Collection, folder: Path, options: IngestOptions = WITHOUT) -> None:
    """Five pictures, a film by shots and one by rate."""
    for seed in range(5):
        ingest_file(collection, ENGINE, write_image(folder / f"{seed}.png", seed), options)
    for name, sampling in (("shots", "shots"), ("rate", "rate")):
        film = folder / f"{name}.mp4"
        if not film.exists():  # no two writings of a film are the same bytes
            write_video(film, 20 + len(name), 7.0, 10)
        ingest_file(collection, ENGINE, film, IngestOptions(3.0, sampling, frame_store=options.frame_store))  # type: ignore[arg-type]


def shown(collection: Collection) -> dict[str, list[tuple[float, bytes]]]:
    return {
        item.name: [(each.start_seconds, each.data) for each in collection.pictures.all_of(item.id)]
        for item in collection.items(100)[0]
    }


def run(collection: Collection, options: IngestOptions | None = None) -> Filled:
    return [*fill_pictures(collection, options)][-1]


def test_they_are_those_that_ingest_makes(tmp_path: Path) -> None:
    with Library(tmp_path / "data") as library:
        early, late = library.create("early", ENGINE), library.create("late", ENGINE)
        indexed(early, tmp_path)
        indexed(late, tmp_path, IngestOptions())
        assert early.stats()["without_pictures"] == 7
        filled = run(early)
        assert (filled.total, filled.done, filled.gone, filled.failed, filled.no_room) == (7, 7, [], [], False)
        assert shown(early) == shown(late)
        assert early.pictures.faults() == {} and early.pictures.spare() == 0
        assert run(early).total == 0


def test_a_run_that_is_stopped_goes_on_where_it_was(collection: Collection, tmp_path: Path) -> None:
    indexed(collection, tmp_path)
    with closing(fill_pictures(collection)) as steps:
        while next(steps).done < 2:
            pass
    left = collection.stats()["without_pictures"]
    assert left <= 5
    assert run(collection).done == left
    assert collection.stats()["without_pictures"] == 0


def test_files_that_are_gone_or_changed_are_named(collection: Collection, tmp_path: Path) -> None:
    indexed(collection, tmp_path)
    (tmp_path / "1.png").unlink()
    write_image(tmp_path / "2.png", 40, (64, 48))
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:-1] + b"x")  # as large as before
    filled = run(collection)
    assert filled.gone == [tmp_path / "1.png"] and filled.done == 4
    assert {failure.path.name for failure in filled.failed} == {"2.png", "3.png"}
    assert all("no longer the file that was indexed" in failure.reason for failure in filled.failed)
    assert filled.lines()[0] == "4 of 7 items have pictures now, 1 gone, 2 failed"


def test_a_file_that_gives_other_frames_is_named(collection: Collection, tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", 5, 4.0, 10)
    item_id = ingest_file(collection, ENGINE, film, WITHOUT).item_id
    with collection.catalog.write() as db:
        db.execute("UPDATE frames SET start_seconds = start_seconds + 0.04 WHERE media_id = ?", (item_id,))
    (failure,) = run(collection).failed
    assert failure.stage == "decode" and "other frames" in failure.reason


def test_lost_pictures_are_made_anew_and_stay_while_the_file_is_away(collection: Collection, tmp_path: Path) -> None:
    indexed(collection, tmp_path, IngestOptions())
    before = shown(collection)
    for number, path in enumerate(sorted(collection.pictures.files.folder.rglob("*.pictures"))[:3]):
        path.write_bytes(path.read_bytes()[: -1 - number])
    media = [*tmp_path.glob("*.*")]
    for path in media:
        path.rename(path.with_name(f"away-{path.name}"))
    filled = run(collection)
    assert (filled.total, filled.done, len(filled.gone)) == (3, 0, 3) and len(collection.pictures.faults()) == 3
    for path in media:
        path.with_name(f"away-{path.name}").rename(path)
    assert run(collection).done == 3
    assert shown(collection) == before and collection.pictures.faults() == {} and collection.pictures.spare() == 0


def test_the_bound_ends_it(collection: Collection, tmp_path: Path) -> None:
    indexed(collection, tmp_path)
    filled = run(collection, IngestOptions(frame_store_max_bytes=9_000))
    # Two files are read at once, and both may find room for one.
    assert filled.no_room and 0 < filled.done < 7 and collection.pictures.total_bytes() <= 9_000 + 5_000
    assert any("no room" in line for line in filled.lines())
    assert run(collection, WITHOUT).no_room


def test_an_item_that_changes_meanwhile_keeps_its_own(collection: Collection, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", 1)
    item_id = ingest_file(collection, ENGINE, path, WITHOUT).item_id
    frames = collection.pictures.frames_of(item_id)
    assert frames is not None
    ingest_file(collection, ENGINE, Task.of(write_image(path, 2)), WITHOUT)
    assert not collection.pictures.give(item_id, frames, [b"of another picture"])
    assert collection.pictures.spare() == 0
    assert collection.pictures.frames_of("unknown") is None


def test_on_the_command_line(tmp_path: Path) -> None:
    with Library(tmp_path / "data") as library:
        indexed(library.create("c", ENGINE), tmp_path)
    app = typer.Typer()
    cli.register(app)
    words = ["collections", "fill-pictures", "c", "--data", str(tmp_path / "data")]
    (tmp_path / "1.png").unlink()
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3, result.output
    assert result.stdout.startswith("6 of 7 items have pictures now, 1 gone, 0 failed")
    write_image(tmp_path / "1.png", 1)
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert told == {"items": 1, "filled": 1, "no_room": False, "gone": [], "failed": []}
    listed = json.loads(CliRunner().invoke(app, ["collections", "--json", "--data", words[-1]]).stdout)["data"]
    assert listed[0]["without_pictures"] == 0 and listed[0]["picture_bytes"] > 0


def test_over_http(tmp_path: Path) -> None:
    with served(tmp_path / "data", frame_store=False) as client:
        added(client, write_image(tmp_path / "a.png", 1), id="a")
        added(client, write_video(tmp_path / "v.mp4", 2, seconds=3), id="v")
        assert client.get("/v1/collections/default").json()["without_pictures"] == 2
    with served(tmp_path / "data") as client:
        answer = client.post("/v1/collections/default/fill-pictures")
        assert answer.status_code == 202
        job = finished_job(client, answer.headers["location"])
        assert (job["state"], job["kind"], job["error"]) == ("succeeded", "fill-pictures", None)
        assert job["progress"] == {"done": 2, "total": 2, "unit": "items"}
        collection = client.get("/v1/collections/default").json()
        assert collection["without_pictures"] == 0 and collection["picture_bytes"] > 0
