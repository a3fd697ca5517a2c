"""From when to when is a clip in a film? VCSL's segment precision, recall and F against three plain rivals, in one run.

    python benchmarks/video.py [FOLDER] [--per-edit 20] [--films 40] [--fps 1] [--work FOLDER]

Makes films of the clips of FOLDER (default: the video packs of ../shared/data), cuts and edits queries out of them
(made_clips.py), and asks every method (clip_methods.py) for segments in the whole library: films and single clips.
Each method's score threshold is chosen for its best F on one half of the queries and applied to the other. Then
measures how long a 30 s clip takes to align in a library of 1,000 videos, joined from the vectors of these.

Files and vectors are kept in the work folder, so that a second run only compares. Needs: ffmpeg, pip install imagehash
"""

import argparse
import json
import random
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from clip_methods import METHODS, Answer, Seen, our_library, read_seen
from made_clips import CLIPS_A_FILM, EDITS, Query, make_film, make_query
from rich.console import Console
from rich.progress import track
from rich.table import Table
from segment_metric import Box, Score, Threshold, best_threshold, boundary_errors, scored

from vicmae.export.choice import open_engine
from vicmae.export.engine import Engine
from vicmae.index.library import Library
from vicmae.index.search import search_clip
from vicmae.media.reader import VIDEO_SUFFIXES, probe
from vicmae.settings import SHIPPED_BUNDLE

RESULTS = Path(__file__).parent / "results"
SHARED = Path(__file__).parents[2] / "shared" / "data"
PACKS = (SHARED / "eval" / "video_action.tar", SHARED / "pretrain" / "videos-00000.tar")
STORED_FPS = 2.0
LARGE_LIBRARY = 1000
LONG_QUERY_SECONDS = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--per-edit", type=int, default=20)
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--singles", type=int, default=100, help="clips of the library beside the films")
    parser.add_argument("--skip", type=int, default=0, help="leave out so many clips: a set of its own, none shared")
    parser.add_argument("--fps", type=float, default=1.0, choices=(1.0, 2.0), help="frames compared per second")
    parser.add_argument("--work", type=Path, default=RESULTS / "video-work")
    parser.add_argument("--jobs", type=int, default=2, help="ffmpeg processes at once")
    arguments = parser.parse_args()
    work: Path = arguments.work
    for name in ("films", "queries", "seen"):
        (work / name).mkdir(parents=True, exist_ok=True)
    clips = clips_of(arguments.folder, work)
    random.Random(0).shuffle(clips)
    clips = clips[arguments.skip :]
    films, queries, singles = made(clips, arguments.films, arguments.per_edit, arguments.singles, work, arguments.jobs)

    step = round(STORED_FPS / arguments.fps)
    with open_engine(SHIPPED_BUNDLE, threads=1) as engine:
        library = {path.name: read_seen(engine, path, STORED_FPS, work / "seen") for path in track(films + singles)}
        asked = {
            query.path.name: read_seen(engine, query.path, STORED_FPS, work / "seen", True) for query in track(queries)
        }
        library = {name: seen.every(step) for name, seen in library.items()}
        asked = {name: seen.every(step) for name, seen in asked.items()}
        answers: dict[str, list[list[Answer]]] = {}
        for name, method in METHODS.items():
            with tempfile.TemporaryDirectory() as scratch, Library(Path(scratch)) as store:
                answer = method(our_library(store, engine, library), library)
                answers[name] = [answer(asked[query.path.name]) for query in track(queries, name)]
        milliseconds = latency(engine, list(library.values()))
    report(queries, answers, arguments.fps, len(library), milliseconds)


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
    clips: list[Path], films: int, per_edit: int, singles: int, work: Path, jobs: int
) -> tuple[list[Path], list[Query], list[Path]]:
    """Films, queries cut out of them, and single clips for the library. No clip serves twice."""
    used = films * CLIPS_A_FILM
    others, alone = clips[used : used + 30], clips[used + 30 : used + 30 + singles]
    paths = [work / "films" / f"film{i:03}.mp4" for i in range(films)]

    def film(i: int) -> None:
        if not paths[i].exists():
            make_film(paths[i], clips[i * CLIPS_A_FILM : (i + 1) * CLIPS_A_FILM])

    def query(place: tuple[int, str]) -> Query:
        i, edit = place
        dice = random.Random(f"{i} {edit}")
        source = dice.choice(paths)
        path = work / "queries" / f"{edit.replace(' ', '-')}-{i:02}.mp4"
        return make_query(path, edit, source, lengths[source], others, dice)

    wanted = [(i, edit) for i in range(per_edit) for edit in EDITS]
    with ThreadPoolExecutor(jobs) as pool:
        list(track(pool.map(film, range(films)), "films", films))
        lengths = {path: probe(path).duration_seconds for path in paths}
        queries = list(track(pool.map(query, wanted), "queries", len(wanted)))
    return paths, queries, alone


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
            search_clip(collection, clip.vectors, clip.seconds, 10, clip.informative, clip.mirrored)
            times.append(1000 * (perf_counter() - began))
            cpu.append(1000 * (process_time() - spent))
    times, cpu = times[1:], cpu[1:]  # the first one reads the index
    figures = {"median": np.median(times), "slowest": max(times), "median_of_processor": np.median(cpu)}
    return {"videos": LARGE_LIBRARY, "frames": frames, **{name: float(value) for name, value in figures.items()}}


