"""vicmae.index.vectors.gpu: which card, what fits, what a search finds; without a card, on a processor's index."""

from typing import Any, get_args

import faiss as untyped_faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_items import unit_vectors
from numpy.typing import NDArray

from vicmae.errors import InvalidRequest
from vicmae.index.vectors import gpu
from vicmae.index.vectors.gpu import CardKind, Vectors, bytes_on_card, candidates_for, find_card, measured

faiss: Any = untyped_faiss
DIM = 64
KINDS = get_args(CardKind)
CARDS = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0


def on_processor(kind: CardKind, lists: int) -> Vectors:
    """What FAISS has for a processor in the place of what a card would get; both are used in the same way."""
    half, product = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        return Vectors(kind, faiss.IndexScalarQuantizer(DIM, half, product))
    return Vectors(kind, faiss.index_factory(DIM, f"IVF{lists},SQfp16", product))


def filled(vectors: Vectors, rows: NDArray[np.float32]) -> Vectors:
    if vectors.kind == "ivf":
        vectors.index.train(rows)
    for start in range(0, len(rows), 500):
        vectors.add(rows[start : start + 500])
    vectors.finish()
    return vectors


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_a_wider_search_finds_more_and_is_measured(kind: CardKind) -> None:
    rows, queries = unit_vectors(1, 2000, DIM), unit_vectors(2, 40, DIM)
    vectors = filled(on_processor(kind, 32), rows)
    true = np.argsort(-(queries @ rows.T), axis=1)[:, :1000]
    levels = measured(vectors, queries, true, 32)
    assert [level.width for level in levels] == ([0] if kind == "flat" else [2, 4, 8, 16, 32])
    assert levels[-1].recalls[0] > 0.97 and levels == tuple(sorted(levels, key=lambda level: level.cost))
    recalls = [level.recalls[0] for level in levels]
    assert recalls == sorted(recalls)


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


@given(st.sampled_from(KINDS), st.integers(1, 10**8), st.integers(8, 2048))
def test_more_vectors_take_more_of_a_card_and_never_less_than_their_halves(kind: CardKind, rows: int, dim: int) -> None:
    size = bytes_on_card(kind, rows, dim)
    assert 2 * rows * dim <= size < bytes_on_card(kind, rows + 1, dim)
    assert bytes_on_card("flat", rows, dim) <= size


def test_a_million_vectors_fit_as_the_page_says() -> None:
    assert [round(bytes_on_card(kind, 10**6, 384) / 1e6) for kind in KINDS] == [768, 1558, 1536]


@given(st.integers(1, 1000))
def test_there_are_candidates_to_spare_and_not_more_than_a_card_selects(k: int) -> None:
    assert k < candidates_for(k) <= gpu.MOST_CANDIDATES


@pytest.mark.skipif(not CARDS, reason="FAISS finds no graphics card here")
@pytest.mark.parametrize("kind", KINDS)
def test_a_real_card_finds_what_is_nearest(kind: CardKind) -> None:
    if kind == "cagra" and not hasattr(faiss, "GpuIndexCagra"):
        pytest.skip("this FAISS was built without cuVS")
    rows, queries = unit_vectors(1, 5000, DIM), unit_vectors(2, 40, DIM)
    vectors = filled(gpu.makes(0, kind)(DIM, 64), rows)
    true = np.argsort(-(queries @ rows.T), axis=1)[:, :1000]
    assert measured(vectors, queries, true, 64)[-1].recalls[0] > 0.9
