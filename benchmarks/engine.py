"""How fast is the shipped engine against PyTorch eager, the plain rival, in one run?

    python benchmarks/engine.py [--threads 2] [--seconds 3]

Prints images/s by batch size and the ratio; writes benchmarks/results/engine.json. Both run the shipped network's shape
on the same pixels; PyTorch has random weights, which cost the same time.
"""

import argparse
import json
import platform
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from vicmae.export.bundle import open_engine, read_manifest
from vicmae.export.engine import Engine
from vicmae.export.torch_engine import TorchEngine
from vicmae.model.config import ModelConfig
from vicmae.model.encoder import Encoder
from vicmae.settings import SHIPPED_BUNDLE

BATCHES = (1, 8, 32)
RESULTS = Path(__file__).parent / "results"


def images_per_second(engine: Engine, batch: int, seconds: float) -> float:
    """Best of three rounds, each at least seconds / 3 long, after a warm-up."""
    size = engine.spec.size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    engine.embed(pixels)
    best = 0.0
    for _ in range(3):
        began, done = perf_counter(), 0
        while (passed := perf_counter() - began) < seconds / 3:
            engine.embed(pixels)
            done += batch
        best = max(best, done / passed)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    manifest = read_manifest(SHIPPED_BUNDLE)
    encoder = Encoder(ModelConfig.from_dict(manifest.architecture), manifest.spec)
    eager = TorchEngine(encoder, "pytorch eager fp32")
    table = Table("batch", "PyTorch eager img/s", "ONNX Runtime img/s", "ratio", title=manifest.name)
    rows = []
    with open_engine(SHIPPED_BUNDLE, arguments.threads) as shipped:
        for batch in BATCHES:
            rival, ours = (images_per_second(engine, batch, arguments.seconds) for engine in (eager, shipped))
            rows.append({"batch": batch, "eager": round(rival), "onnxruntime": round(ours), "ratio": ours / rival})
            table.add_row(str(batch), f"{rival:.0f}", f"{ours:.0f}", f"{ours / rival:.2f}")
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    report = {"machine": platform.processor() or platform.machine(), "threads": arguments.threads, "rows": rows}
    (RESULTS / "engine.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
