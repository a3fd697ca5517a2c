"""What does it save that frames which look the same share a vector, and what does it cost the search?

    python benchmarks/folding.py FOLDER [--videos 70] [--queries 140] [--fps 2]

Embeds random videos of FOLDER, folds their vectors at several cosines, and asks for frames cut at random seconds and
edited, by vectors alone. Prints, for each cosine, the share of vectors kept, how often the right video comes first,
over all edits, and the error of the second that is answered; and, to judge a cosine by, how near a frame is to itself
after JPEG at quality 75. Writes benchmarks/results/folding.json.
"""

import argparse
import io
import json
import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from rich.console import Console
from rich.progress import track
from rich.table import Table

from vicmae.errors import MediaError
from vicmae.export.choice import open_engine
from vicmae.export.engine import Engine
from vicmae.index.catalog.items import Moments
from vicmae.index.ingest.folding import SAME_COSINE, fold
from vicmae.media.frames import Frames
from vicmae.media.preprocess import enough_side, to_pixels
from vicmae.media.reader import MEDIA_SUFFIXES, frame_at, probe, read_frames
from vicmae.media.sampling import sample_ends
from vicmae.settings import SHIPPED_BUNDLE

RESULTS = Path(__file__).parent / "results"
COSINES = (2.0, 0.9999, SAME_COSINE, 0.999, 0.998, 0.995, 0.99)  # 2: none are folded


def jpeg(picture: Image.Image, quality: int = 30) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def edited(picture: Image.Image) -> list[Image.Image]:
    """As it was, JPEG quality 30, brighter by half, cropped by 10 % a side."""
    w, h = picture.size
    crop = picture.crop((w // 10, h // 10, w - w // 10, h - h // 10))
    return [picture, jpeg(picture), ImageEnhance.Brightness(picture).enhance(1.5), crop]


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
    asked: list[tuple[Path, float, NDArray[np.float32]]] = []
    itself: list[float] = []
    with open_engine(SHIPPED_BUNDLE, threads=1) as engine:
        for path in track(dice.sample(paths, min(arguments.videos, len(paths))), "embedding"):
            try:
                if probe(path).kind == "video":
                    films[path] = moments_of(engine, path, arguments.fps)
            except MediaError:
                continue
        for _ in track(range(arguments.queries), "asking"):
            path = dice.choice(list(films))
            shown = frame_at(path, dice.uniform(0, float(films[path].end_seconds[-1])))
            picture = Image.fromarray(shown.data[0])
            asked += [(path, float(shown.seconds[0]), v) for v in embedded(engine, edited(picture))]
            once, again = embedded(engine, [picture, jpeg(picture, 75)])
            itself.append(float(once @ again))
    report(films, asked, itself)


def report(
    films: dict[Path, Moments], asked: list[tuple[Path, float, NDArray[np.float32]]], itself: list[float]
) -> None:
    """The table on the screen, the figures in results/."""
    table = Table("cosine", "vectors kept", "right video first", "error of the second: median, mean", "outside, mean")
    figures = {}
    before = sum(len(moments.vectors) for moments in films.values())
    for cosine in COSINES:
        folded = [(path, fold(moments, cosine)) for path, moments in films.items()]
        vectors = np.concatenate([moments.vectors for _, moments in folded])
        places = [(path, a, b) for path, m in folded for a, b in zip(m.start_seconds, m.end_seconds, strict=True)]
        right, errors, outside = 0, [], []
        for path, second, vector in asked:
            named, start, end = places[int((vectors @ vector).argmax())]
            if named == path:
                right += 1
                errors.append(abs(start - second))
                outside.append(max(start - second, second - end, 0.0))
        kept, first = len(vectors) / before, right / len(asked)
        median, mean, beyond = float(np.median(errors)), float(np.mean(errors)), float(np.mean(outside))
        figures[f"{cosine:g}"] = {"kept": kept, "first": first, "median_seconds": median, "mean_seconds": mean}
        told = f"{median:.2f} s, {mean:.2f} s"
        table.add_row("none" if cosine > 1 else f"{cosine:g}", f"{kept:.3f}", f"{first:.3f}", told, f"{beyond:.2f} s")
    table.title = f"{len(films)} videos, {before} vectors, {len(asked)} queries"
    Console().print(table)
    low, tenth, middle = (float(share) for share in np.quantile(itself, (0.0, 0.1, 0.5)))
    print(f"a frame and itself after JPEG 75: lowest {low:.5f}, one in ten below {tenth:.5f}, median {middle:.5f}")
    RESULTS.mkdir(exist_ok=True)
    facts = {"videos": len(films), "vectors": before, "cosines": figures, "itself_after_jpeg_75": [low, tenth, middle]}
    (RESULTS / "folding.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
