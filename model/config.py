"""The sizes of ViC-MAE, and the few numbers from which each network is built.

Sizes base, large and huge are the paper's (PAPER 1.4); small is the released code's; tiny is ours, for machines without
a GPU: the width of DeiT-tiny, a decoder and a projector to match.
"""

from dataclasses import asdict, dataclass
from typing import Any

from ..media.spec import Fit, InputSpec, Resize


@dataclass(frozen=True)
class ModelConfig:
    """Everything but the input size. D is `dim`; tokens are (N, 1 + L, D) with the class token first.

    class_token   False: there is none, tokens are (N, L, D), and patches attend to patches only (VideoMAE, OmniMAE)
    norm_of_mean  True: the last LayerNorm normalises the mean of the patch tokens instead of each token, as in networks
                  that were fine-tuned with global pooling
    """

    name: str
    patch: int
    dim: int
    depth: int
    heads: int
    decoder_dim: int
    decoder_depth: int
    decoder_heads: int
    projector_hidden: int
    projector_dim: int
    mlp_ratio: float = 4.0
    class_token: bool = True
    norm_of_mean: bool = False

    def input_spec(self, size: int, fit: Fit = "crop", resize: Resize = "bicubic") -> InputSpec:
        """The input this network wants at pictures of `size` pixels a side."""
        return InputSpec(size=size, patch=self.patch, dim=self.dim, fit=fit, resize=resize)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        return cls(**values)


SIZES = {
    config.name: config
    for config in (
        ModelConfig("tiny", 16, 192, 6, 3, 96, 2, 3, 1024, 128),
        ModelConfig("small", 16, 384, 12, 6, 256, 8, 8, 4096, 128),
        ModelConfig("base", 16, 768, 12, 12, 512, 8, 16, 4096, 128),
        ModelConfig("large", 16, 1024, 24, 16, 512, 8, 16, 4096, 128),
        ModelConfig("huge", 14, 1280, 32, 16, 512, 8, 16, 4096, 128),
    )
}
