"""A disk that is really full, or really read-only: a sentence for every wish, nothing lost, and on when there is room.

The disk is a small tmpfs of the test's own; that takes the right to mount (root, or `unshare -rm pytest …`).
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import httpx
import pytest
import typer
from made_crashes import fill
from made_items import ENGINE, new_item
from made_media import write_image, write_video
from made_pictures import jpegs_of
from served import ITEMS, SEARCH, added, finished_job, problem, send, served
from typer.testing import CliRunner

from vicmae.errors import StorageError
from vicmae.index import cli
from vicmae.index.backup.exchange import export_vectors, import_vectors
from vicmae.index.backup.snapshot import create, restore, verify_snapshot
from vicmae.index.backup.verify import verify
from vicmae.index.collection import Collection
from vicmae.index.duplicates import find_duplicates
from vicmae.index.library import Library
from vicmae.index.vectors import merge_policy
from vicmae.server.auth.keys import Keys
from vicmae.server.services import open_services
from vicmae.settings import load_settings

DISK_BYTES = 24 * 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"this user may not mount a disk to fill: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Not a byte is left on the disk while the block runs."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        piece = b"\0" * 2**20
        while piece:
            try:
                file.write(piece)
            except OSError:
                piece = piece[: len(piece) // 2]
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """The disk takes no writes while the block runs. Nobody may have it in use."""
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


REFUSALS: dict[str, Callable[[Path], AbstractContextManager[None]]] = {"full": full, "read-only": read_only}


def everything(library: Library) -> list[tuple[str, dict[str, object]]]:
    """What every item of every collection is."""
    names = [*library.names()]
    return [(name, vars(item)) for name in names for item in library.open(name).items(1000)[0]]


def test_each_work_on_a_full_disk(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge_policy, "SEAL_ROWS", 5)
    data, away = disk / "data", disk / "away"
    away.mkdir()
    with Library(data) as library:
        collection = library.create("c", ENGINE)
        for seed in range(20):
            new = new_item(seed, 10)
            collection.add(new, pictures=jpegs_of(new) if seed % 2 else None)
        library.set_alias("now", "c")
        create(collection, away / "c.tar")
        export_vectors(collection, away / "c.npz")
        big = new_item(99, 4000)
        works: list[Callable[[], object]] = [
            lambda: library.open("c").add(big),
            lambda: library.open("c").add(new_item(98, 1), pictures=[b"x" * 20_000]),
            lambda: fill(library.open("c")),
            lambda: _spooled(library.open("c")),
            lambda: library.create("d", ENGINE),
            lambda: library.set_alias("other", "c"),
            lambda: create(library.open("c"), away / "d.tar"),
            lambda: restore(library, away / "c.tar", "e"),
            lambda: restore(library, away / "c.tar", force=True),
            lambda: export_vectors(library.open("c"), away / "d.npz"),
            lambda: export_vectors(library.open("c"), away / "d.parquet"),
            lambda: import_vectors(library, away / "c.npz", "f"),
            lambda: Keys(data).create("me", ["admin"]),
            lambda: find_duplicates(library.open("c")),
        ]
        before, files = everything(library), sorted(path.name for path in away.iterdir())
        with full(disk):
            for work in works:
                with pytest.raises(StorageError, match="full|No space left|room") as told:
                    work()
                assert str(told.value).endswith(".")
            assert not collection.index.seal()
            assert collection.index.search(new_item(3).vectors[:1], 1)[0][0, 0] > 0.99
            assert verify(collection).faults == []
            assert collection.pictures.spare() == 0
        assert everything(library) == before
        assert sorted(path.name for path in away.iterdir()) == files
        assert collection.index.seal()
        for work in works:
            work()
        collection = library.open("c")
        assert {*library.names()} == {"c", "d", "e", "f"}
        assert verify_snapshot(away / "d.tar")[1].is_well
    assert not [path.name for path in data.joinpath("collections").iterdir() if path.name.startswith(".")]


def _spooled(collection: Collection) -> None:
    with closing(collection.pictures.spool()) as spool:
        for second in range(200):
            spool.put(float(second), b"x" * 20_000)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_the_command_line(disk: Path, tmp_path: Path, refusal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vicmae.export.engine.open_engine", lambda folder, **options: ENGINE)
    app = typer.Typer()
    cli.register(app)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    write_image(pictures / "a.png", 1)

    def run(*words: object) -> str:
        """What it says: the sentence of its error, or its output."""
        result = CliRunner().invoke(app, [*map(str, words), "--data", str(disk / "data")])
        if isinstance(result.exception, StorageError):
            return f"error: {result.exception}"
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    assert "1 added" in run("index", pictures)
    run("snapshot", "create", "-o", disk / "c.tar")
    for seed in range(2, 12):
        write_image(pictures / f"{seed}.png", seed)
    wishes: list[tuple[object, ...]] = [
        ("index", pictures),
        ("snapshot", "create", "-o", disk / "d.tar"),
        ("snapshot", "restore", disk / "c.tar", "-c", "again"),
        ("snapshot", "restore", disk / "c.tar", "--force"),
        ("collections", "alias", "now", "default"),
        ("collections", "export", "default", "-o", disk / "d.npz"),
    ]
    with REFUSALS[refusal](disk):
        for wish in wishes:
            assert run(*wish).startswith("error: "), wish
    assert "10 added, 1 unchanged" in run("index", pictures)
    assert "all agree: 11 items" in run("verify")
    for wish in wishes[1:]:
        run(*wish)


def test_over_http(disk: Path, tmp_path: Path) -> None:
    picture, other = write_image(tmp_path / "a.png", 1), write_image(tmp_path / "b.png", 2, size=(900, 900))
    film = write_video(tmp_path / "film.mp4", 3, 4.0, fps=10)
    with served(disk / "data") as client:
        added(client, picture, id="a")
        added(client, film, id="film")
        snapshot = client.post("/v1/collections/default/snapshots").json()["name"]
        away = tmp_path / "away.npz"
        away.write_bytes(client.get("/v1/collections/default/export?format=npz").content)
        wishes: list[Callable[[], httpx.Response]] = [
            lambda: send(client, other, id="b"),
            lambda: send(client, write_video(tmp_path / "long.mp4", 4, 8.0, fps=10), id="long"),
            lambda: client.put("/v1/collections/new", json={}),
            lambda: client.put("/v1/aliases/now", json={"collection": "default"}),
            lambda: client.post("/v1/collections/default/snapshots"),
            lambda: client.get("/v1/collections/default/export?format=npz"),
            lambda: client.get("/v1/collections/default/export?format=parquet"),
            lambda: send(client, away, "/v1/collections/imported/import"),
            lambda: client.post("/v1/snapshots/restore", json={"snapshot": snapshot, "collection": "again"}),
        ]
        with full(disk):
            for wish in wishes:
                told = problem(wish(), 507)["detail"]
                assert "full" in told or "No space left" in told or "room" in told
            assert send(client, picture, SEARCH).status_code in (200, 507)
            assert client.post(SEARCH, json={"item": "a"}).status_code == 200
            assert client.get(f"{ITEMS}/film/thumbnail").headers["content-type"] == "image/jpeg"
            assert [item["id"] for item in client.get(ITEMS).json()["data"]] == ["film", "a"]
            assert client.get("/readyz").status_code == 200
            patched = client.patch(f"{ITEMS}/a", json={"metadata": {"text": "x" * 60_000}})  # there may be room for it
            assert patched.status_code in (200, 507)
        metadata = client.get(f"{ITEMS}/a").json()["metadata"]
        assert metadata == ({"text": "x" * 60_000} if patched.status_code == 200 else {})
        for wish in wishes:
            answer = wish()
            assert answer.status_code in (200, 201, 202), answer.text
        assert client.post("/v1/collections/default/verify").json()["faults"] == []


def test_a_job_that_finds_the_disk_full_goes_on_later(disk: Path, tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", 3, 60.0, fps=10)
    with served(disk / "data") as client, ThreadPoolExecutor(1) as pool:
        accepted = send(client, film, id="film")
        assert accepted.status_code == 202
        with full(disk):
            waited = pool.submit(finished_job, client, accepted.headers["location"], 2.0)
            waited.exception()
        job = finished_job(client, accepted.headers["location"])
        assert job["state"] == "succeeded", job
        assert client.get(f"{ITEMS}/film").json()["frames"] > 0


def test_a_server_says_why_it_does_not_start(disk: Path) -> None:
    settings = load_settings(data=disk / "data")
    with full(disk), pytest.raises(StorageError, match="full|No space left|room"), open_services(settings, ENGINE):
        pass


def test_nothing_is_left_of_the_disk(disk: Path) -> None:
    """The ballast leaves no room at all: a single byte is refused."""
    with full(disk), pytest.raises(OSError), (disk / "byte").open("wb") as file:
        file.write(b"x" * 4097)
    assert os.statvfs(disk).f_bavail > 0
