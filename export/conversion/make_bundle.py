"""A network -> the whole bundle: its engine files, each held against PyTorch, the canary, the manifest and the card.

Needs torch; a server never imports this. The folder is written aside and put in place whole: a crash, a full disk or a
failing gate leaves the bundle that was there.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BundleError, DriftError
from ...media.spec import InputSpec
from ..bundle import (
    CANARY,
    CARD,
    MANIFEST,
    EngineFile,
    Manifest,
    put_in_place,
    read_manifest,
    save_canary,
    sha256_of,
    write_with_card,
)
from ..calibration import Calibration
from ..drift import Drift, compare, require_within_limits
from ..engine import OnnxRuntimeEngine, require_batch_invariance
from ..torch_engine import TorchEngine
from .quantize import FILES, Batches, gate_of, write_precision
from .to_onnx import DATA_SUFFIX, AnyEncoder, as_exported, write_onnx

CANARIES = 8
MADE_UP = "made-up pictures"


def made_up_pixels(spec: InputSpec, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """(count, S, S, 3) uint8: smooth colour fields with noise. Belongs to nobody, so it can travel in a bundle."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0 : spec.size, 0 : spec.size] / spec.size
    out = np.empty((count, spec.size, spec.size, 3), np.uint8)
    for picture in out:
        field = np.zeros((spec.size, spec.size, 3))
        for _ in range(6):
            fx, fy, phase = generator.uniform(-6, 6, 2).tolist() + [generator.uniform(0, 6.28)]
            field += np.sin(6.28 * (fx * x + fy * y) + phase)[..., None] * generator.uniform(-1, 1, 3)
        field = 127 + 50 * field + generator.normal(0, 8, field.shape)
        picture[:] = field.clip(0, 255).astype(np.uint8)
    return out


def export_bundle(
    encoder: AnyEncoder,
    name: str,
    bundle: Path,
    pictures: Iterable[NDArray[np.uint8]] | None = None,
    source: str = MADE_UP,
    provenance: dict[str, Any] | None = None,
    force: bool = False,
    precisions: Sequence[str] = (),
    patch_tokens: bool = False,
    calibration: Batches | None = None,
    tell: Callable[[str], None] = lambda message: None,
) -> Manifest:
    """Writes the bundle folder with its drift reports and returns the manifest.

    pictures: batches (n, S, S, 3) uint8 of real pictures to measure the drift on, described by `source`. precisions:
    what to write beside fp32, as check_precisions returns them; int8-static needs `calibration`, batches of pictures.
    An engine outside its limits is not written unless `force`, and `serve` refuses it then: without model.onnx there is
    no bundle (DriftError, nothing is touched); of another precision's failure `tell` hears, and the rest is written.
    """
    encoder = as_exported(encoder)
    with _replacing(bundle) as aside:
        batches = [made_up_pixels(encoder.spec, 128, seed=1)] if pictures is None else list(pictures)
        if not batches:
            raise BundleError("There is no readable picture to measure the drift on.")
        tell(f"{name}: PyTorch's vectors of {sum(map(len, batches))} pictures")
        reference = Reference(TorchEngine(encoder, name), batches, source)
        engines = {}
        for precision in ("fp32", *precisions):
            path = aside / FILES[precision]
            tell(f"{name}: {path.name}")
            if precision == "fp32":
                write_onnx(encoder, path, patch_tokens)
            else:
                write_precision(precision, aside / FILES["fp32"], path, calibration or [])
            drift = _drift_within_limits(reference, path, precision, bundle, force, tell)
            if drift is None:
                for file in _files_of(path):
                    file.unlink()
            else:
                engines[path.name] = _engine_file(path, gate_of(precision), drift)
        return _describe(reference.engine, aside, engines, provenance or {}, _fitted_before(bundle, reference.engine))


@dataclass(frozen=True)
class Reference:
    """What every engine file is held against: PyTorch's vectors of some batches of pictures."""

    engine: TorchEngine
    batches: list[NDArray[np.uint8]]
    source: str

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        return np.concatenate([self.engine.embed(batch) for batch in self.batches])


