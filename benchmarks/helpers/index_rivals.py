"""Other engines for benchmarks/index.py: how each builds from (N, D) vectors in a folder, and how it is asked.

build(folder, vectors) -> facts. ask(folder, count, dim) -> functions by setting, narrowest first, each from a query
(D,) to ids (K,), and facts. "filtered" among them answers one vector in FILTERED. Each is imported where it is used, so
that one that is not installed can be left out.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

K = 10
FILTERED = 50  # one vector in so many is allowed: 2 %
WIDTHS = (20, 24, 32, 40, 64, 96, 160, 320, 640)
LINKS, BUILD_WIDTH = 16, 100
BATCH = 5_000

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Ask = Callable[[Floats], Ids]
Asks = dict[str, Ask]


def by_width(ask: Callable[..., Ids]) -> Asks:
    return {f"ef {width}": partial(ask, width=width) for width in WIDTHS}


def build_hnswlib(folder: Path, vectors: Floats) -> dict[str, Any]:
    import hnswlib

    began = perf_counter()
    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(vectors), M=LINKS, ef_construction=BUILD_WIDTH)
    index.add_items(vectors)
    index.save_index(str(folder / "hnswlib"))
    return {"build_seconds": perf_counter() - began}


def ask_hnswlib(folder: Path, count: int, dim: int) -> tuple[Asks, dict[str, Any]]:
    import hnswlib

    index = hnswlib.Index("ip", dim)
    index.load_index(str(folder / "hnswlib"))
    index.set_num_threads(1)

    def ask(query: Floats, width: int, chosen: Callable[[int], bool] | None = None) -> Ids:
        index.set_ef(width)
        return np.asarray(index.knn_query(query, K, filter=chosen)[0][0], np.int64)

    filtered = partial(ask, width=640, chosen=lambda label: label % FILTERED == 0)
    return {**by_width(ask), "filtered": filtered}, {}


def build_usearch(folder: Path, vectors: Floats, numbers: str) -> dict[str, Any]:
    from usearch.index import Index

    began = perf_counter()
    index = Index(ndim=vectors.shape[1], metric="ip", dtype=numbers, connectivity=LINKS, expansion_add=BUILD_WIDTH)
    index.add(np.arange(len(vectors)), vectors)
    index.save(str(folder / f"usearch-{numbers}"))
    return {"build_seconds": perf_counter() - began}


def ask_usearch(folder: Path, count: int, dim: int, numbers: str) -> tuple[Asks, dict[str, Any]]:
    from usearch.index import Index

    index = Index(ndim=dim, metric="ip", dtype=numbers, connectivity=LINKS)
    index.load(str(folder / f"usearch-{numbers}"))

    def ask(query: Floats, width: int) -> Ids:
        index.expansion_search = width
        return np.asarray(index.search(query, K, threads=1).keys, np.int64)

    return by_width(ask), {}


def build_lancedb(folder: Path, vectors: Floats) -> dict[str, Any]:
    """IVF-PQ as its documentation advises: rows / 4,096 lists would be few, so the square root; D / 8 parts."""
    import lancedb
    import pyarrow

    began = perf_counter()
    held = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(np.asarray(vectors).ravel()), vectors.shape[1])
    ids = pyarrow.array(np.arange(len(vectors)))
    table = lancedb.connect(str(folder / "lancedb")).create_table("t", pyarrow.table({"id": ids, "vector": held}))
    lists = int(len(vectors) ** 0.5)
    table.create_index(
        metric="cosine", num_partitions=lists, num_sub_vectors=vectors.shape[1] // 8, vector_column_name="vector"
    )
    table.create_scalar_index("id")
    return {"build_seconds": perf_counter() - began}


def ask_lancedb(folder: Path, count: int, dim: int) -> tuple[Asks, dict[str, Any]]:
    import lancedb

    table = lancedb.connect(str(folder / "lancedb")).open_table("t")

    def ask(query: Floats, probes: int, refined: int) -> Ids:
        found = table.search(query).metric("cosine").nprobes(probes).refine_factor(refined).limit(K)
        return np.asarray(found.select(["id", "_distance"]).to_arrow()["id"].to_numpy(), np.int64)

    settings = [(probes, refined) for probes in (4, 8, 16, 32, 64, 128) for refined in (4, 10)]
    return {f"probes {p}, refine {r}": partial(ask, probes=p, refined=r) for p, r in settings}, {}


def build_qdrant(folder: Path, vectors: Floats) -> dict[str, Any]:
    from qdrant_edge import Distance, EdgeConfig, EdgeShard, EdgeVectorParams, HnswIndexConfig, Point, UpdateOperation

    began = perf_counter()
    (folder / "qdrant").mkdir()
    graph = HnswIndexConfig(m=LINKS, ef_construct=BUILD_WIDTH, full_scan_threshold=10)
    config = EdgeConfig(vectors=EdgeVectorParams(vectors.shape[1], Distance.Dot, hnsw_config=graph))
    shard = EdgeShard.create(str(folder / "qdrant"), config)
    for start in range(0, len(vectors), BATCH):
        points = [Point(start + i, row.tolist()) for i, row in enumerate(vectors[start : start + BATCH])]
        shard.update(UpdateOperation.upsert_points(points))
    shard.optimize()
    shard.flush()
    shard.close()
    return {"build_seconds": perf_counter() - began}


def ask_qdrant(folder: Path, count: int, dim: int) -> tuple[Asks, dict[str, Any]]:
    from qdrant_edge import EdgeShard, Query, QueryRequest, SearchParams

    shard = EdgeShard.load(str(folder / "qdrant"))

    def ask(query: Floats, width: int) -> Ids:
        asked = QueryRequest(K, query=Query.Nearest(query.tolist()), params=SearchParams(hnsw_ef=width))
        return np.array([point.id for point in shard.query(asked)], np.int64)

    return by_width(ask), {}


def sqlite_vec_at(path: Path) -> Any:
    """pysqlite3-binary, since many a Python is built without extensions for its own sqlite3."""
    import pysqlite3
    import sqlite_vec

    db = pysqlite3.connect(str(path))
    db.enable_load_extension(True)
    sqlite_vec.load(db)
    return db


def build_sqlite_vec(folder: Path, vectors: Floats) -> dict[str, Any]:
    began = perf_counter()
    db = sqlite_vec_at(folder / "vec.sqlite")
    db.execute(f"CREATE VIRTUAL TABLE v USING vec0(vector float[{vectors.shape[1]}])")
    for start in range(0, len(vectors), BATCH):
        rows = ((start + i, row.tobytes()) for i, row in enumerate(np.asarray(vectors[start : start + BATCH])))
        db.executemany("INSERT INTO v (rowid, vector) VALUES (?, ?)", rows)
    db.commit()
    return {"build_seconds": perf_counter() - began}


def ask_sqlite_vec(folder: Path, count: int, dim: int) -> tuple[Asks, dict[str, Any]]:
    db = sqlite_vec_at(folder / "vec.sqlite")

    def ask(query: Floats) -> Ids:
        found = db.execute("SELECT rowid FROM v WHERE vector MATCH ? AND k = ?", (query.tobytes(), K))
        return np.array([row[0] for row in found], np.int64)

    return {"exact": ask}, {}


RIVALS: dict[
    str, tuple[Callable[[Path, Floats], dict[str, Any]], Callable[[Path, int, int], tuple[Asks, dict[str, Any]]]]
] = {
    "hnswlib": (build_hnswlib, ask_hnswlib),
    **{
        f"usearch-{numbers}": (partial(build_usearch, numbers=numbers), partial(ask_usearch, numbers=numbers))
        for numbers in ("f16", "bf16", "i8")
    },
    "lancedb": (build_lancedb, ask_lancedb),
    "qdrant-edge": (build_qdrant, ask_qdrant),
    "sqlite-vec": (build_sqlite_vec, ask_sqlite_vec),
}
MODULES = {
    "hnswlib": "hnswlib",
    **dict.fromkeys(("usearch-f16", "usearch-bf16", "usearch-i8"), "usearch.index"),
    "lancedb": "lancedb",
    "qdrant-edge": "qdrant_edge",
    "sqlite-vec": "pysqlite3",
}
