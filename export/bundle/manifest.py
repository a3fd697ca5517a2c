"""manifest.json: what a bundle says of itself. Reads, checks and writes it; opens no other file of the bundle."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...errors import BundleError
from ...media.spec import InputSpec
from ..calibration import Calibration
from ..drift import Drift

SCHEMA = 1
POOLING = "mean of the patch tokens after the final LayerNorm, class token left out, L2-normalised"
NORM_OF_MEAN = "final LayerNorm of the mean of the patch tokens, class token left out, L2-normalised"
STAGES_POOLED = "stages of a convolutional trunk pooled, whitened, L2-normalised each, one linear map, L2-normalised"
MANIFEST = "manifest.json"


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
    `calibration` is None where none was fitted."""

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


def write_manifest(bundle: Path, manifest: Manifest) -> None:
    aside = bundle / (MANIFEST + ".partial")
    aside.write_text(manifest.to_json())
    aside.rename(bundle / MANIFEST)
