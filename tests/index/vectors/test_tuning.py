"""vicmae.index.vectors.tuning: when queries are compared with every vector, and that it ends at once."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from made_items import ENGINE, new_item, unit_vectors

from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.vectors import build, segment, tuning
from vicmae.index.vectors.asked import Findings
from vicmae.index.vectors.id_ranges import allowed_of
from vicmae.index.vectors.plan import Effort, IndexOptions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose collection c holds 600 vectors, sealed as an ivf."""
    made = tmp_path_factory.mktemp("d")
    with pytest.MonkeyPatch.context() as patch, Library(made, IndexOptions(kind="ivf")) as library:
        patch.setattr(build, "LEAST_ROWS", 500)
        collection = library.create("c", ENGINE)
        collection.add(new_item(1, frames=600))
        assert collection.index.seal(everything=True)
    return made


@pytest.fixture
def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collection]:
    monkeypatch.setattr(tuning, "LEAST_REST_SECONDS", 0.01)
    with Library(folder, IndexOptions(min_recall=0.5, background=True)) as library:
        collection = library.open("c")
        collection.index.refresh()
        yield collection


def test_what_is_asked_is_compared_in_the_background(opened: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    learned = threading.Event()
    tuner = opened.index._tuner
    before = tuner._learned

    def then_tell(findings: Mapping[Path, Findings]) -> None:
        before(findings)
        learned.set()

    monkeypatch.setattr(tuner, "_learned", then_tell)
    assert opened.index.asked() == tuning.Asked()
    opened.index.search(unit_vectors(3, 1), 5)
    assert learned.wait(30)
    assert opened.index.asked().compared == 1 and opened.index.asked().recall is not None


def test_nothing_is_compared_where_nothing_is_asked(opened: Collection) -> None:
    assert opened.index.tune() == 0
    opened.index.search(unit_vectors(3, 1), 5, None, Effort(exact=True))
    opened.index.search(unit_vectors(3, 1), 5, allowed_of(np.arange(1, 300)))
    assert opened.index._tuner._thread is None and opened.index.tune() == 0


def test_without_a_background_only_tune_compares(folder: Path) -> None:
    with Library(folder, IndexOptions(kind="ivf")) as library:
        index = library.open("c").index
        index.refresh()
        index.search(unit_vectors(3, 1), 5)
        assert index._tuner._thread is None and index.asked().compared == 0
        assert index.tune() == 1 and index.asked().compared == 1
        assert index.tune() == 0, "what was compared waits no longer"


def test_closing_ends_a_comparison_at_once(opened: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), threading.Event()

    def endless(*arguments: object) -> list[list[object]]:
        pause = arguments[-1]
        assert callable(pause)
        begun.set()
        try:
            while True:
                pause()
        finally:
            ended.set()

    monkeypatch.setattr(tuning, "compare", endless)
    opened.index.search(unit_vectors(3, 1), 5)
    assert begun.wait(30)
    opened.index.close()
    assert ended.is_set() and opened.index.asked().compared == 0
    opened.index.close()
    assert opened.index.tune() == 0


def test_a_comparison_gives_way_to_sealing_and_its_questions_wait_on(opened: Collection) -> None:
    told: list[object] = []
    busy = [False, True]  # it begins, and then the index is sealed
    tuner = tuning.Tuner(
        lambda: opened.index._state.segments, told.append, lambda: busy.pop(0) if busy else False, background=False
    )
    tuner.take_note(unit_vectors(1, 1), 5)
    assert tuner.tune() == 0 and told == []
    assert tuner.tune() == 1 and len(told) == 1


def test_what_was_found_of_a_segment_goes_with_it(opened: Collection) -> None:
    held: list[segment.Segment] = list(opened.index._state.segments)
    known: list[Findings] = []
    tuner = tuning.Tuner(lambda: held, lambda findings: known.extend(findings.values()), lambda: False, False)
    tuner.take_note(unit_vectors(1, 1), 5)
    assert tuner.tune() == 1 and known[0].compared == 1 and tuner.told(0.5).recall is not None
    held.clear()
    tuner.take_note(unit_vectors(1, 1), 5)
    assert tuner.tune() == 1 and tuner.told(0.5) == tuning.Asked(2, None) and tuner._findings == {}


def test_a_fault_is_logged_and_searches_go_on(
    opened: Collection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(tuning, "compare", broken)
    opened.index.search(unit_vectors(3, 1), 5)
    thread = opened.index._tuner._thread
    assert thread is not None
    thread.join(30)
    assert "no such luck" in caplog.text
    assert (opened.index.search(unit_vectors(3, 1), 5)[1] >= 0).all()
