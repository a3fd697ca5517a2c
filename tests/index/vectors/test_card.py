"""vicmae.index.vectors.card: the queue to a graphics card, with FAISS' indexes for a processor in the card's place."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import faiss as untyped_faiss
import numpy as np
import pytest
from made_items import DIM, ENGINE, new_item, unit_vectors
from numpy.typing import NDArray

from vicmae.errors import InvalidRequest
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.vectors import card as cards
from vicmae.index.vectors import segment as segments
from vicmae.index.vectors.card import Card, open_card
from vicmae.index.vectors.exact import Floats, Ids
from vicmae.index.vectors.gpu import SCRATCH_BYTES, CardKind, Vectors, bytes_on_card
from vicmae.index.vectors.id_ranges import Allowed, allowed_of
from vicmae.index.vectors.plan import Effort, IndexOptions
from vicmae.index.vectors.segment import Segment
from vicmae.server.services import open_services
from vicmae.settings import load_settings

faiss: Any = untyped_faiss
ROWS = 1500


class Watched(Vectors):
    """Vectors that tell how many queries came together, wait for `go`, and fail when told to."""

    def __init__(self, kind: CardKind, index: object) -> None:
        super().__init__(kind, index)
        self.go, self.together, self.fails = Event(), list[int](), False
        self.begun = Event()
        self.go.set()

    def rest(self) -> None:
        """From the next search on it waits."""
        self.go.clear()
        self.begun.clear()
        self.together.clear()

    def search(self, query: Floats, count: int, width: int) -> Ids:
        self.begun.set()
        assert self.go.wait(30)
        self.together.append(len(query))
        if self.fails:
            raise RuntimeError("CUDA error 700: an illegal memory access")
        return super().search(query, count, width)


class OnProcessor:
    """Makes Watched indexes, and keeps them."""

    def __init__(self, kind: CardKind) -> None:
        self.kind, self.made = kind, list[Watched]()

    def __call__(self, dim: int, lists: int) -> Watched:
        half, product = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        if self.kind == "flat":
            index = faiss.IndexScalarQuantizer(dim, half, product)
        else:
            index = faiss.index_factory(dim, f"IVF{lists},SQfp16", product)
        self.made.append(Watched(self.kind, index))
        return self.made[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose collection c holds ROWS vectors in one ivf segment."""
    made = tmp_path_factory.mktemp("d")
    with Library(made, IndexOptions(kind="ivf")) as library:
        collection = library.create("c", ENGINE)
        for seed in range(3):
            collection.add(new_item(seed, frames=ROWS // 3))
        assert collection.index.seal(everything=True)
    return made


@pytest.fixture(params=["flat", "ivf"])
def on_processor(request: pytest.FixtureRequest) -> OnProcessor:
    return OnProcessor(request.param)


@pytest.fixture
def card(on_processor: OnProcessor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    monkeypatch.setattr(segments, "SCANNED_ROWS", 50)
    monkeypatch.setattr(cards, "BLOCK_ROWS", 256)
    made = Card("cuda:0", on_processor.kind, 2**30, on_processor)
    yield made
    made.close()


@pytest.fixture
def collection(folder: Path, card: Card) -> Iterator[Collection]:
    """That collection, whose segment is on the card."""
    with Library(folder, IndexOptions(min_recall=0.9), card) as library:
        opened = library.open("c")
        opened.index.refresh()
        settled(card, 1)
        yield opened


def settled(card: Card, held: int) -> None:
    """Waits until so many segments are on the card."""
    for _ in range(3000):
        if card.status()["segments"] == held:
            return
        sleep(0.01)
    raise AssertionError(card.status())


def part(collection: Collection) -> Segment:
    (one,) = collection.index._state.segments
    return one


def share(collection: Collection, found: Ids, query: NDArray[np.float32]) -> float:
    _, true = collection.index.search(query, found.shape[1], None, Effort(exact=True))
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(true, found, strict=True)]))


def test_the_card_answers_with_the_cosines_of_the_stored_vectors(collection: Collection, card: Card) -> None:
    query, effort = unit_vectors(50, 30), Effort()
    cosines, ids = collection.index.search(query, 10, None, effort)
    assert [answered.kind for answered in effort.parts] == [f"gpu-{card.kind}"]
    told = effort.to_dict()
    assert (told["vectors"], told["measured_on"]) == (ROWS, "sealing") and told["recall_estimate"] >= 0.9
    assert share(collection, ids, query) >= 0.9
    whole, _ = collection.index.search(query, ROWS, None, Effort(exact=True))
    assert (cosines <= whole[:, :10] + 1e-6).all() and (np.diff(cosines, axis=1) <= 0).all()
    same = cosines[:, 0] == pytest.approx(whole[:, 0], abs=1e-6)
    assert same or card.kind == "ivf"
    assert collection.index.tune() == 0, "what the card answers is not compared"


def test_what_the_card_cannot_answer_is_searched_without_it(collection: Collection) -> None:
    def kinds(k: int, allowed: Allowed | None = None, **wish: float) -> set[str]:
        effort = Effort(exact=bool(wish.get("exact")), min_recall=wish.get("min_recall"))
        _, ids = collection.index.search(unit_vectors(51, 2), k, allowed, effort)
        assert (ids >= 0).all()
        return {answered.kind for answered in effort.parts}

    assert kinds(10, allowed_of(np.arange(1, 900))) <= {"ivf", "exact"}
    assert kinds(10, exact=True) == {"exact"}
    assert kinds(ROWS) == {"exact"}
    assert kinds(10, min_recall=1.0) == {"exact"}


