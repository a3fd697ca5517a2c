"""Snapshots and vicmae verify: taken while in use, proved, put back; every damage is told."""

import json
import sqlite3
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import typer
from made_items import ENGINE, new_item, unit_vectors
from made_media import write_image
from made_queries import search_frame
from served import ITEMS, SEARCH, added, problem, send, served
from typer.testing import CliRunner

from vicmae.errors import Conflict, InvalidRequest, NotFound, StorageError
from vicmae.index import cli
from vicmae.index.backup.manifest import read_manifest
from vicmae.index.backup.snapshot import create, restore, verify_snapshot
from vicmae.index.backup.verify import verify
from vicmae.index.collection import Collection
from vicmae.index.ingest import fill_pictures
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.ingest.reader import Task
from vicmae.index.library import Library


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "data") as library:
        yield library


@pytest.fixture
def collection(library: Library) -> Collection:
    """Ten items of made vectors, and one uploaded picture."""
    collection = library.create("c", ENGINE)
    for seed in range(10):
        collection.add(new_item(seed, 1 + seed, metadata={"seed": seed}))
    upload = write_image(collection.uploads / "abc.png", 77)
    ingest_file(collection, ENGINE, Task.of(upload, uri="upload:abc.png", item_id="mine"))
    return collection


def damage(collection: Collection, statement: str, *values: object) -> None:
    """Changes the catalog behind the program's back."""
    database = sqlite3.connect(collection.catalog.path)
    database.execute("PRAGMA recursive_triggers = OFF")
    database.execute(statement, values)
    database.commit()
    database.close()


def answers(collection: Collection) -> list[tuple[str, float]]:
    return [(hit.item.id, hit.score) for hit in search_frame(collection, unit_vectors(5, 1)[0], 20)]


def test_a_sound_collection_is_well(collection: Collection) -> None:
    verdict = verify(collection)
    assert verdict.faults == []
    assert verdict.counts == {
        "items": 11,
        "frames": 56,
        "ledger": 1,
        "uploads": 1,
        "picture_files": 1,
        "vectors_in_index": 56,
    }
    assert ["10 indexed files" in note for note in verdict.notes] == [True]


@pytest.mark.parametrize(
    ("statement", "value", "told"),
    [
        ("UPDATE frames SET vector = ? WHERE vector_id = 3", np.full(192, np.nan, "<f2").tobytes(), "not finite"),
        ("UPDATE frames SET vector = ? WHERE vector_id = 3", np.full(192, 1, "<f2").tobytes(), "not of unit length"),
        ("UPDATE frames SET vector = ? WHERE vector_id = 3", b"xx", "wrong size"),
        ("UPDATE media SET frames = ? WHERE id = 'mine'", 3, "frames that they say: mine"),
        ("UPDATE frames SET media_id = ? WHERE vector_id = 3", "nobody", "1 frames belong to no item"),
        ("UPDATE ledger SET uri = 'file:///x', item_id = ?", "nobody", "file:///x"),
        ("UPDATE frames SET end_seconds = ? WHERE vector_id = 3", -1.0, "end before they start"),
        ("UPDATE media SET size_bytes = ? WHERE id = 'mine'", 1, "expected 1"),
        ("UPDATE pictures SET sizes = ? WHERE media_id = 'mine'", bytes(8), "a picture of each of their frames: mine"),
        ("UPDATE pictures SET sizes = ? WHERE media_id = 'mine'", bytes(4), "pictures of 1 items cannot be read (mine"),
        ("UPDATE pictures SET token = ? WHERE media_id = 'mine'", "ab" * 16, "No such file or directory"),
    ],
)
def test_what_does_not_agree_is_told(collection: Collection, statement: str, value: object, told: str) -> None:
    assert collection.spec.dim == 192
    damage(collection, statement, value)
    assert any(told in fault for fault in verify(collection).faults), verify(collection).faults


def test_an_index_that_fell_behind_is_told(collection: Collection) -> None:
    collection.index.refresh()
    blob = unit_vectors(99, 1).astype("<f2").tobytes()
    damage(collection, "UPDATE frames SET vector = ? WHERE vector_id = 3", blob)
    assert any("others than the catalog's (ids 3" in fault for fault in verify(collection).faults)


