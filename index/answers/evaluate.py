"""The steps of an evaluation: index the library -> ask edited pictures and clips -> shares by edit."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx

from ...export.engine import Engine
from ...media.edits import EDITS, Half
from ..collection import Collection
from ..ingest import IngestOptions, index_folder, walk
from ..library import Library
from ..search import Tools
from .ask import Ask, asking, asking_server
from .clips import EDITS as CLIP_EDITS
from .clips import draw_clips, judge_clip
from .copies import judge_copies, make_copies
from .judge import StillAnswer, judge_stills
from .material import LEAST_STRANGERS, Material, read_material, require_only
from .moments import same_moment
from .report import by_edit, clip_figures, copies_figures, reliability, still_figures, stranger_figures
from .rivals import HashRival, installed_rivals, take_all
from .stills import Still, draw_stills, draw_strangers

ASKED, WITH_COPIES = "answers", "copies"  # collections of the data folder
PRODUCT = "vicmae"

# (what is being done, how many of how many)
Progress = Callable[[str, int, int], None]
Result = dict[str, Any]


@dataclass(frozen=True)
class Wish:
    """What is asked: `queries` pictures an edit, half as many clips and strangers, a quarter as many copies of each.

    url  of a server that is asked, over HTTP, in place of this process
    """

    queries: int = 60
    edits: Sequence[str] = field(default_factory=lambda: list(EDITS))
    clips: bool = False
    duplicates: bool = False
    half: Half | None = None
    seed: int = 0
    url: str | None = None


@dataclass(frozen=True)
class Bench:
    """What an evaluation works with: as the command line makes it for `vicmae index` and `vicmae search`."""

    library: Library
    engine: Engine
    options: IngestOptions
    tools: Tools
    say: Callable[[str], None]
    on_progress: Progress


def evaluate(folder: Path, distractors: Sequence[Path], wish: Wish, bench: Bench) -> Result:
    """Figures as plain values; under "answers" every answer of the product. Raises InvalidRequest, NotFound."""
    material = read_material(
        folder,
        distractors,
        bench.tools.decoder,
        bench.tools.limits,
        lambda done, total: bench.on_progress("look at files", done, total),
    )
    for name, reason in material.unreadable:
        bench.say(f"skipped {name}: {reason}")
    engine = bench.engine
    result: Result = {
        "model": engine.name,
        "engine": f"{engine.runtime}-{engine.precision}",
        "fingerprint": engine.fingerprint,
        "library": material.counts(),
        "queries": wish.queries,
        "half": wish.half,
        "seed": wish.seed,
    }
    with _product(material, wish, bench) as ask:
        stills, answers = _ask_stills(ask, material, wish, bench)
        result |= stills
        if wish.clips:
            result["clips"], of_clips = _ask_clips(ask, material, wish, bench)
            answers += of_clips
    if wish.duplicates:
        result["duplicates"] = _look_for_copies(material, wish, bench)
    return result | {"answers": answers}


@contextmanager
def _product(material: Material, wish: Wish, bench: Bench) -> Iterator[Ask]:
    """The product that is asked: the server, or the index in the data folder, made first where it is not there."""
    if wish.url is not None:
        with httpx.Client() as client:
            yield asking_server(wish.url, ASKED, client)
        return
    collection = _indexed(ASKED, material.indexed, bench)
    require_only(collection, material.indexed)
    yield asking(collection, bench.tools)


def _indexed(name: str, paths: Sequence[Path], bench: Bench) -> Collection:
    """The collection of these files; what an earlier run took in is not read again."""
    collection = bench.library.open_for(name, bench.engine, create=True)
    for step in index_folder(collection, bench.engine, walk(paths), bench.options):
        bench.on_progress("index", step.done, step.total)
    collection.index.seal()
    return collection


def _ask_stills(ask: Ask, material: Material, wish: Wish, bench: Bench) -> tuple[Result, list[Result]]:
    """-> figures of the product and its rivals, and each answer of the product."""
    decoder, limits = bench.tools.decoder, bench.tools.limits
    stills = draw_stills(material, wish.queries, wish.half, wish.seed, decoder, limits)
    wanted = max(wish.queries // 2, LEAST_STRANGERS)
    strangers = draw_strangers(material, wanted, wish.half, wish.seed, decoder, limits)
    askers = {PRODUCT: ask, **{rival.name: rival.ask for rival in _rivals(material, bench)}}
    told: list[dict[str, StillAnswer]] = []
    asked: list[Still] = [*stills, *strangers]
    same = same_moment(decoder, limits)
    for answers in judge_stills(askers, asked, strangers, wish.edits, same, wish.seed):
        told.append(answers)
        bench.on_progress("pictures", len(told), len(wish.edits) * len(asked))
    figures: Result = {"stills": {}, "strangers": {}}
    for name in askers:
        figures["stills"][name], figures["strangers"][name] = _figures([answers[name] for answers in told])
    product = [answers[PRODUCT] for answers in told]
    return figures | {"reliability": reliability(product)}, [asdict(answer) for answer in product]


def _figures(answers: Sequence[StillAnswer]) -> tuple[Result, Result]:
    """-> of the pictures that are in the index, and of strangers."""
    of_kind = {kind: [a for a in answers if a.kind == kind] for kind in ("photo", "frame", "stranger")}
    strangers = of_kind.pop("stranger")
    known = by_edit([answer for group in of_kind.values() for answer in group], still_figures)
    kinds = {f"{kind}s": still_figures(group) for kind, group in of_kind.items()}
    return {**known, "kinds": kinds}, by_edit(strangers, stranger_figures)


def _rivals(material: Material, bench: Bench) -> list[HashRival]:
    """Those that are installed, which know all that is indexed."""
    rivals, missing = installed_rivals()
    for sentence in missing:
        bench.say(sentence)
    if rivals:
        for done in take_all(rivals, material.indexed, bench.tools.decoder, bench.tools.limits):
            bench.on_progress("hash for the rivals", done, len(material.indexed))
    return rivals


def _ask_clips(ask: Ask, material: Material, wish: Wish, bench: Bench) -> tuple[Result, list[Result]]:
    """-> figures of parts of clips, and each answer."""
    decoder, limits = bench.tools.decoder, bench.tools.limits
    same, answers = same_moment(decoder, limits), []
    count = min(max(wish.queries // 2, 1), len(material.clips))
    for done, asked in enumerate(draw_clips(material, count, wish.half, wish.seed, decoder, limits), 1):
        answers += judge_clip(ask, asked, same)
        bench.on_progress("clips", done, count * len(CLIP_EDITS))
    return by_edit(answers, clip_figures), [{**asdict(answer), "kind": "clip"} for answer in answers]


def _look_for_copies(material: Material, wish: Wish, bench: Bench) -> Result:
    """The whole library with made copies in it, looked through for duplicates."""
    count = max(wish.queries // 4, 1)
    folder = bench.library.data_dir / "made-copies"
    copies = []
    for copy in make_copies(material, folder, count, wish.seed, bench.tools.decoder, bench.tools.limits):
        copies.append(copy)
        bench.on_progress("make copies", len(copies), len(copies))
    collection = _indexed(WITH_COPIES, [*material.everything.values(), *(copy.path for copy in copies)], bench)
    began = perf_counter()
    judged = judge_copies(collection, material, copies, bench.tools, bench.on_progress)
    return copies_figures(judged, perf_counter() - began)