def test_removed_vectors_are_never_answered(collection: Collection, card: Card) -> None:
    one, query = part(collection), unit_vectors(52, 5)
    answered = card.search(one, query, 10, Effort(), 0.5)
    assert answered is not None
    gone = np.unique(answered[1])
    again = card.search(one.minus(gone), query, 10, Effort(), 0.5)
    assert again is not None and not np.isin(again[1], gone).any() and (again[1] >= 0).all()
    if card.kind == "flat":
        nearest = np.unique(collection.index.search(query, 100, None, Effort(exact=True))[1])
        assert card.search(one.minus(nearest), query, 10, Effort(), 0.5) is None, "too few are left of the candidates"


def test_searches_that_wait_go_together(collection: Collection, on_processor: OnProcessor, card: Card) -> None:
    (held,) = on_processor.made
    held.rest()
    queries = [unit_vectors(60 + i, 1 + i % 3) for i in range(12)]
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(collection.index.search, queries[0], 5)
        assert held.begun.wait(30)
        others = [pool.submit(collection.index.search, query, 5 + i) for i, query in enumerate(queries[1:])]
        while len(card._line) < len(others):
            sleep(0.005)
        held.go.set()
        answers = [each.result()[1] for each in (first, *others)]
    assert held.together == [1, sum(map(len, queries[1:]))]
    for query, ids in zip(queries, answers, strict=True):
        assert share(collection, ids, query) > 0.6 and len(ids) == len(query)


def test_a_batch_is_bounded(
    collection: Collection, on_processor: OnProcessor, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "MOST_QUERIES", 4)
    (held,) = on_processor.made
    held.rest()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(collection.index.search, unit_vectors(70, 3), 5)]
        assert held.begun.wait(30)
        waiting += [pool.submit(collection.index.search, unit_vectors(71, 2), 5) for _ in range(5)]
        while len(card._line) < 5:
            sleep(0.005)
        held.go.set()
        assert all((each.result()[1] >= 0).all() for each in waiting)
    assert held.together == [3, 4, 4, 2]


def test_a_card_that_fails_is_left_alone_and_nobody_notices(
    collection: Collection, on_processor: OnProcessor, card: Card, caplog: pytest.LogCaptureFixture
) -> None:
    (held,) = on_processor.made
    held.fails = True
    for _ in range(2):
        effort = Effort()
        _, ids = collection.index.search(unit_vectors(53, 1), 10, None, effort)
        assert (ids >= 0).all() and {answered.kind for answered in effort.parts} <= {"ivf", "exact"}
    assert caplog.text.count("illegal memory access") == 1 and card.status()["segments"] == 0
    assert collection.index.tune() == 2, "now it is compared again"


def test_what_does_not_fit_stays_where_it_is(
    folder: Path, on_processor: OnProcessor, caplog: pytest.LogCaptureFixture
) -> None:
    size = bytes_on_card(on_processor.kind, ROWS, DIM)
    for room, held in ((size - 1, 0), (size, 1)):
        card = Card("cuda:0", on_processor.kind, SCRATCH_BYTES + room, on_processor)
        with Library(folder, card=card) as library, caplog.at_level(logging.WARNING):
            index = library.open("c").index
            index.refresh()
            while card._is_news or (not held and not card._refused):
                sleep(0.005)
            settled(card, held)
            assert (index.search(unit_vectors(1, 1), 5)[1] >= 0).all()
        card.close()
    assert caplog.text.count("more than fit") == 1


def test_a_closed_index_leaves_the_card(folder: Path, card: Card) -> None:
    with Library(folder, card=card) as library:
        library.open("c").index.refresh()
        settled(card, 1)
    settled(card, 0)


def test_a_new_segment_takes_the_place_of_the_old(collection: Collection, card: Card) -> None:
    new = replace(part(collection), folder=Path("new"))
    card.hold(collection.folder / "index", (new,))
    while set(card._held) != {new.folder}:
        sleep(0.005)
    assert card.search(new, unit_vectors(1, 1), 5, Effort(), 0.5) is not None
    assert card.search(part(collection), unit_vectors(1, 1), 5, Effort(), 0.5) is None


def test_closing_answers_who_waits_and_whoever_comes_later(
    collection: Collection, on_processor: OnProcessor, card: Card
) -> None:
    (held,) = on_processor.made
    held.rest()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(collection.index.search, unit_vectors(1, 1), 5)
        assert held.begun.wait(30)
        second = pool.submit(collection.index.search, unit_vectors(2, 1), 6)
        while not card._line:
            sleep(0.005)
        closing = pool.submit(card.close)
        while not card._stopping:
            sleep(0.005)
        held.go.set()
        closing.result(30)
        assert (first.result()[1] >= 0).all() and (second.result()[1] >= 0).all()
    assert (collection.index.search(unit_vectors(3, 1), 5)[1] >= 0).all()
    card.close()


def test_no_card_is_opened_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert open_card("auto", "flat", 2**30) is None
    with pytest.raises(InvalidRequest):
        open_card("cuda", "flat", 2**30)


def test_a_server_does_not_start_without_the_card_it_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    settings = load_settings(data=tmp_path, index_device="cuda:1")
    with (
        pytest.raises(InvalidRequest, match="index_device is 'cuda:1', and FAISS finds 0"),
        open_services(settings, ENGINE),
    ):
        raise AssertionError("it started")
