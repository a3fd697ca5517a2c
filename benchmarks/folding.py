"""What does it save that frames which look the same share a vector, and what does it cost the search?

    python benchmarks/folding.py FOLDER [--videos 70] [--queries 140] [--fps 2]

Embeds random videos of FOLDER, folds their vectors at several cosines, and asks for frames cut at random seconds and
edited, by vectors alone. Prints, for each cosine, the share of vectors kept, how often the right video comes first,
over all edits, and the error of the second that is answered; and, to judge a cosine by, how near a frame is to itself
after JPEG at quality 75. Writes benchmarks/results/folding.json.
"""

import argparse
import json
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from vicmae.errors import MediaError
from vicmae.export.engine import Engine, open_engine
from vicmae.index.calibrate import COSINES, EDITS, Asked, cost_of, encoded_anew
from vicmae.index.catalog import Moments
from vicmae.media.frames import Frames
from vicmae.media.preprocess import enough_side, to_pixels
from vicmae.media.reader import MEDIA_SUFFIXES, frame_at, probe, read_frames
from vicmae.media.sampling import sample_ends
from vicmae.settings import SHIPPED_BUNDLE

RESULTS = Path(__file__).parent / "results"
ASKED = ("none", "re-encode", "brightness", "crop 10% a side")
NONE = 2.0  # no cosine is so high


def embedded(engine: Engine, pictures: list[Image.Image]) -> NDArray[np.float32]:
    parts = [to_pixels(Frames(np.asarray(p)[None], np.zeros(1)), engine.spec) for p in pictures]
    return engine.embed(np.concatenate(parts))


def moments_of(engine: Engine, path: Path, fps: float) -> Moments:
    seconds, vectors = [], []
    for frames in read_frames(path, fps, shorter_side=enough_side(engine.spec)):
        seconds.append(frames.seconds)
        vectors.append(engine.embed(to_pixels(frames, engine.spec)))
    starts = np.concatenate(seconds)
    ends = sample_ends(starts, max(probe(path).duration_seconds, float(starts[-1]) + 1 / fps))
    return Moments(np.concatenate(vectors), starts, ends, np.ones(len(starts), np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=70)
    parser.add_argument("--queries", type=int, default=140)
    parser.add_argument("--fps", type=float, default=2.0)
    arguments = parser.parse_args()
    dice = random.Random(0)
    paths = sorted(p for p in arguments.folder.rglob("*") if p.suffix.lower() in MEDIA_SUFFIXES)
    films: dict[Path, Moments] = {}
    asked: list[Asked] = []
    itself: list[float] = []
    with open_engine(SHIPPED_BUNDLE, threads=1) as engine:
        for path in track(dice.sample(paths, min(arguments.videos, len(paths))), "embedding"):
            try:
                if probe(path).kind == "video":
                    films[path] = moments_of(engine, path, arguments.fps)
            except MediaError:
                continue
        places = list(films)
        for _ in track(range(arguments.queries), "asking"):
            path = dice.choice(places)
            shown = frame_at(path, dice.uniform(0, float(films[path].end_seconds[-1])))
            picture = Image.fromarray(shown.data[0])
            vectors = embedded(engine, [EDITS[name](picture) for name in ASKED])
            asked += [Asked(places.index(path), float(shown.seconds[0]), vector) for vector in vectors]
            once, again = embedded(engine, [picture, encoded_anew(picture, 75)])
            itself.append(float(once @ again))
    report(list(films.values()), asked, itself)


def report(films: list[Moments], asked: list[Asked], itself: list[float]) -> None:
    """The table on the screen, the figures in results/."""
    table = Table("cosine", "vectors kept", "right video first", "error of the second: median, mean", "outside, mean")
    figures = {}
    before = sum(len(moments.vectors) for moments in films)
    for cosine in (NONE, *COSINES):
        cost = cost_of(films, asked, cosine)
        figures[f"{cosine:g}"] = asdict(cost)
        errors = f"{cost.median_seconds:.2f} s, {cost.mean_seconds:.2f} s"
        name = "none" if cosine == NONE else f"{cosine:g}"
        table.add_row(name, f"{cost.kept:.3f}", f"{cost.first:.3f}", errors, f"{cost.outside_seconds:.2f} s")
    table.title = f"{len(films)} videos, {before} vectors, {len(asked)} queries"
    Console().print(table)
    low, tenth, middle = (float(share) for share in np.quantile(itself, (0.0, 0.1, 0.5)))
    print(f"a frame and itself after JPEG 75: lowest {low:.5f}, one in ten below {tenth:.5f}, median {middle:.5f}")
    RESULTS.mkdir(exist_ok=True)
    facts = {"videos": len(films), "vectors": before, "cosines": figures, "itself_after_jpeg_75": [low, tenth, middle]}
    (RESULTS / "folding.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
