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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BundleError
from ...media.spec import InputSpec
from ..calibration import Calibration
from .card import card_of
from .manifest import POOLING, EngineFile, Manifest, read_manifest, write_manifest

CANARY, CARD = "canary.npz", "card.md"


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


def write_with_card(bundle: Path, manifest: Manifest) -> None:
    """Writes the manifest of a bundle folder, and its card."""
    write_manifest(bundle, manifest)
    aside = bundle / (CARD + ".partial")
    aside.write_text(card_of(manifest))
    aside.rename(bundle / CARD)


def record_quality(bundle: Path, task: str, scores: dict[str, Any]) -> None:
    """Adds the scores of one evaluation to the manifest, and writes the card anew."""
    manifest = read_manifest(bundle)
    write_with_card(bundle, replace(manifest, quality={**manifest.quality, task: scores}))


def record_calibration(bundle: Path, fingerprint: str, calibration: Calibration) -> None:
    """Writes what was fitted into the manifest, and the card anew. BundleError where the model is another one."""
    manifest = read_manifest(bundle)
    if manifest.fingerprint != fingerprint:
        raise BundleError(f"{bundle} was replaced by another model meanwhile. Calibrate it again.")
    write_with_card(bundle, replace(manifest, calibration=calibration))


def save_canary(bundle: Path, pixels: NDArray[np.uint8], vectors: NDArray[np.float32]) -> None:
    np.savez_compressed(bundle / CANARY, pixels=pixels, vectors=vectors)


def load_canary(bundle: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """-> pixels (C, S, S, 3) uint8 and the vectors (C, D) that fp32 PyTorch gave for them."""
    try:
        with (bundle / CANARY).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return stored["pixels"], stored["vectors"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleError(f"{bundle / CANARY} cannot be read: {error}. Export the bundle again.") from error
