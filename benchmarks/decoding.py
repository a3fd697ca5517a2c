"""How fast frames come out of a video: vicmae against ffmpeg, PyAV, OpenCV and torchcodec, on one generated film.

    python benchmarks/decoding.py [--seconds 30] [--rounds 3] [--film FILE]

The film is 1080p H.264 at 30 frames a second with a key frame every two seconds, made here. Every way of reading runs
once a round, in turn, so that other work on the machine meets all of them; a figure is the median of its times over
those of `ffmpeg -f null` in the same rounds, by the clock and by the processor's time (the children's too). All use
their decoders' own choice of threads: FFmpeg's is one more than there are cores. Then: what smaller pictures do to the
vectors, and which reading pays at which rate. Expected on two cores: exact sampling at 1 frame/s below 0.65 of
ffmpeg, key frames about 0.10.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import av
import numpy as np
from rich.console import Console
from rich.table import Table

from vicmae.export.engine import open_engine
from vicmae.media.decoding import HERE
from vicmae.media.frames import TimedFrame
from vicmae.media.limits import MediaLimits
from vicmae.media.preprocess import to_pixels
from vicmae.media.reader import read_frames
from vicmae.media.sampling import SamplingGrid, sample
from vicmae.media.sandbox import Sandbox
from vicmae.media.video import VideoMedium
from vicmae.settings import SHIPPED_BUNDLE

RESULTS = Path(__file__).parent / "results"
SIZE, RATE, GOP = (1920, 1080), 30, 60
LIMITS = MediaLimits()
Reading = Callable[[Path], int]


def write_film(path: Path, seconds: float, gop: int = GOP) -> Path:
    """A textured picture that slides and turns bright and dark, with some noise: about 8 Mbit/s."""
    dice = np.random.default_rng(0)
    canvas = np.kron(dice.integers(0, 256, (150, 260, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    canvas[::3] = canvas[::3] // 2 + 40
    noise = dice.integers(0, 12, (SIZE[1] + 64, SIZE[0] + 64, 3), np.uint8)
    options = {"preset": "veryfast", "crf": "23", "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes=3"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        for index in range(round(seconds * RATE)):
            x, y = (index * 7) % (canvas.shape[1] - SIZE[0]), (index * 3) % (canvas.shape[0] - SIZE[1])
            dx, dy = dice.integers(0, 64, 2)
            picture = canvas[y : y + SIZE[1], x : x + SIZE[0]] // 2 + noise[dy : dy + SIZE[1], dx : dx + SIZE[0]]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def by_ffmpeg(path: Path) -> int:
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), "-f", "null", "-"], check=True)
    return 0


def by_pyav(path: Path) -> int:
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(1 for _ in container.decode(video=0))


def by_opencv(path: Path) -> int:
    import cv2

    film = cv2.VideoCapture(str(path))
    count = 0
    while film.grab():
        if count % RATE == 0:
            film.retrieve()
        count += 1
    film.release()
    return count


def by_torchcodec(path: Path) -> int:
    from torchcodec.decoders import VideoDecoder

    film = VideoDecoder(str(path), num_ffmpeg_threads=0)
    seconds = np.arange(0, (film.metadata.duration_seconds or 0.0) - 0.5, 1.0).tolist()
    return len(film.get_frames_played_at(seconds))


def exact(frames_per_second: float, shorter_side: int | None = None) -> Reading:
    return lambda path: sum(len(f) for f in read_frames(path, frames_per_second, shorter_side=shorter_side))


def in_sandbox(sandbox: Sandbox) -> Reading:
    return lambda path: sum(len(f) for f in sandbox.read_frames(path, 1.0, LIMITS, shorter_side=256))


def keys(path: Path) -> int:
    return sum(len(f) for f in read_frames(path, RATE, shorter_side=256, sampling="keyframes"))


def picked(choose: Callable[[VideoMedium], Iterator[TimedFrame]]) -> Reading:
    """Decodes what is wanted, and shows nothing."""

    def read(path: Path) -> int:
        with path.open("rb") as file:
            return sum(1 for _ in choose(VideoMedium(file, file.read(64), LIMITS)))

    return read


def by_seeking(seconds: list[float]) -> Reading:
    """A jump to every wanted second, as one would do without a plan."""

    def read(path: Path) -> int:
        for second in seconds:
            with path.open("rb") as file:
                medium = VideoMedium(file, file.read(64), LIMITS)
                next(sample(medium.shown(second), SamplingGrid(1.0, second)))
        return len(seconds)

    return read


def timed(readings: dict[str, Reading], path: Path, rounds: int, sandbox: Sandbox) -> dict[str, dict[str, float]]:
    """name -> median seconds by the clock and of the processor, and their ratios to the first one, round by round."""
    clock: dict[str, list[float]] = {name: [] for name in readings}
    processor: dict[str, list[float]] = {name: [] for name in readings}
    for _ in range(rounds):
        for name, read in readings.items():
            began, worked = perf_counter(), processor_seconds(sandbox)
            read(path)
            clock[name].append(perf_counter() - began)
            processor[name].append(processor_seconds(sandbox) - worked)
    first = next(iter(readings))
    return {
        name: {
            "seconds": statistics.median(clock[name]),
            "cpu_seconds": statistics.median(processor[name]),
            "ratio": statistics.median(a / b for a, b in zip(clock[name], clock[first], strict=True)),
            "cpu_ratio": statistics.median(a / b for a, b in zip(processor[name], processor[first], strict=True)),
        }
        for name in readings
    }


def processor_seconds(sandbox: Sandbox) -> float:
    """Of this process, of its children that have ended, and of those of the sandbox, which live on."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    stats = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in sandbox.process_ids]
    ticks = sum(int(stat[11]) + int(stat[12]) for stat in stats)
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) + ticks / os.sysconf("SC_CLK_TCK")


