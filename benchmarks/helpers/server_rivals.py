"""Other servers of the same work: one as it is written in an afternoon, and `infinity-emb` of another environment.

    python -m helpers.server_rivals PORT BUNDLE     the first of them, with a timm network of the bundle's size

Both run networks of random weights: what they cost is asked, not what they know.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.load import Running, form, free_port, posted, running
from PIL import Image

UPLOAD = "/v1/embeddings/upload"


def shape_of(bundle: Path) -> dict[str, Any]:
    """size, patch, dim, depth and heads of the bundle's network, and mean and std of its pixels."""
    told = json.loads((bundle / "manifest.json").read_text())
    return {**told["spec"], **told["architecture"]}


@contextmanager
def afternoon(bundle: Path) -> Iterator[Running]:
    port, path = free_port(), {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = ("-m", "helpers.server_rivals", str(port), str(bundle))
    with running(sys.executable, *words, port=port, environment=path) as server:
        yield server


@contextmanager
def infinity(bundle: Path, python: Path) -> Iterator[Running]:
    """`infinity_emb` beside that interpreter, with a CLIP whose vision tower is of the bundle's size."""
    port, shape = free_port(), shape_of(bundle)
    size = {name: shape[name] for name in ("size", "patch", "dim", "depth", "heads")}
    words = ["--engine", "torch", "--device", "cpu", "--no-bettertransformer", "--served-model-name", "clip"]
    offline = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    with tempfile.TemporaryDirectory() as folder:
        maker = str(Path(__file__).with_name("peer_clip.py"))
        subprocess.run([python, maker, folder, json.dumps(size)], check=True, capture_output=True)
        door = str(python.with_name("infinity_emb"))
        words = ["v2", "--model-id", folder, *words, "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
        with running(door, *words, port=port, ready="/health", environment=offline) as server:
            yield server


def asked_of_infinity(jpegs: list[bytes]) -> list[bytes]:
    urls = [f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" for jpeg in jpegs]
    return [posted("/embeddings", {"model": "clip", "modality": "image", "input": [url]}) for url in urls]


def asked_of_afternoon(jpegs: list[bytes]) -> list[bytes]:
    return [form(UPLOAD, jpeg) for jpeg in jpegs]


def serve(port: int, shape: Mapping[str, Any]) -> None:
    """FastAPI, Pillow, PyTorch eager."""
    import timm
    import torch
    import uvicorn
    from fastapi import FastAPI, UploadFile
    from torchvision.transforms import functional

    model = timm.models.VisionTransformer(
        img_size=shape["size"], patch_size=shape["patch"], embed_dim=shape["dim"], depth=shape["depth"],
        num_heads=shape["heads"], num_classes=0, global_pool="avg",
    ).eval()  # fmt: skip
    app = FastAPI()

    @app.post(UPLOAD)
    def embed(file: UploadFile) -> dict[str, list[float]]:
        picture = Image.open(file.file).convert("RGB").resize((shape["size"],) * 2, Image.Resampling.BICUBIC)
        pixels = functional.normalize(functional.to_tensor(picture), shape["mean"], shape["std"])
        with torch.inference_mode():
            vector = torch.nn.functional.normalize(model(pixels[None]))[0]
        return {"embedding": vector.tolist()}

    @app.get("/livez")
    def livez() -> None:
        return None

    uvicorn.run(app, port=port, log_level="error")


if __name__ == "__main__":
    serve(int(sys.argv[1]), shape_of(Path(sys.argv[2])))
