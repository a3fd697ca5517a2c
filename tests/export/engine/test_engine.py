"""vicmae.export.engine.engine: what every engine promises, held by the fake and by PyTorch's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_media import picture, scene_at
from made_runs import nano_encoder, noise_pixels
from numpy.typing import NDArray

from vicmae.export.engine import Engine, FakeEngine
from vicmae.export.torch_engine import TorchEngine

ENGINES = {"fake": FakeEngine(max_batch=3), "torch": TorchEngine(nano_encoder(), "nano", max_batch=3)}
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=list(ENGINES))


@engines
@settings(max_examples=12)
@given(st.integers(0, 9), st.integers(0, 1000))
def test_any_number_of_pixels_gives_unit_vectors(engine: Engine, count: int, seed: int) -> None:
    vectors = engine.embed(noise_pixels(count, seed=seed))
    assert vectors.shape == (count, engine.spec.dim) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@engines
def test_a_vector_depends_on_its_picture_alone(engine: Engine) -> None:
    pixels = noise_pixels(7)
    vectors = engine.embed(pixels)
    for index in range(7):
        assert np.allclose(engine.embed(pixels[index : index + 1])[0], vectors[index], atol=1e-5)
    assert len(np.unique(vectors.round(3), axis=0)) == 7


@engines
def test_one_colour_pictures_have_vectors_too(engine: Engine) -> None:
    for value in (0, 127, 128, 255):
        assert np.isfinite(engine.embed(np.full((1, 32, 32, 3), value, np.uint8))).all()


@engines
@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((1, 31, 32, 3), np.uint8),
        np.zeros((1, 3, 32, 32), np.uint8),
        np.zeros((1, 32, 32, 3), np.float32),
        np.zeros((0, 8, 8, 3), np.uint8),
    ],
)
def test_other_pixels_are_a_mistake_of_the_caller(engine: Engine, pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"pixels must be \(N, 32, 32, 3\) uint8"):
        engine.embed(pixels)


@engines
def test_closing_twice_is_allowed(engine: Engine) -> None:
    with engine as opened:
        assert opened is engine
    engine.close()


def test_the_fake_finds_what_looks_alike() -> None:
    def shown(seed: int, second: float) -> NDArray[np.uint8]:
        return scene_at(seed, second, (32, 32))

    now, soon, other = ENGINES["fake"].embed(np.stack([shown(1, 0.5), shown(1, 0.55), shown(2, 0.5)]))
    assert now @ soon > 0.9 > now @ other
    still = np.asarray(picture(1, (32, 32)))[None]
    assert ENGINES["fake"].embed(still) @ ENGINES["fake"].embed(still).T == pytest.approx(1)


def test_the_fingerprint_of_the_reference_follows_its_weights() -> None:
    first, again, other = (TorchEngine(nano_encoder(seed), "x").fingerprint for seed in (0, 0, 1))
    assert first == again != other
    assert FakeEngine().fingerprint != FakeEngine(fingerprint="fake-1").fingerprint