def test_a_missing_upload_is_told(collection: Collection) -> None:
    (collection.uploads / "abc.png").unlink()
    assert any("'mine'" in fault and "not there" in fault for fault in verify(collection).faults)
    (collection.uploads / "left").write_bytes(b"x")
    assert any("belong to no item" in note for note in verify(collection).notes)


def test_a_missing_picture_file_is_told_and_made_anew(collection: Collection) -> None:
    (stored,) = collection.pictures.files.folder.rglob("*.pictures")
    stored.rename(stored.with_stem(stored.stem[:2] + "cd" * 15))
    verdict = verify(collection)
    assert ["vicmae collections fill-pictures c" in fault for fault in verdict.faults] == [True]
    assert any("1 picture files belong to no item" in note for note in verdict.notes)
    list(fill_pictures(collection))
    verdict = verify(collection)
    assert verdict.faults == [] and not any("picture files" in note for note in verdict.notes)


def test_a_snapshot_is_proved_and_restored(library: Library, collection: Collection, tmp_path: Path) -> None:
    before = answers(collection)
    items = collection.items(100)[0]
    manifest = create(collection, tmp_path / "c.tar")
    assert (manifest.collection, manifest.items, manifest.frames) == ("c", 11, 56)
    assert read_manifest(tmp_path / "c.tar") == manifest
    again, verdict = verify_snapshot(tmp_path / "c.tar")
    assert again == manifest and verdict.is_well, verdict.faults
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.tar", "data"]

    library.drop("c")
    restored = restore(library, tmp_path / "c.tar")
    assert answers(restored) == before
    assert [vars(item) for item in restored.items(100)[0]] == [vars(item) for item in items]
    assert restored.get("mine").path.stat().st_size == items[0].size_bytes
    (shown,) = restored.pictures_at("mine", [0.0])
    assert shown is not None and shown.pixels().shape == (120, 160, 3) and restored.pictures.spare() == 0
    copy = restore(library, tmp_path / "c.tar", "copy")
    assert (copy.name, answers(copy)) == ("copy", before)
    assert {path.name for path in library.folder.iterdir()} == {"c", "copy"}
    assert not list(copy.folder.glob(".*"))


def test_restore_replaces_only_by_force(library: Library, collection: Collection, tmp_path: Path) -> None:
    create(collection, tmp_path / "c.tar")
    collection.delete("mine")
    with pytest.raises(Conflict, match="--force"):
        restore(library, tmp_path / "c.tar")
    assert library.open("c").count() == 10
    assert restore(library, tmp_path / "c.tar", force=True).count() == 11
    assert library.open("c").count() == 11
    library.set_alias("now", "c")
    with pytest.raises(Conflict, match="alias"):
        restore(library, tmp_path / "c.tar", "now", force=True)


def test_an_empty_collection_has_a_snapshot(library: Library, tmp_path: Path) -> None:
    create(library.create("empty", ENGINE), tmp_path / "e.tar")
    assert restore(library, tmp_path / "e.tar", "again").count() == 0


def test_snapshots_are_taken_while_others_write(library: Library, collection: Collection, tmp_path: Path) -> None:
    def write(seed: int) -> None:
        name = f"up{seed}.png"
        ingest_file(
            collection,
            ENGINE,
            Task.of(write_image(collection.uploads / name, seed), uri=f"upload:{name}", item_id=name),
        )
        if seed % 2:
            collection.delete(name)

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(write, seed) for seed in range(100, 120)]
        for turn in range(3):
            create(collection, tmp_path / f"{turn}.tar")
        for one in running:
            one.result()
    for turn in range(3):
        _, verdict = verify_snapshot(tmp_path / f"{turn}.tar")
        assert verdict.is_well, verdict.faults


