"""The sizes of ViC-MAE, and the few numbers from which each network is built.

Sizes base, large and huge are the paper's (PAPER 1.4); small is the released code's; tiny and lite are ours, for
machines without a GPU: tiny has the width of DeiT-tiny, a decoder and a projector to match; lite has a convolutional
stem (conv_encoder.py).
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from ..media.spec import Fit, InputSpec, Resize

TRUNK_MEAN = TRUNK_STD = (0.5, 0.5, 0.5)  # what EfficientNet-Lite was trained with (timm's default_cfg)


@dataclass(frozen=True)
class ModelConfig:
    """Everything but the input size. D is `dim`; tokens are (N, 1 + L, D) with the class token first.

    class_token   False: there is none, tokens are (N, L, D), and patches attend to patches only (VideoMAE, OmniMAE)
    norm_of_mean  True: the last LayerNorm normalises the mean of the patch tokens instead of each token, as in networks
                  that were fine-tuned with global pooling
    trunk         timm's name of the convolutional trunk; None: pictures are cut into patches, as in the paper. With a
                  trunk, `patch` is the side of its coarsest cell, `depth` and `heads` are of the transformer inside
                  it, and `dim` is the width of the vector alone
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
    trunk: str | None = None

    def input_spec(self, size: int, fit: Fit = "crop", resize: Resize = "bicubic") -> InputSpec:
        """The input this network wants at pictures of `size` pixels a side."""
        spec = InputSpec(size=size, patch=self.patch, dim=self.dim, fit=fit, resize=resize)
        return spec if self.trunk is None else replace(spec, mean=TRUNK_MEAN, std=TRUNK_STD)

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
        ModelConfig("lite", 32, 384, 2, 3, 128, 1, 4, 0, 0, class_token=False, trunk="tf_efficientnet_lite0"),
    )
}
