"""Items found as the server finds them: under filters, among long films, and a clip aligned. For index.py."""

from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from helpers.index_made import DIM, engine_of, film, item_of, made, noisy, percentiles
from numpy.typing import NDArray

from vicmae.index.catalog.filters import Filter, parse_filter
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.search import EmbeddedQuery, Hit, Query, SearchRequest, search


def frame_hits(collection: Collection, vector: NDArray[np.float32], filter: Filter | None = None) -> list[Hit]:
    """Ten items by one frame's vector (D,)."""
    return search(collection, SearchRequest(Query(vector=vector), 10, filter, verify=False)).hits


def clip_hits(collection: Collection, vectors: NDArray[np.float32], mirrored: NDArray[np.float32] | None) -> list[Hit]:
    """Ten items by a clip of 60 frames (30 s)."""
    query = EmbeddedQuery("clip", vectors, np.arange(60) / 2, mirrored=mirrored, end_seconds=30.0)
    return search(collection, SearchRequest(query, 10, verify=False)).hits


def alignment(scratch: Path, films: int = 1000, clips: int = 30) -> dict[str, float]:
    """A clip of 60 frames (30 s) of one of 1,000 films, plain and mirrored: as the server searches."""
    with Library(scratch / "films") as library:
        collection = library.create("bench", engine_of(192))
        for number in range(films):
            collection.add(item_of(number, film(number)))
        collection.index.seal(everything=True)
        seconds, right = [], 0
        for clip in range(-2, clips):
            number = (clip * 37) % films
            query = noisy(film(number)[20:80], clip + 2, 0.02)
            mirrored = noisy(query, clip + 2, 0.05)
            began = perf_counter()
            hits = clip_hits(collection, query, mirrored)
            seconds.append(perf_counter() - began)
            right += hits[0].item.uri.endswith(f"/{number}") and abs(hits[0].start_seconds - 10) <= 1
        return {**percentiles(np.array(seconds[2:])), "right": right / len(seconds), "frames": len(collection.index)}


def long_films(scratch: Path, films: int = 30, frames: int = 7200, asked: int = 12) -> dict[str, Any]:
    """A frame, and a clip of 60 frames, of one of 30 films of an hour: ten items as the server finds them."""
    with Library(scratch / "long") as library:
        collection = library.create("bench", engine_of(192))
        for number in range(films):
            collection.add(item_of(number, film(number, frames)))
        collection.index.seal(everything=True)
        seconds: dict[str, list[float]] = {"frame": [], "clip": []}
        right = 0
        for turn in range(-1, asked):
            number, first = (turn * 7) % films, (turn * 577) % (frames - 60)
            query = noisy(film(number, frames)[first : first + 60], turn + 1, 0.02)
            for kind in seconds:
                began = perf_counter()
                if kind == "frame":
                    hits = frame_hits(collection, query[0])
                else:
                    hits = clip_hits(collection, query, None)
                seconds[kind].append(perf_counter() - began)
                right += len(hits) == 10 and hits[0].item.uri.endswith(f"/{number}")
        told = {kind: percentiles(np.array(took[1:])) for kind, took in seconds.items()}
        return {**told, "right": right / (2 * asked + 2), "frames": len(collection.index)}


def under_filters(scratch: Path, items: int = 2000, frames: int = 100, asked: int = 50) -> dict[str, Any]:
    """A frame among made items, ten of them as the server finds them: among all, and under filters by their metadata.

    first_ms: of the search that brings the filter; the others ask it again, in turns with searches without one.
    """
    with Library(scratch / "filters") as library:
        collection = library.create("bench", engine_of(DIM))
        vectors = made(items * frames, 0)
        for number in range(items):
            item = item_of(number, vectors[number * frames : (number + 1) * frames])
            collection.add(replace(item, metadata={"in_50": number % 50, "in_2": number % 2}))
        collection.index.seal(everything=True)
        queries = made(asked + 1, 5)
        filters = {
            "one in 50": {"key": "metadata.in_50", "match": {"value": 7}},
            "one in 2": {"key": "metadata.in_2", "match": {"value": 1}},
            "all": {"key": "kind", "match": {"value": "video"}},
        }
        told: dict[str, Any] = {}
        frame_hits(collection, queries[-1])
        for name, condition in filters.items():
            scopes = {"filtered": parse_filter({"must": [condition]}), "unfiltered": None}
            began = perf_counter()
            frame_hits(collection, queries[-1], scopes["filtered"])
            first = perf_counter() - began
            seconds: dict[str, list[float]] = {kind: [] for kind in scopes}
            for query in queries[:-1]:
                for kind, scope in scopes.items():
                    began = perf_counter()
                    assert len(frame_hits(collection, query, scope)) == 10
                    seconds[kind].append(perf_counter() - began)
            p50 = {kind: 1e3 * float(np.median(took)) for kind, took in seconds.items()}
            ratio = p50["filtered"] / p50["unfiltered"]
            told[name] = {"first_ms": 1e3 * first, "p50_ms": p50["filtered"], "to_unfiltered": ratio}
        return {**told, "unfiltered_p50_ms": p50["unfiltered"], "frames": len(collection.index)}
