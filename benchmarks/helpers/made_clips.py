"""Clips with a known origin: cuts of films, edited the way copies on the net are. Needs ffmpeg; knows no vicmae.

Films are four real clips one after the other, so that a film has shots and a place in it can be told. A query is a cut
of a film, changed by one of EDITS; its truth is the stretch of the query and the stretch of the film it came from.
"""

import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT = 192, 144
FRAMES_PER_SECOND = 12  # few enough that a set is made in minutes; twice what anybody samples
CLIPS_A_FILM = 4
BLACK_SECONDS = 3.0
SIDE_SECONDS = 4.0  # of another clip before and after a cut that is concatenated
ALIKE = f"scale={WIDTH}:{HEIGHT},setsar=1,fps={FRAMES_PER_SECOND},format=yuv420p"


@dataclass(frozen=True)
class Truth:
    """Which stretch of which film a stretch of the query shows. Seconds from each one's start."""

    film: str
    query_start_seconds: float
    query_end_seconds: float
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Query:
    path: Path
    edit: str
    truth: Truth


@dataclass(frozen=True)
class Edit:
    """graph  ffmpeg's filter graph from [0:v] (the cut) and [1:v], [2:v] (other clips) to [out]

    before_seconds  of other pictures in front of the cut; speed: how much faster the cut runs
    """

    graph: str
    before_seconds: float = 0.0
    speed: float = 1.0
    quality: int = 23
    others: int = 0


Dice = random.Random
_PART = f"trim=duration={SIDE_SECONDS},setpts=PTS-STARTPTS,{ALIKE}"


def _filtered(filters: str, **more: float) -> Callable[[Dice], Edit]:
    return lambda dice: Edit(f"[0:v]{filters}[out]", quality=int(more.get("quality", 23)))


def _faster_or_slower(dice: Dice) -> Edit:
    speed = dice.choice((0.75, 0.85, 1.2, 1.35, 1.5))
    return Edit(f"[0:v]setpts=PTS/{speed},fps={FRAMES_PER_SECOND}[out]", speed=speed)


def _in_picture(dice: Dice) -> Edit:
    """The cut at 60 % of the size in a corner region of another clip."""
    x, y = dice.randrange(0, WIDTH * 4 // 10), dice.randrange(0, HEIGHT * 4 // 10)
    small = f"[0:v]scale={WIDTH * 6 // 10}:-2[small]"
    return Edit(f"{small};[1:v]{ALIKE}[back];[back][small]overlay={x}:{y}:shortest=0:eof_action=endall[out]", others=1)


def _between_others(dice: Dice) -> Edit:
    graph = f"[1:v]{_PART}[a];[2:v]{_PART}[b];[0:v]{ALIKE}[m];[a][m][b]concat=n=3[out]"
    return Edit(graph, before_seconds=SIDE_SECONDS, others=2)


def _after_black(dice: Dice) -> Edit:
    return Edit(f"[0:v]tpad=start_duration={BLACK_SECONDS}:color=black[out]", before_seconds=BLACK_SECONDS)


EDITS: dict[str, Callable[[Dice], Edit]] = {
    "re-encode": _filtered("null", quality=38),
    "scale": _filtered("scale=iw/2:-2"),
    "crop": _filtered("crop=iw*8/10:ih*8/10"),
    "logo": _filtered(
        "drawbox=iw*0.74:ih*0.06:iw*0.2:ih*0.16:red:fill,drawbox=iw*0.79:ih*0.1:iw*0.1:ih*0.08:white:fill"
    ),
    "subtitles": _filtered(
        "drawbox=0:ih*0.8:iw:ih*0.2:black@0.7:fill,drawbox=iw*0.15:ih*0.87:iw*0.7:ih*0.06:white:fill"
    ),
    "flip": _filtered("hflip"),
    "speed": _faster_or_slower,
    "brightness": _filtered("eq=brightness=0.12:contrast=1.15"),
    "picture in picture": _in_picture,
    "concatenation": _between_others,
    "black intro": _after_black,
}


def make_film(path: Path, clips: list[Path]) -> None:
    """Clips of any size, one after the other, as one file."""
    inputs = [word for clip in clips for word in ("-i", str(clip))]
    parts = "".join(f"[{i}:v]{ALIKE}[p{i}];" for i in range(len(clips)))
    joined = "".join(f"[p{i}]" for i in range(len(clips)))
    _ffmpeg([*inputs, "-filter_complex", f"{parts}{joined}concat=n={len(clips)}[out]"], path, 23)


def make_query(path: Path, edit: str, film: Path, film_seconds: float, others: list[Path], dice: Dice) -> Query:
    """A cut of 8 to 20 seconds of a film, edited; written unless it is there already."""
    seconds = min(dice.uniform(8.0, 20.0), film_seconds - 1.0)
    start = dice.uniform(0.0, film_seconds - seconds - 0.5)
    how = EDITS[edit](dice)
    beside = dice.sample(others, how.others)
    if not path.exists():
        cut = ["-ss", f"{start:.3f}", "-t", f"{seconds:.3f}", "-i", str(film)]
        loops = [word for other in beside for word in ("-stream_loop", "-1", "-i", str(other))]
        _ffmpeg([*cut, *loops, "-filter_complex", how.graph], path, how.quality)
    before, shown = how.before_seconds, seconds / how.speed
    return Query(path, edit, Truth(film.name, before, before + shown, start, start + seconds))


def _ffmpeg(words: list[str], path: Path, quality: int) -> None:
    """Runs ffmpeg with one thread; the file appears whole or not at all."""
    aside = path.with_name(f".{path.name}")
    encoded = ["-map", "[out]", "-an", "-c:v", "libx264", "-preset", "ultrafast", "-crf", str(quality), "-threads", "1"]
    common = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-filter_threads", "1", "-filter_complex_threads", "1"]
    subprocess.run([*common, *words, *encoded, str(aside)], check=True)
    aside.rename(path)
