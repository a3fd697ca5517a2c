"""vicmae.index.vectors.gpu: which card, what fits, what it finds; without a card, on FAISS' indexes for a processor."""

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import faiss as untyped_faiss
import numpy as np
import pytest
from made_index import HALF, agrees, fill
from made_items import ENGINE, new_item, unit_vectors

from vicmae.errors import InvalidRequest
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.vectors import gpu
from vicmae.index.vectors.gpu import Card, CardKind, find_card, open_card
from vicmae.index.vectors.id_ranges import allowed_of
from vicmae.index.vectors.plan import Effort, IndexOptions

faiss: Any = untyped_faiss
KINDS = get_args(CardKind)
CARDS = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
ROWS = 1500


@pytest.fixture(params=["flat", "ivf"])
def card(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    """A card whose every index is one for a processor in the place of what the card would get."""

    def flat(resources: object, dim: int, config: SimpleNamespace) -> Any:
        assert config.useFloat16 and config.device == 0
        return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)

    resources = SimpleNamespace(setTempMemory=lambda size: None)
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: resources, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "GpuIndexFlatConfig", SimpleNamespace, raising=False)
    monkeypatch.setattr(faiss, "GpuIndexFlatIP", flat, raising=False)
    monkeypatch.setattr(
        faiss, "index_cpu_to_gpu", lambda resources, number, index: faiss.clone_index(index), raising=False
    )
    made = open_card("auto", request.param, 2**30)
    assert made is not None
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose collection c holds ROWS vectors in one segment with lists."""
    made = tmp_path_factory.mktemp("d")
    with Library(made, IndexOptions(kind="ivf", min_recall=0.9)) as library:
        collection = library.create("c", ENGINE)
        fill(collection, 3, ROWS // 3)
        assert collection.index.seal(everything=True)
    return made


@pytest.fixture
def collection(folder: Path, card: Card) -> Iterator[Collection]:
    """That collection, whose segment is on the card."""
    with Library(folder, IndexOptions(), card) as library:
        opened = library.open("c")
        opened.index.refresh()
        assert len(card) == 1
        yield opened


def recall(collection: Collection, effort: Effort, k: int = 10) -> float:
    query = unit_vectors(50, 30)
    scores, ids = collection.index.search(query, k, None, effort)
    best, true = collection.index.search(query, k, None, Effort(exact=True))
    assert (scores <= best + HALF).all()
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(true, ids, strict=True)]))


def test_the_card_answers(collection: Collection) -> None:
    effort = Effort()
    assert recall(collection, effort) >= 0.9
    assert [part.kind.startswith("gpu-") for part in effort.parts] == [True]
    assert effort.parts[0].rows == ROWS and effort.parts[0].recall >= 0.9


def test_what_it_cannot_answer_is_searched_as_if_there_were_none(collection: Collection) -> None:
    def kinds(k: int = 10, **wish: Any) -> set[str]:
        effort = Effort(exact=bool(wish.get("exact")))
        collection.index.search(unit_vectors(1, 1), k, wish.get("allowed"), effort)
        return {part.kind for part in effort.parts}

    assert kinds(exact=True) == {"exact"}
    assert not any(kind.startswith("gpu") for kind in kinds(allowed=allowed_of(np.arange(1, 1000))))
    assert kinds(k=ROWS + 1) == {"exact"}


def test_removed_vectors_are_not_answered(card: Card, tmp_path: Path) -> None:
    with Library(tmp_path, IndexOptions(kind="ivf", min_recall=0.9), card) as library:
        collection = library.create("c", ENGINE)
        fill(collection, 20, 60)
        assert collection.index.seal(everything=True)
        collection.index.refresh()
        collection.delete(new_item(3).id)
        fill(collection, 1, 30, first=30)
        collection.index.refresh()
        effort = Effort()
        assert recall(collection, effort) >= 0.9
        assert [part.kind[:3] for part in effort.parts] == ["gpu", "exa"]
        agrees(collection.index, collection, Effort(exact=True))
    assert len(card) == 0, "a closed index holds nothing there"


def test_what_does_not_fit_stays_off(
    card: Card, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(card, "most_bytes", gpu.SCRATCH_BYTES + 1000)
    with Library(folder, IndexOptions(), card) as library:
        index = library.open("c").index
        index.refresh()
        index.refresh()
        assert len(card) == 0 and caplog.text.count("there is no room") == 1
        assert (index.search(unit_vectors(1, 1), 10)[1] > 0).all()


def test_a_card_that_fails_is_not_asked_again(
    collection: Collection, card: Card, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("CUDA error 700: an illegal memory access")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(gpu.Copy, "search", fails)
        assert recall(collection, Effort()) >= 0.9
    assert "CUDA error 700" in caplog.text and len(card) == 0
    effort = Effort()
    assert recall(collection, effort) >= 0.9 and not effort.parts[0].kind.startswith("gpu")


def test_a_copy_that_finds_something_else_is_not_used(
    card: Card, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    search = gpu.Copy.search
    monkeypatch.setattr(gpu.Copy, "search", lambda *asked: (search(*asked)[0], search(*asked)[1][:, ::-1] + 1))
    with Library(folder, IndexOptions(), card) as library:
        library.open("c").index.refresh()
    assert "of the nearest there" in caplog.text and len(card) == 0


def test_there_is_no_card_where_none_is_asked_for_or_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert find_card("cpu", "flat") is None
    assert find_card("auto", "cagra") is None


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:1"])
def test_a_card_that_is_not_there_is_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    with pytest.raises(InvalidRequest, match="finds 0 graphics cards. Say cpu or auto"):
        find_card(device, "flat")


@pytest.mark.parametrize("device", ["gpu", "CUDA", "cuda:", "cuda:-1", "", "cpu "])
def test_another_word_is_refused(device: str) -> None:
    with pytest.raises(InvalidRequest, match="expected cpu, auto, cuda or cuda:N"):
        find_card(device, "flat")


def test_cards_are_counted_and_a_graph_needs_another_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    assert [find_card(device, "flat") for device in ("auto", "cuda", "cuda:1")] == [0, 0, 1]
    with pytest.raises(InvalidRequest, match="finds 2 graphics cards"):
        find_card("cuda:2", "ivf")
    monkeypatch.delattr(faiss, "GpuIndexCagra", raising=False)
    with pytest.raises(InvalidRequest, match="faiss-gpu-cuvs"):
        find_card("cuda", "cagra")


@pytest.mark.skipif(not CARDS, reason="FAISS finds no graphics card here")
@pytest.mark.parametrize("kind", KINDS)
def test_a_real_card_finds_what_is_nearest(kind: CardKind, folder: Path) -> None:
    if kind == "cagra" and not hasattr(faiss, "GpuIndexCagra"):
        pytest.skip("this FAISS was built without cuVS")
    card = open_card("cuda", kind, 2**30)
    assert card is not None
    with Library(folder, IndexOptions(), card) as library:
        collection = library.open("c")
        collection.index.refresh()
        effort = Effort()
        assert recall(collection, effort) >= 0.9 and effort.parts[0].kind == f"gpu-{kind}"
    card.close()