def _drift_within_limits(
    reference: Reference, path: Path, precision: str, bundle: Path, force: bool, tell: Callable[[str], None]
) -> Drift | None:
    """The file's drift report; None where it fails the gate and is not to be written. DriftError if it is fp32."""
    gate, what = gate_of(precision), str(bundle / path.name)
    with OnnxRuntimeEngine(
        path, reference.engine.spec, reference.engine.fingerprint, reference.engine.name, gate
    ) as engine:
        vectors = np.concatenate([engine.embed(batch) for batch in reference.batches])
        drift = compare(reference.vectors, vectors, reference.source)
        try:
            require_within_limits(drift, gate, what)
            require_batch_invariance(engine, made_up_pixels(engine.spec, CANARIES), what)
        except DriftError as error:
            if precision == "fp32" and not force:
                raise
            if not force:
                tell(f"{path.name} is not written. {error}")
                return None
            tell(f"{path.name} is written by --force; serve will refuse it. {error}")
    return drift


def _describe(
    reference: TorchEngine,
    bundle: Path,
    engines: dict[str, EngineFile],
    provenance: dict[str, Any],
    calibration: Calibration | None,
) -> Manifest:
    """Writes canary, manifest and card beside the engine files."""
    canary = made_up_pixels(reference.spec, CANARIES)
    save_canary(bundle, canary, reference.embed(canary))
    manifest = Manifest(
        name=reference.name,
        fingerprint=reference.fingerprint,
        spec=reference.spec,
        architecture=reference.encoder.config.to_dict(),
        parameters=sum(p.numel() for p in reference.encoder.parameters()),
        engines=engines,
        pooling=reference.pooling,
        provenance=provenance,
        calibration=calibration,
    )
    write_with_card(bundle, manifest)
    return manifest


def _fitted_before(bundle: Path, engine: TorchEngine) -> Calibration | None:
    """The calibration of the bundle that is replaced, where it is of the same model."""
    if not (bundle / MANIFEST).is_file():
        return None
    try:
        before = read_manifest(bundle)
    except BundleError:  # damaged, and about to be replaced
        return None
    return before.calibration if before.fingerprint == engine.fingerprint else None


def _files_of(path: Path) -> list[Path]:
    """An engine file and the file of its weights, where it has one."""
    return [file for file in (path, path.with_name(path.name + DATA_SUFFIX)) if file.exists()]


def _engine_file(path: Path, precision: str, drift: Drift) -> EngineFile:
    files = _files_of(path)
    weights = {file.name: sha256_of(file) for file in files if file != path}
    return EngineFile(sha256_of(path), sum(file.stat().st_size for file in files), precision, drift, weights)


@contextmanager
def _replacing(bundle: Path) -> Iterator[Path]:
    """An empty folder beside `bundle` that takes its place when the block ends well, and goes when it does not."""
    if bundle.exists() and not bundle.is_dir():
        raise BundleError(f"{bundle} is a file. Name a new or empty folder for the bundle.")
    if bundle.exists() and any(bundle.iterdir()) and not (bundle / MANIFEST).exists():
        raise BundleError(f"{bundle} holds other files. Name a new or empty folder for the bundle.")
    bundle = bundle.resolve()
    aside = bundle.with_name(f".{bundle.name}.partial")
    try:
        shutil.rmtree(aside, ignore_errors=True)  # of an export that was killed
        aside.mkdir(parents=True)
    except OSError as error:
        raise BundleError(
            f"{aside}, where the bundle is written before it takes its place, cannot be made: {error.strerror}. Choose "
            f"another folder."
        ) from error
    try:
        yield aside
        _keep_what_is_not_ours(bundle, aside)
        put_in_place(aside, bundle)
    except OSError as error:
        raise BundleError(f"{bundle} cannot be written: {error}. What was there is as it was.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _keep_what_is_not_ours(old: Path, new: Path) -> None:
    """Links files that no export makes (notes, caches) into the new folder."""
    made = {MANIFEST, CANARY, CARD, *FILES.values(), *(name + DATA_SUFFIX for name in FILES.values())}
    if not old.is_dir():
        return
    for path in old.iterdir():
        if path.name not in made and not path.name.endswith(".partial"):
            if path.is_dir():
                shutil.copytree(path, new / path.name, copy_function=os.link)
            else:
                os.link(path, new / path.name)
