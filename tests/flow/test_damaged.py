"""A server over collections of which some are damaged: it starts, serves the others, tells which and what to do."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from made_items import ENGINE, new_item
from made_media import write_image, write_video
from served import SEARCH, added, problem, send, served

from vicmae.index.backup.snapshot import create
from vicmae.index.library import Library


def all_of_it(catalog: Path) -> None:
    catalog.write_bytes(b"no catalog at all" * 500)


def some_pages(catalog: Path) -> None:
    """The tables of items and jobs; the collection itself can be read."""
    database = sqlite3.connect(catalog)
    size = database.execute("PRAGMA page_size").fetchone()[0]
    wanted = "tbl_name IN ('media', 'jobs') AND rootpage > 0"  # a trigger has no page
    pages = database.execute(f"SELECT rootpage FROM sqlite_master WHERE {wanted}").fetchall()
    database.close()
    with catalog.open("r+b") as file:
        for (page,) in pages:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)


@pytest.mark.parametrize("damage", [all_of_it, some_pages])
def test_the_others_are_served(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    data = tmp_path / "data"
    with Library(data) as library:
        default = library.create("default", ENGINE)
        default.add(new_item(1))
        (data / "snapshots").mkdir()
        create(default, data / "snapshots" / "good.tar")
    damage(data / "collections" / "default" / "catalog.sqlite")
    film = write_video(tmp_path / "film.mp4", 3, 2.0, fps=10)
    with served(data) as client:
        client.put("/v1/collections/other")
        told = client.get("/v1/collections").json()
        assert [known["name"] for known in told["data"]] == ["other"]
        (damaged,) = told["damaged"]
        assert damaged["name"] == "default" and "vicmae snapshot restore FILE -c default --force" in damaged["reason"]
        added(client, film, "/v1/collections/other/items", id="film")
        assert send(client, film, "/v1/collections/other/search").json()["data"][0]["id"] == "film"
        assert "damaged" in problem(send(client, write_image(tmp_path / "a.png", 1), SEARCH), 507)["detail"]
        assert client.get("/metrics").status_code == 200
        assert client.get("/v1/jobs").status_code in (200, 507)
        wish = {"snapshot": "good.tar", "force": True}
        assert client.post("/v1/snapshots/restore", json=wish).json()["items"] == 1
        told = client.get("/v1/collections").json()
        assert [known["name"] for known in told["data"]] == ["default", "other"] and told["damaged"] == []
