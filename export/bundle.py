"""A bundle: the folder that a server loads. Reads and checks it; imports no torch.

manifest.json   what the model is, where it comes from, how good it is, how far each engine drifts
model.onnx      uint8 pixels (N, S, S, 3) in, unit vectors (N, D) out, normalisation and pooling inside
canary.npz      made-up pixels and the fp32 PyTorch vectors they must give: checked at every start
card.md         the manifest in words
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from ..media.spec import InputSpec
from .calibration import Calibration
from .drift import Drift

SCHEMA = 1
POOLING = "mean of the patch tokens after the final LayerNorm, class token left out, L2-normalised"
NORM_OF_MEAN = "final LayerNorm of the mean of the patch tokens, class token left out, L2-normalised"
STAGES_POOLED = "stages of a convolutional trunk pooled, whitened, L2-normalised each, one linear map, L2-normalised"
MANIFEST, CANARY, CARD = "manifest.json", "canary.npz", "card.md"


@dataclass(frozen=True)
class EngineFile:
    """One engine file of a bundle, with its proof that it gives the trained model's vectors.

    weights: the file beside it that holds its weights, where they are too large for one, with its sha256; `bytes`
    counts both.
    """

    sha256: str
    bytes: int
    precision: str
    drift: Drift
    weights: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """manifest.json. `architecture` is the ModelConfig, `provenance` says how it was trained; `quality` is measured;
    `calibration` is None until `vicmae calibrate` has fitted it."""

    name: str
    fingerprint: str
    spec: InputSpec
    architecture: dict[str, Any]
    parameters: int
    engines: dict[str, EngineFile]
    pooling: str = POOLING
    provenance: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    schema: int = SCHEMA

    def to_json(self) -> str:
        calibration = None if self.calibration is None else self.calibration.to_dict()
        return json.dumps({**asdict(self), "calibration": calibration}, indent=2, ensure_ascii=False) + "\n"


def fingerprint_of(weights: Mapping[str, NDArray[Any]], spec: InputSpec, pooling: str = POOLING) -> str:
    """sha256 over encoder weights (fp32), InputSpec and pooling: vectors are comparable if and only if it is equal."""
    digest = hashlib.sha256(json.dumps([spec.to_dict(), pooling], sort_keys=True).encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name], np.float32).tobytes())
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(bundle: Path) -> Manifest:
    """The manifest of a bundle folder; BundleError says what is missing or not understood."""
    path = bundle / MANIFEST
    try:
        values = json.loads(path.read_text())
    except OSError as error:
        raise BundleError(f"{bundle} is not a bundle: {MANIFEST} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}.") from error
    schema = values.get("schema") if isinstance(values, dict) else None
    if schema != SCHEMA:
        raise BundleError(f"{path} has schema {schema!r}; this version of vicmae reads {SCHEMA}. Export it again.")
    try:
        engines = {n: EngineFile(**{**e, "drift": Drift(**e["drift"])}) for n, e in values["engines"].items()}
        spec = InputSpec.from_dict(values["spec"])
        fitted = values.get("calibration")
        calibration = None if fitted is None else Calibration.from_dict(fitted, spec.dim)
        return Manifest(**{**values, "spec": spec, "engines": engines, "calibration": calibration})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{path} is damaged or from another version: {error!r}. Export it again.") from error


def require_unaltered(bundle: Path, file_name: str, file: EngineFile) -> None:
    """BundleError unless the engine file, and that of its weights where it has one, are those that were exported."""
    for name, sha256 in {file_name: file.sha256, **file.weights}.items():
        path = bundle / name
        if not path.is_file():
            raise BundleError(f"{bundle} lacks {name}, which its manifest names. Copy the whole bundle again.")
        if sha256_of(path) != sha256:
            size = sum((bundle / n).stat().st_size for n in (file_name, *file.weights) if (bundle / n).is_file())
            short = f"{size} bytes where {file.bytes} are expected" if size != file.bytes else "its sha256 differs"
            raise BundleError(f"{path} is not the file that was exported ({short}). Copy the whole bundle again.")


def write_manifest(bundle: Path, manifest: Manifest) -> None:
    aside = bundle / (MANIFEST + ".partial")
    aside.write_text(manifest.to_json())
    aside.rename(bundle / MANIFEST)


def save_canary(bundle: Path, pixels: NDArray[np.uint8], vectors: NDArray[np.float32]) -> None:
    np.savez_compressed(bundle / CANARY, pixels=pixels, vectors=vectors)


def load_canary(bundle: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """-> pixels (C, S, S, 3) uint8 and the vectors (C, D) that fp32 PyTorch gave for them."""
    try:
        with (bundle / CANARY).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return stored["pixels"], stored["vectors"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleError(f"{bundle / CANARY} cannot be read: {error}. Export the bundle again.") from error