def drift(path: Path) -> dict[str, dict[str, float]]:
    """times of the size -> cosine between vectors of whole and of shrunk pictures."""
    told: dict[str, dict[str, float]] = {}
    with open_engine(SHIPPED_BUNDLE, 1) as engine:

        def vectors(shorter_side: int | None) -> np.ndarray:
            read = HERE.read_frames(path, 1.0, LIMITS, shorter_side=shorter_side)
            return np.concatenate([engine.embed(to_pixels(frames, engine.spec)) for frames in read])

        whole = vectors(None)
        for times in (1.0, 1.5, 2.0, 3.0):
            cosines = (whole * vectors(round(times * engine.spec.size))).sum(axis=1)
            told[f"{times:g}"] = {"mean": float(cosines.mean()), "min": float(cosines.min())}
    return told


def told(title: str, results: dict[str, dict[str, float]], columns: tuple[str, ...]) -> Table:
    table = Table("", *columns, title=title)
    for name, row in results.items():
        table.add_row(
            name, *(f"{row[column]:.4f}" if "m" in column[:1] else f"{row[column]:.2f}" for column in columns)
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the film that is made")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--film", type=Path, help="a film of your own instead, for the first table and the drift")
    given = parser.parse_args()
    columns = ("seconds", "ratio", "cpu_seconds", "cpu_ratio")
    with tempfile.TemporaryDirectory() as folder, Sandbox(workers=1) as sandbox:
        film = given.film or write_film(Path(folder) / "film.mp4", given.seconds)
        readings: dict[str, Reading] = {"ffmpeg -f null": by_ffmpeg, "PyAV, everything": by_pyav}
        if find_spec("cv2"):
            readings["OpenCV, everything, 1 a second shown"] = by_opencv
        if find_spec("torchcodec"):
            readings["torchcodec, 1 a second"] = by_torchcodec
        readings |= {
            "vicmae, 1 a second": exact(1.0),
            "vicmae, 1 a second, small": exact(1.0, shorter_side=256),
            "vicmae, 1 a second, small, in the sandbox": in_sandbox(sandbox),
            "vicmae, 2 a second": exact(2.0),
            "vicmae, key frames": keys,
        }
        sandbox.probe(film, LIMITS)
        rivals = timed(readings, film, given.rounds, sandbox)
        found = drift(film)
        ways: dict[str, dict[str, float]] = {}
        for rate in (0.1, 0.5, 1.0):
            grid = SamplingGrid(rate)
            seconds = np.arange(0, given.seconds, 1 / rate).tolist()
            some: dict[str, Reading] = {
                f"{rate:g}/s everything": picked(lambda medium, c=grid: sample(medium.shown(0.0), c)),  # type: ignore[misc]
                f"{rate:g}/s planned": picked(lambda medium, c=grid: sample(medium.frames_for(c), c)),  # type: ignore[misc]
                f"{rate:g}/s seeking": by_seeking(seconds),
            }
            ways |= timed(some, film, max(1, given.rounds // 2), sandbox)
    console = Console()
    console.print(told("against ffmpeg -f null", rivals, columns))
    console.print(told("ways to sample, against decoding everything", ways, columns))
    console.print(told("cosine of smaller pictures, by times of the model's size", found, ("mean", "min")))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "decoding.json").write_text(json.dumps({"rivals": rivals, "ways": ways, "drift": found}, indent=2))


if __name__ == "__main__":
    main()
