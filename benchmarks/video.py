"""From when to when is a clip in a film? VCSL's segment precision, recall and F against three plain rivals, in one run.

    python benchmarks/video.py [FOLDER] [--per-edit 6] [--films 24] [--fps 1] [--work FOLDER]

Makes two sets of films of the clips of FOLDER (default: the video packs of ../shared/data), no clip in both, cuts and
edits queries out of them (made_clips.py), and asks every method (clip_methods.py) for segments in the set's library:
films and single clips. Each method's score threshold is chosen for its best F on one set and applied to the other,
and to queries of clips that are in no video too. Then measures how long a 30 s clip takes to align in a library of
1,000 videos, joined from the vectors of these.

Files and vectors are kept in the work folder, so that a second run only compares. Needs: ffmpeg, pip install imagehash
"""

import argparse
import json
import random
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from helpers.clip_methods import METHODS, Answer, Seen, our_library, read_seen
from helpers.made_clips import CLIPS_A_FILM, EDITS, Query, make_film, make_query
from helpers.segment_metric import Box, Score, Threshold, best_threshold, boundary_errors, scored
from rich.console import Console
from rich.progress import track
from rich.table import Table

from vicmae.export.engine import Engine, open_engine
from vicmae.index.library import Library
from vicmae.index.search import EmbeddedQuery, SearchRequest, search
from vicmae.media.reader import VIDEO_SUFFIXES, probe
from vicmae.settings import SHIPPED_BUNDLE

RESULTS = Path(__file__).parent / "results"
SHARED = Path(__file__).parents[2] / "shared" / "data"
PACKS = (SHARED / "eval" / "video_action.tar", SHARED / "pretrain" / "videos-00000.tar")
STORED_FPS = 2.0
LARGE_LIBRARY = 1000
LONG_QUERY_SECONDS = 30.0
OTHERS = 30  # clips of a set that queries are put beside
CLIPS_NOWHERE = 2  # joined to a query that is in no video


