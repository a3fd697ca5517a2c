"""Vectors out as npz and Parquet, and in again as a new collection of the same model."""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import anyio
import numpy as np
import pytest
from made_items import ENGINE, new_item, unit_vectors
from made_media import write_image
from made_queries import search_frame
from served import added, problem, send, served

from vicmae.errors import Conflict, InvalidRequest, ModelMismatch, NotFound
from vicmae.export.engine import FakeEngine
from vicmae.index.backup import exchange, exchange_npz
from vicmae.index.backup.exchange import export_vectors, import_vectors
from vicmae.index.backup.verify import verify
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.server.client import AsyncClient, Client

SUFFIXES = [".npz", ".parquet"]
KEPT = ("id", "uri", "name", "path", "sha256", "kind", "width", "duration_seconds", "frames", "metadata", "created_at")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "data") as library:
        yield library


@pytest.fixture
def collection(library: Library) -> Collection:
    collection = library.create("c", ENGINE)
    for seed in range(5):
        collection.add(new_item(seed, 1 + seed, metadata={"tags": ["ü", seed], "deep": {"a": None}}))
    collection.add(new_item(9, 1, id="mine", uri="upload:x", path=collection.uploads / "x"))
    return collection


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_goes_out_comes_in(library: Library, collection: Collection, tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"c{suffix}"
    assert export_vectors(collection, out) == (6, 16)
    again = import_vectors(library, out, "again")
    assert (again.fingerprint, again.spec, again.model) == (collection.fingerprint, collection.spec, collection.model)
    before, after = ({item.id: item for item in c.items(100)[0]} for c in (collection, again))
    assert before.keys() == after.keys()
    for item_id in before.keys() - {"mine"}:
        assert [getattr(after[item_id], name) for name in KEPT] == [getattr(before[item_id], name) for name in KEPT]
        old, new = collection.moments_of(item_id), again.moments_of(item_id)
        assert np.allclose(old.vectors, new.vectors, atol=1e-3)
        assert (old.start_seconds == new.start_seconds).all() and (old.end_seconds == new.end_seconds).all()
    assert after["mine"].uri == "imported:mine"
    assert verify(again).faults == []
    query = unit_vectors(3, 1)[0]
    assert [hit.item.id for hit in search_frame(again, query, 6)] == [
        hit.item.id for hit in search_frame(collection, query, 6)
    ]
    with pytest.raises(ModelMismatch):
        library.open_for("again", FakeEngine(fingerprint="other"))
    with pytest.raises(Conflict, match="taken"):
        import_vectors(library, out, "c")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_collection_goes_out_and_in(library: Library, tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    export_vectors(library.create("empty", ENGINE), tmp_path / f"e{suffix}")
    assert import_vectors(library, tmp_path / f"e{suffix}", "again").count() == 0


def test_in_pieces(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items that begin in one piece and end in another, texts that are cut anywhere."""
    pytest.importorskip("pyarrow")
    from vicmae.index.backup import exchange_parquet

    for module in (exchange_npz, exchange_parquet):
        monkeypatch.setattr(module, "CHUNK_ROWS", 7)
    monkeypatch.setattr(exchange_npz, "TEXT_CHARS", 50)
    monkeypatch.setattr(exchange, "BATCH_FRAMES", 10)
    collection = library.create("c", ENGINE)
    for seed in range(12):
        collection.add(new_item(seed, 1 + seed * 5 % 23, metadata={"text": '[{"ü": ","}] ' * seed}))
    for suffix in SUFFIXES:
        export_vectors(collection, tmp_path / f"c{suffix}")
        again = import_vectors(library, tmp_path / f"c{suffix}", suffix[1:])
        assert verify(again).faults == []
        for item in collection.items(100)[0]:
            assert again.get(item.id).metadata == item.metadata
            assert np.allclose(again.moments_of(item.id).vectors, collection.moments_of(item.id).vectors, atol=1e-3)
    with np.load(tmp_path / "c.npz", allow_pickle=False) as held:
        assert (np.diff(held["item"]) >= 0).all() and held["item"][-1] == 11
        assert [fact["id"] for fact in json.loads(held["items"].tobytes())][held["item"][-1]] == new_item(11).id


def test_over_http(tmp_path: Path) -> None:
    picture = write_image(tmp_path / "a.png", 1)
    with served(tmp_path / "data") as http, Client(str(http.base_url)) as client:
        added(http, picture, id="a", metadata='{"n": 1}')
        for form in ("npz", "parquet"):
            pytest.importorskip("pyarrow")
            out = tmp_path / f"c.{form}"
            client.export(out)
            assert client.import_vectors(out, form).items == 1
            assert client.item("a", form).metadata == {"n": 1}
            with pytest.raises(Conflict, match="taken"):
                client.import_vectors(out, form)
        answer = http.get("/v1/collections/default/export?format=npz")
        assert answer.headers["content-disposition"] == 'attachment; filename="default.npz"'
        assert np.load(BytesIO(answer.content))["vectors"].shape == (1, ENGINE.spec.dim)
        problem(http.get("/v1/collections/default/export?format=csv"), 422)
        problem(http.get("/v1/collections/none/export"), 404)
        refused = problem(send(http, picture, "/v1/collections/new/import"), 400)
        assert "a.png cannot be taken in" in refused["detail"]
        with pytest.raises(NotFound):
            client.export(tmp_path / "d.npz", "none")
        with pytest.raises(InvalidRequest):
            client.export(tmp_path / "d.csv")
    assert not (tmp_path / "d.npz").exists() and not list((tmp_path / "data" / "incoming").iterdir())


def test_the_async_client_too(tmp_path: Path) -> None:
    async def work(address: str) -> int:
        async with AsyncClient(address) as client:
            await client.export(tmp_path / "c.npz")
            return (await client.import_vectors(tmp_path / "c.npz", "again")).items

    with served(tmp_path / "data") as http:
        added(http, write_image(tmp_path / "a.png", 1))
        assert anyio.run(work, str(http.base_url)) == 1


def test_other_tools_read_the_columns(collection: Collection, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export_vectors(collection, tmp_path / "c.parquet")
    rows = parquet.read_table(tmp_path / "c.parquet").to_pylist()
    assert len(rows) == 16 and len(rows[0]["vectors"]) == ENGINE.spec.dim
    assert {row["uri"] for row in rows} >= {"file:///made/0", "upload:x"}
    export_vectors(collection, tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz") as held:
        assert held["vectors"].shape == (16, ENGINE.spec.dim) and held["uri"].shape == (16,)


def test_other_files_are_refused_and_leave_nothing(library: Library, collection: Collection, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", vectors=unit_vectors(1, 3))
    (tmp_path / "text.npz").write_text("no")
    export_vectors(collection, tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as held:
        arrays = dict(held)
    np.savez(tmp_path / "long.npz", **{**arrays, "vectors": arrays["vectors"] * 2})
    np.savez(tmp_path / "stray.npz", **{**arrays, "item": arrays["item"] + 1})
    np.savez(tmp_path / "narrow.npz", **{**arrays, "vectors": unit_vectors(1, 16, 8)})
    (tmp_path / "text.parquet").write_text("no")
    for name in ("other.npz", "text.npz", "long.npz", "stray.npz", "narrow.npz", "text.parquet"):
        with pytest.raises(InvalidRequest, match="cannot be taken in|Parquet needs pyarrow"):
            import_vectors(library, tmp_path / name, "again")
    with pytest.raises(NotFound):
        import_vectors(library, tmp_path / "none.npz", "again")
    with pytest.raises(InvalidRequest, match=r"\.npz or \.parquet"):
        export_vectors(collection, tmp_path / "c.csv")
    with pytest.raises(InvalidRequest, match="folder that exists"):
        export_vectors(collection, tmp_path / "none" / "c.npz")
    assert [*library.names()] == ["c"]