def report(
    queries: list[Query],
    answers: dict[str, list[list[Answer]]],
    fps: float,
    videos: int,
    milliseconds: dict[str, float],
) -> None:
    """The tables on the screen, the figures in results/."""
    truths = [Box(q.truth.film, *_times(q)) for q in queries]
    halves = [np.arange(len(queries)) % 22 < 11, np.arange(len(queries)) % 22 >= 11]  # whole rounds of EDITS
    kept: dict[str, list[list[Answer]]] = {}
    for name, given in answers.items():
        kept[name] = [[] for _ in queries]
        for learnt, applied in (halves, halves[::-1]):
            bar: Threshold = best_threshold([(truths[i], given[i]) for i in np.flatnonzero(learnt)])
            for i in np.flatnonzero(applied):
                kept[name][i] = [a for a in given[i] if a.score >= bar]
    title = f"segment F (precision, recall): {videos} videos, {len(queries)} queries at {fps:g} frame/s"
    table = Table("edit", *answers, title=title)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for edit in [*EDITS, "all"]:
        chosen = [i for i, query in enumerate(queries) if edit in (query.edit, "all")]
        figures[edit] = {}
        for name in answers:
            score: Score = scored([(truths[i], kept[name][i]) for i in chosen])
            figures[edit][name] = {"f": score.f, "precision": score.precision, "recall": score.recall}
        table.add_row(
            edit, *(f"{s['f']:.3f} ({s['precision']:.2f}, {s['recall']:.2f})" for s in figures[edit].values())
        )
    errors = {name: boundary_errors(list(zip(truths, given, strict=True))) for name, given in kept.items()}
    medians = {name: float(np.median(found)) if found else float("inf") for name, found in errors.items()}
    table.add_row("median boundary error", *(f"{medians[name]:.2f} s" for name in answers))
    Console(width=160).print(table)
    Console().print(milliseconds)
    RESULTS.mkdir(exist_ok=True)
    facts = {"videos": videos, "queries": len(queries), "fps": fps, "edits": figures, "boundary_seconds": medians}
    (RESULTS / "video.json").write_text(json.dumps({**facts, "align_ms": milliseconds}, indent=2) + "\n")


def _times(query: Query) -> tuple[float, float, float, float]:
    truth = query.truth
    return truth.query_start_seconds, truth.query_end_seconds, truth.start_seconds, truth.end_seconds


if __name__ == "__main__":
    main()