def test_every_changed_byte_is_noticed(library: Library, collection: Collection, tmp_path: Path) -> None:
    create(collection, tmp_path / "c.tar")
    good = (tmp_path / "c.tar").read_bytes()
    with tarfile.open(tmp_path / "c.tar") as tar:
        places = {info.name: info.offset_data + info.size // 2 for info in tar if info.name != "manifest.json"}
    (stored,) = (name for name in places if name.startswith("pictures/"))
    assert set(places) == {"catalog.sqlite", "canaries.json", stored, "uploads/abc.png"}
    for name, place in places.items():
        bad = tmp_path / "bad.tar"
        bad.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        _, verdict = verify_snapshot(bad)
        assert any(name in fault and "checksum" in fault for fault in verdict.faults)
        with pytest.raises(StorageError, match="was not restored"):
            restore(library, bad, "other")
    (tmp_path / "short.tar").write_bytes(good[: places["uploads/abc.png"]])
    _, verdict = verify_snapshot(tmp_path / "short.tar")
    assert not verdict.is_well
    assert {path.name for path in library.folder.iterdir()} == {"c"}


def test_members_that_nobody_named_are_refused(collection: Collection, tmp_path: Path) -> None:
    create(collection, tmp_path / "c.tar")
    (tmp_path / "evil").write_text("x")
    with tarfile.open(tmp_path / "c.tar", "a") as tar:
        tar.add(tmp_path / "evil", "../evil")
    _, verdict = verify_snapshot(tmp_path / "c.tar")
    assert any("'../evil'" in fault for fault in verdict.faults)


def test_what_is_no_snapshot_is_told(library: Library, collection: Collection, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(InvalidRequest, match="no snapshot"):
        verify_snapshot(tmp_path / "x.tar")
    with tarfile.open(tmp_path / "y.tar", "w") as tar:
        tar.add(tmp_path / "x.tar", "manifest.json")
    with pytest.raises(InvalidRequest, match="no snapshot"):
        restore(library, tmp_path / "y.tar")
    with pytest.raises(NotFound):
        verify_snapshot(tmp_path / "none.tar")
    with pytest.raises(InvalidRequest, match="folder that exists"):
        create(collection, tmp_path / "none" / "c.tar")


def test_on_the_command_line(library: Library, collection: Collection, tmp_path: Path) -> None:
    app = typer.Typer()
    cli.register(app)

    def run(*words: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, list(map(str, words)))
        assert result.exit_code == code, (result.output, result.exception)
        return result.stdout

    data = ("--data", library.data_dir)
    assert run("verify", "-c", "c", *data).splitlines()[-1].startswith("✓ all agree: 11 items, 56 frames")
    assert run("snapshot", "create", "-c", "c", "-o", tmp_path / "c.tar", *data).endswith("11 items, 56 frames\n")
    assert "✓" in run("snapshot", "verify", tmp_path / "c.tar")
    run("snapshot", "restore", tmp_path / "c.tar", "-c", "copy", *data)
    assert library.open("copy").count() == 11
    damage(collection, "DELETE FROM ledger")
    (collection.uploads / "abc.png").unlink()
    assert run("verify", "-c", "c", *data, code=1).startswith("✗ The uploaded file of 'mine'")
    assert json.loads(run("verify", "-c", "c", "--json", *data, code=1))["is_well"] is False


def test_over_http(tmp_path: Path) -> None:
    picture = write_image(tmp_path / "a.png", 1)
    with served(tmp_path / "data") as client:
        added(client, picture, id="a")
        assert client.post("/v1/collections/default/verify").json()["is_well"] is True
        made = client.post("/v1/collections/default/snapshots")
        assert made.status_code == 201 and (made.json()["collection"], made.json()["items"]) == ("default", 1)
        name = made.json()["name"]
        assert client.get("/v1/snapshots").json() == {"data": [made.json()]}
        assert client.post(f"/v1/snapshots/{name}/verify").json()["faults"] == []
        (tmp_path / "away.tar").write_bytes(client.get(f"/v1/snapshots/{name}").content)
        assert verify_snapshot(tmp_path / "away.tar")[1].is_well
        client.delete(f"{ITEMS}/a")
        problem(client.post("/v1/snapshots/restore", json={"snapshot": name}), 409)
        wish = {"snapshot": name, "force": True}
        assert client.post("/v1/snapshots/restore", json=wish).json()["items"] == 1
        assert client.get(f"{ITEMS}/a/media").content == picture.read_bytes()
        assert send(client, picture, SEARCH).json()["data"][0]["id"] == "a"
        problem(client.post("/v1/snapshots/restore", json={"snapshot": "../x.tar"}), 400)
        problem(client.post("/v1/snapshots/none.tar/verify"), 404)
        assert client.delete(f"/v1/snapshots/{name}").status_code == 204
        assert client.get("/v1/snapshots").json() == {"data": []}