@dataclass(frozen=True)
class Asked:
    """One set of films with its queries, and what each method answered: the queries' answers, those of no film."""

    queries: list[Query]
    answers: dict[str, list[list[Answer]]]
    of_nowhere: dict[str, list[list[Answer]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--per-edit", type=int, default=6, help="queries for each edit and set")
    parser.add_argument("--films", type=int, default=24, help="of a set")
    parser.add_argument("--singles", type=int, default=60, help="clips of a set's library beside the films")
    parser.add_argument("--nowhere", type=int, default=20, help="queries of a set that are in none of its videos")
    parser.add_argument("--skip", type=int, default=0, help="clips left out: others than those of an earlier run")
    parser.add_argument("--fps", type=float, default=1.0, choices=(1.0, 2.0), help="frames compared per second")
    parser.add_argument("--work", type=Path, default=RESULTS / "video-work")
    parser.add_argument("--jobs", type=int, default=2, help="ffmpeg processes at once")
    arguments = parser.parse_args()
    clips = clips_of(arguments.folder, arguments.work)
    random.Random(0).shuffle(clips)
    clips = clips[arguments.skip :]
    size = arguments.films * CLIPS_A_FILM + OTHERS + arguments.singles + CLIPS_NOWHERE * arguments.nowhere
    with open_engine(SHIPPED_BUNDLE, threads=1) as engine:
        sets, libraries = [], []
        for place in (0, 1):
            library, found = asked(engine, clips[place * size : (place + 1) * size], arguments, f"set-{place}")
            sets.append(found)
            libraries.append(library)
        milliseconds = latency(engine, [seen for library in libraries for seen in library.values()])
    report(sets, arguments.fps, sum(map(len, libraries)), milliseconds)


def asked(engine: Engine, clips: list[Path], arguments: argparse.Namespace, name: str) -> tuple[dict[str, Seen], Asked]:
    """The library of one set, and what every method answers its queries."""
    work: Path = arguments.work / name
    for folder in ("films", "queries", "seen"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    films, queries, singles, nowhere = made(clips, arguments, work)
    step = round(STORED_FPS / arguments.fps)

    def seen(path: Path, is_query: bool = False) -> Seen:
        return read_seen(engine, path, STORED_FPS, work / "seen", is_query).every(step)

    library = {path.name: seen(path) for path in track(films + singles)}
    of_films = [seen(query.path, True) for query in track(queries)]
    of_none = [seen(path, True) for path in track(nowhere)]
    found = Asked(queries, {}, {})
    for method_name, method in METHODS.items():
        with tempfile.TemporaryDirectory() as scratch, Library(Path(scratch)) as store:
            answer = method(our_library(store, engine, library), library)
            found.answers[method_name] = [answer(query) for query in track(of_films, method_name)]
            found.of_nowhere[method_name] = [answer(query) for query in of_none]
    return library, found


def clips_of(folder: Path | None, work: Path) -> list[Path]:
    """The videos below FOLDER of 4 s and more; without one, of the packs, unpacked."""
    if folder is None:
        folder = work / "packs"
        for pack in PACKS if not folder.exists() else ():
            with tarfile.open(pack) as tar:
                tar.extractall(folder, filter="data")
    listed = work / "clips.json"
    if not listed.exists():
        found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in VIDEO_SUFFIXES]
        listed.write_text(json.dumps([str(path) for path in found if path.stat().st_size > 0]))
    return [Path(name) for name in json.loads(listed.read_text())]


def made(
    clips: list[Path], arguments: argparse.Namespace, work: Path
) -> tuple[list[Path], list[Query], list[Path], list[Path]]:
    """Films, queries cut out of them, single clips for the library, queries of other clips. No clip serves twice."""
    parts = iter(clips)
    film_parts = [list(islice(parts, CLIPS_A_FILM)) for _ in range(arguments.films)]
    others, singles = list(islice(parts, OTHERS)), list(islice(parts, arguments.singles))
    nowhere_parts = [list(islice(parts, CLIPS_NOWHERE)) for _ in range(arguments.nowhere)]
    films = [work / "films" / f"film{i:03}.mp4" for i in range(arguments.films)]
    nowhere = [work / "queries" / f"nowhere-{i:02}.mp4" for i in range(arguments.nowhere)]

    def film(made_of: tuple[Path, list[Path]]) -> None:
        if not made_of[0].exists():
            make_film(*made_of)

    def query(place: tuple[int, str]) -> Query:
        i, edit = place
        dice = random.Random(f"{i} {edit}")
        source = dice.choice(films)
        path = work / "queries" / f"{edit.replace(' ', '-')}-{i:02}.mp4"
        return make_query(path, edit, source, lengths[source], others, dice)

    wanted = [(i, edit) for i in range(arguments.per_edit) for edit in EDITS]
    joined = [*zip(films, film_parts, strict=True), *zip(nowhere, nowhere_parts, strict=True)]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(track(pool.map(film, joined), "films", len(joined)))
        lengths = {path: probe(path).duration_seconds for path in films}
        queries = list(track(pool.map(query, wanted), "queries", len(wanted)))
    return films, queries, singles, nowhere


def latency(engine: Engine, seen: list[Seen]) -> dict[str, float]:
    """Milliseconds, median and slowest of 20, and of processor time, for a 30 s clip among LARGE_LIBRARY videos."""
    dice = random.Random(0)
    frames = round(LONG_QUERY_SECONDS * STORED_FPS)
    films = {f"{i}.mp4": Seen.joined(dice.choices(seen, k=dice.randrange(1, 12))) for i in range(LARGE_LIBRARY)}
    long = [film for film in films.values() if len(film.seconds) >= frames]
    times, cpu = [], []
    with tempfile.TemporaryDirectory() as scratch, Library(Path(scratch)) as store:
        collection = our_library(store, engine, films)
        for _ in range(21):
            clip = dice.choice(long).first(frames)
            began, spent = perf_counter(), process_time()
            query = EmbeddedQuery("clip", clip.vectors, clip.seconds, clip.informative, clip.mirrored)
            search(collection, SearchRequest(query, 10, verify=False))
            times.append(1000 * (perf_counter() - began))
            cpu.append(1000 * (process_time() - spent))
    times, cpu = times[1:], cpu[1:]  # the first one reads the index
    figures = {"median": np.median(times), "slowest": max(times), "median_of_processor": np.median(cpu)}
    return {"videos": LARGE_LIBRARY, "frames": frames, **{name: float(value) for name, value in figures.items()}}


def report(sets: list[Asked], fps: float, videos: int, milliseconds: dict[str, float]) -> None:
    """The tables on the screen, the figures in results/. Each set is judged by the threshold learnt on the other."""
    names = list(METHODS)
    queries = [query for found in sets for query in found.queries]
    truths = [Box(query.truth.film, *_times(query)) for query in queries]
    kept: dict[str, list[list[Answer]]] = {name: [] for name in names}
    alarms: dict[str, float] = {}
    for name in names:
        false = []
        for judged, other in (sets, sets[::-1]):
            own = [Box(query.truth.film, *_times(query)) for query in other.queries]
            bar: Threshold = best_threshold(list(zip(own, other.answers[name], strict=True)))
            kept[name] += [[a for a in given if a.score >= bar] for given in judged.answers[name]]
            false += [any(a.score >= bar for a in given) for given in judged.of_nowhere[name]]
        alarms[name] = float(np.mean(false)) if false else 0.0
    title = f"segment F (precision, recall): {videos} videos, {len(queries)} queries at {fps:g} frame/s"
    table = Table("edit", *names, title=title)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for edit in [*EDITS, "all"]:
        chosen = [i for i, query in enumerate(queries) if edit in (query.edit, "all")]
        figures[edit] = {}
        for name in names:
            score: Score = scored([(truths[i], kept[name][i]) for i in chosen])
            figures[edit][name] = {"f": score.f, "precision": score.precision, "recall": score.recall}
        table.add_row(
            edit, *(f"{s['f']:.3f} ({s['precision']:.2f}, {s['recall']:.2f})" for s in figures[edit].values())
        )
    errors = {name: boundary_errors(list(zip(truths, given, strict=True))) for name, given in kept.items()}
    medians = {name: float(np.median(found)) if found else float("inf") for name, found in errors.items()}
    table.add_row("median boundary error", *(f"{medians[name]:.2f} s" for name in names))
    asked_in_vain = sum(len(found.of_nowhere[names[0]]) for found in sets)
    table.add_row(f"found, of {asked_in_vain} that are in no video", *(f"{alarms[name]:.2f}" for name in names))
    Console(width=160).print(table)
    Console().print(milliseconds)
    RESULTS.mkdir(exist_ok=True)
    facts = {"videos": videos, "queries": len(queries), "fps": fps, "edits": figures, "boundary_seconds": medians}
    told = {**facts, "found_though_nowhere": alarms, "align_ms": milliseconds}
    (RESULTS / "video.json").write_text(json.dumps(told, indent=2) + "\n")


def _times(query: Query) -> tuple[float, float, float, float]:
    truth = query.truth
    return truth.query_start_seconds, truth.query_end_seconds, truth.start_seconds, truth.end_seconds


if __name__ == "__main__":
    main()
