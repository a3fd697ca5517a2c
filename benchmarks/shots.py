"""Are cuts found, to the frame? Against PySceneDetect, in one run, on films with known cuts.

    python benchmarks/shots.py FOLDER [--films 7] [--parts 8]

Joins parts of random videos of FOLDER (25 to 75 frames each, whatever their rate, re-encoded as one film of 320 x 240
at 25 frames a second), so that every cut is known, and asks media.shots, PySceneDetect's ContentDetector and
AdaptiveDetector (each as it comes, with scenes as short as ours), and the plain rule on vectors: a cut lies where two
neighbours sampled at 2 a second differ, which can only name the stretch. A cut counts as found within half a frame (for
the rule on vectors: within its stretch). Prints precision, recall and processor seconds, decoding included, and what
each kind of sampling costs and takes at 2 frames a second; writes benchmarks/results/shots.json.
Needs: pip install scenedetect (not among the extras: it brings an OpenCV with a window system)
"""

import argparse
import json
import random
import tempfile
from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import get_args

import av
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from vicmae.errors import MediaError
from vicmae.export.engine import Engine, open_engine
from vicmae.media.limits import MediaLimits
from vicmae.media.preprocess import enough_side, to_pixels
from vicmae.media.reader import MEDIA_SUFFIXES, read_frames
from vicmae.media.sampling import Sampling
from vicmae.media.shots import SHORTEST_SHOT_SECONDS, SMALL_SIDE, mark_cuts
from vicmae.media.video import VideoMedium
from vicmae.settings import SHIPPED_BUNDLE

RESULTS = Path(__file__).parent / "results"
SIZE = (320, 240)
FPS = 25
LEAST_COSINE = 0.9  # below it neighbours count as of two shots

Found = tuple[list[float], float]  # seconds of cuts, and how far off one may be


def join(clips: list[Path], path: Path, dice: random.Random) -> list[float]:
    """Writes the film and gives the seconds of its cuts."""
    cuts, count = [], 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for clip in clips:
            end = count + dice.randint(FPS, 3 * FPS)
            cuts.append(count / FPS)
            for frames in read_frames(clip, 60.0):
                for picture in frames.data[: end - count]:
                    frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(*SIZE, "yuv420p")
                    frame.pts, frame.time_base = count, Fraction(1, FPS)
                    container.mux(stream.encode(frame))
                    count += 1
                if count == end:
                    break
        container.mux(stream.encode(None))
    return cuts[1:]


def ours(path: Path) -> Found:
    with path.open("rb") as file:
        medium = VideoMedium(file, b"", MediaLimits(), shorter_side=2 * SMALL_SIDE)
        return [m.seconds for m in mark_cuts(medium.shown(0.0)) if m.begins_shot][1:], 0.5 / FPS


def by_vectors(engine: Engine) -> Callable[[Path], Found]:
    def find(path: Path) -> Found:
        seconds, vectors = [], []
        for frames in read_frames(path, 2.0, shorter_side=enough_side(engine.spec)):
            seconds += frames.seconds.tolist()
            vectors.append(engine.embed(to_pixels(frames, engine.spec)))
        rows = np.concatenate(vectors)
        differ = np.flatnonzero((rows[1:] * rows[:-1]).sum(axis=1) < LEAST_COSINE)
        return [(seconds[i] + seconds[i + 1]) / 2 for i in differ], 0.27

    return find


def by_scenedetect(kind: str) -> Callable[[Path], Found]:
    def find(path: Path) -> Found:
        scenedetect = import_module("scenedetect")
        shortest = round(SHORTEST_SHOT_SECONDS * FPS)
        detector = getattr(scenedetect, kind)(min_scene_len=shortest)
        scenes = scenedetect.detect(str(path), detector)
        return [scene[0].seconds for scene in scenes[1:]], 0.5 / FPS

    return find


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", type=int, default=7)
    parser.add_argument("--parts", type=int, default=8)
    arguments = parser.parse_args()
    clips = sorted(p for p in arguments.folder.rglob("*") if p.suffix.lower() in MEDIA_SUFFIXES)
    dice = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch, open_engine(SHIPPED_BUNDLE, threads=1) as engine:
        methods: dict[str, Callable[[Path], Found]] = {
            "vicmae": ours,
            "ContentDetector": by_scenedetect("ContentDetector"),
            "AdaptiveDetector": by_scenedetect("AdaptiveDetector"),
            "vectors at 2 a second": by_vectors(engine),
        }
        costs = {sampling: np.zeros(2) for sampling in get_args(Sampling)}  # frames, processor seconds
        sums = {name: np.zeros(4) for name in methods}  # found, true cuts, named, processor seconds
        for number in track(range(arguments.films), "films"):
            path = Path(scratch) / f"{number}.mp4"
            try:
                cuts = np.array(join(dice.sample(clips, arguments.parts), path, dice))
            except MediaError:
                continue
            for name, find in methods.items():
                began = process_time()
                named, slack = find(path)
                spent = process_time() - began
                near = np.abs(cuts[:, None] - np.array(named)[None]) <= slack + 1e-6
                sums[name] += [near.any(axis=1).sum(), len(cuts), len(named), spent]
            for sampling in get_args(Sampling):
                began = process_time()
                taken = sum(len(frames) for frames in read_frames(path, 2.0, shorter_side=192, sampling=sampling))
                costs[sampling] += [taken, process_time() - began]
    report(sums, costs)


def report(sums: dict[str, NDArray[np.float64]], costs: dict[str, NDArray[np.float64]]) -> None:
    """The table on the screen, the figures in results/."""
    figures = {}
    table = Table("method", "precision", "recall", "processor seconds", title=f"{sums['vicmae'][1]:.0f} cuts")
    for name, (found, true, named, spent) in sums.items():
        precision, recall = min(found / max(named, 1), 1.0), found / max(true, 1)
        figures[name] = {"precision": precision, "recall": recall, "processor_seconds": spent}
        table.add_row(name, f"{precision:.3f}", f"{recall:.3f}", f"{spent:.1f}")
    Console().print(table)
    table = Table(
        "sampling", "frames", "processor seconds, of rate's", title="sampling at 2 a second, decoding included"
    )
    for name, (taken, spent) in costs.items():
        figures[name] = {"frames": taken, "of_rate": spent / costs["rate"][1]}
        table.add_row(name, f"{taken:.0f}", f"{figures[name]['of_rate']:.2f}")
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "shots.json").write_text(json.dumps({"cuts": sums["vicmae"][1], "methods": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
