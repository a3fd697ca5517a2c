"""The reference engine: the fp32 PyTorch encoder itself. Every other engine is compared with it; no server runs it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ..errors import CheckpointError
from ..model.config import ModelConfig
from ..model.conv_encoder import ConvEncoder
from ..model.encoder import Encoder
from .bundle import NORM_OF_MEAN, POOLING, STAGES_POOLED, Manifest, fingerprint_of
from .engine import Engine
from .timm_encoder import TimmEncoder


def pooling_of(config: ModelConfig) -> str:
    """How a network's vector comes from its tokens, in words: part of what makes vectors comparable."""
    if config.trunk is not None:
        return STAGES_POOLED
    return NORM_OF_MEAN if config.norm_of_mean else POOLING


class TorchEngine(Engine):
    """An encoder as an Engine: pixels (N, S, S, 3) uint8 -> its pooled features, unit length."""

    def __init__(
        self, encoder: Encoder | ConvEncoder | TimmEncoder, name: str, device: str = "cpu", max_batch: int = 32
    ) -> None:
        self.encoder = encoder.to(device).eval()
        self.pooling = encoder.pooling if isinstance(encoder, TimmEncoder) else pooling_of(encoder.config)
        weights = {k: v.numpy(force=True) for k, v in encoder.state_dict().items()}
        fingerprint = fingerprint_of(weights, encoder.spec, self.pooling)
        super().__init__(encoder.spec, fingerprint, name, max_batch, "pytorch", device, "fp32")

    @torch.inference_mode()
    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        pictures = self.encoder.normalise(torch.from_numpy(pixels).to(self.device))
        return functional.normalize(self.encoder.pooled(pictures), dim=1).numpy(force=True)


def random_engine(manifest: Manifest) -> TorchEngine | None:
    """Random weights of a bundle's architecture: as fast as the trained ones. None where it is not one of ours."""
    try:
        config = ModelConfig.from_dict(manifest.architecture)
    except (KeyError, TypeError, ValueError, CheckpointError):
        return None
    encoder = Encoder(config, manifest.spec) if config.trunk is None else ConvEncoder(config, manifest.spec)
    return TorchEngine(encoder, manifest.name)
