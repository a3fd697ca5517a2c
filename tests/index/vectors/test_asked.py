"""vicmae.index.vectors.asked: what is kept of queries, and what is concluded from comparing them with every vector."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_items import DIM, ENGINE, new_item
from numpy.typing import NDArray

from vicmae.index.catalog.packing import unit_length
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.vectors import ann, asked, segment
from vicmae.index.vectors.asked import Question, Shares, Waiting, compare, nothing_found, tuned
from vicmae.index.vectors.plan import Effort, IndexOptions
from vicmae.index.vectors.segment import Segment


def in_groups(seed: int, count: int) -> NDArray[np.float32]:
    """(count, DIM) unit vectors in 40 groups, so that lists around centres find them easily."""
    centres = unit_length(np.random.default_rng(0).normal(size=(40, DIM)).astype(np.float32))
    chance = np.random.default_rng(seed)
    noise = chance.normal(size=(count, DIM)) * 0.45 / DIM**0.5
    return unit_length((centres[chance.integers(0, 40, count)] + noise).astype(np.float32))


def off_them(seed: int, count: int) -> NDArray[np.float32]:
    """(count, DIM) unit vectors that lie in no group: their nearest are scattered over many lists."""
    return unit_length(np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32))


@pytest.fixture(scope="module", params=["ivf", "hnsw"])
def sealed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """1,500 vectors in one segment of the kind, some of them removed."""
    options = IndexOptions(kind=request.param, min_recall=0.9)
    with pytest.MonkeyPatch.context() as patch, Library(tmp_path_factory.mktemp("d"), options) as library:
        patch.setattr(segment, "SCANNED_ROWS", 50)
        collection = library.create("c", ENGINE)
        for seed in range(6):
            collection.add(new_item(seed, frames=250, vectors=in_groups(seed, 250)))
        assert collection.index.seal(everything=True)
        collection.add(new_item(7, frames=1))
        collection.delete(new_item(7).id)
        yield collection


@pytest.fixture
def collection(sealed: Collection) -> Iterator[Collection]:
    """That collection, opened anew: nobody asked anything yet."""
    with Library(sealed.folder.parent.parent, sealed.index.options) as library:
        fresh = library.open("c")
        fresh.index.refresh()
        yield fresh


def part(collection: Collection) -> Segment:
    (one,) = collection.index._state.segments
    return one


def compared(one: Segment, questions: list[Question]) -> tuple[tuple[ann.Level, ...], list[list[Shares]]]:
    """The ways to search the segment, and what compare() says of them for each question, at each depth."""
    assert one.codes is not None
    ways = nothing_found(one, one.codes).ways
    return ways, compare(one, one.codes, ways, questions, lambda: None)


def found(collection: Collection, queries: NDArray[np.float32], min_recall: float | None = None) -> tuple[float, float]:
    """The share of the ten nearest that is found of the queries, and what the plan says of it."""
    shares, told = [], []
    for query in queries[:, None]:  # by itself: where too few are found of one, the others beside it are scanned too
        effort = Effort(min_recall=min_recall)
        _, ids = collection.index.search(query, 10, None, effort)
        _, true = collection.index.search(query, 10, None, Effort(exact=True))
        shares.append(np.isin(true, ids).mean())
        told.append(effort.to_dict()["recall_estimate"])
    return float(np.mean(shares)), min(told)


def ask(collection: Collection, queries: NDArray[np.float32]) -> None:
    for query in queries[:, None]:
        collection.index.search(query, 10)


def test_queries_unlike_the_collection_are_told_the_truth_and_then_found(collection: Collection) -> None:
    before, promised = found(collection, off_them(1, 60))
    assert before < promised - 0.1, "this collection is meant to promise too much"
    collection.index.tune()
    ask(collection, off_them(2, 100))
    assert collection.index.tune() == 100
    after, told = found(collection, off_them(1, 60))
    assert after >= 0.88 and abs(after - told) < 0.06
    assert collection.index.asked().compared >= 100
    assert collection.index.asked().recall == pytest.approx(after, abs=0.06)
    low, told_low = found(collection, off_them(1, 60), min_recall=0.5)
    assert told_low >= 0.5 and low >= told_low - 0.06


def test_the_plan_says_what_the_estimate_rests_on(collection: Collection) -> None:
    def rests_on(exact: bool = False) -> object:
        effort = Effort(exact)
        collection.index.search(in_groups(5, 1), 10, None, effort)
        return effort.to_dict().get("measured_on")

    assert rests_on() == "sealing"
    ask(collection, in_groups(3, asked.LEAST_COMPARED - 2))
    collection.index.tune()
    assert rests_on() == "sealing", "too few to say"
    ask(collection, in_groups(4, 10))
    collection.index.tune()
    assert rests_on() == "queries"
    assert rests_on(exact=True) is None


def test_a_search_is_narrower_again_once_people_ask_for_what_is_there(collection: Collection) -> None:
    def width() -> int:
        effort = Effort()
        collection.index.search(in_groups(50, 1), 10, None, effort)
        return effort.parts[0].width or 10_000

    at_first = width()
    ask(collection, off_them(3, 100))
    collection.index.tune()
    wide = width()
    assert wide > at_first
    for turn in range(4):
        ask(collection, in_groups(60 + turn, 100))
        collection.index.tune()
    assert width() < wide


def test_what_is_learned_outlives_a_removal(collection: Collection) -> None:
    ask(collection, off_them(3, 60))
    collection.index.tune()
    levels = part(collection).levels
    gone = np.arange(1, 6)
    assert part(collection).minus(gone).levels == levels


def test_removed_rows_are_nobodys_nearest(collection: Collection) -> None:
    one = part(collection)
    query = in_groups(9, 1)
    nearest = collection.index.search(query, 10, None, Effort(exact=True))[1]
    _, ((at_ten,),) = compared(one.minus(np.sort(nearest[0])), [Question(query, 10)])
    assert at_ten.max() == 1.0


def test_what_comparing_says_is_what_a_search_finds(collection: Collection) -> None:
    one, queries = part(collection), off_them(8, 20)
    ways, told = compared(one, [Question(query[None], 10) for query in queries])
    shares = [at_depths[0] for at_depths in told]
    level = ann.cheapest(one.levels, 10, 0.9)
    assert level is not None
    (column,) = [i for i, way in enumerate(ways) if (way.width, way.spare) == (level.width, level.spare)]
    share, _ = found(collection, queries)
    assert np.mean(shares, axis=0)[column] == pytest.approx(share, abs=0.02)
    narrowest, widest = np.mean(shares, axis=0)[[0, -1]]
    assert widest == np.mean(shares, axis=0).max() and widest > narrowest + 0.1


def test_a_question_is_measured_as_deep_as_it_asks_and_not_beyond_what_there_is(collection: Collection) -> None:
    questions = [Question(off_them(1, 1), k) for k in (1, 10, 11, 1000)]
    _, told = compared(part(collection), questions)
    assert [len(at_depths) for at_depths in told] == [1, 1, 2, 2], "of 1,500 rows a search for 1,000 compares all"


class Ended(Exception):
    pass


def test_comparing_can_be_ended_between_blocks(collection: Collection) -> None:
    def end() -> None:
        raise Ended

    one = part(collection)
    assert one.codes is not None
    with pytest.raises(Ended):
        compare(one, one.codes, nothing_found(one, one.codes).ways, [Question(off_them(1, 1), 10)], end)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 2000)), max_size=400))
def test_what_waits_is_bounded_and_of_what_was_asked(asks: list[tuple[int, int]]) -> None:
    waiting = Waiting()
    measurable = 0
    for number, (rows, k) in enumerate(asks):
        waiting.put(np.full((rows, 3), number, np.float32), k)
        measurable += k <= ann.DEPTHS[-1]
    assert len(waiting) == min(measurable, asked.MOST_WAITING)
    some, rest = waiting.take(16), waiting.take(1000)
    assert len(waiting) == 0 and len(some) == min(16, len(some) + len(rest))
    for question in some + rest:
        assert question.vector.shape == (1, 3) and asks[int(question.vector[0, 0])][1] == question.k


def test_old_questions_fade() -> None:
    waiting = Waiting()
    for number in range(20_000):
        waiting.put(np.full((1, 1), number, np.float32), 10)
    assert min(float(question.vector[0, 0]) for question in waiting.take(1000)) > 1000


shares_found = st.lists(st.floats(0, 1), min_size=1, max_size=300).map(np.array)


@given(shares_found, st.floats(0, 1))
def test_the_estimate_lies_between_the_bound_and_what_was_expected(
    shares: NDArray[np.float64], expected: float
) -> None:
    found = tuned(shares, expected)
    assert ann.lower_bound(shares) <= found <= max(ann.lower_bound(shares), expected)
    assert found <= shares.mean() + 1e-9


def test_a_few_that_found_everything_change_nothing() -> None:
    assert tuned(np.ones(40), 0.993) == 0.993
    assert tuned(np.ones(256), 0.9) > 0.99
    assert tuned(np.array([1.0, 0.2] * 20), 0.993) < 0.6
