"""A head on an encoder of pictures or of clips: logits of named classes, and the file that holds all of it.

Which token feeds the head is the feature:

    mean         mean of the patch tokens after the final LayerNorm, which is what is embedded and what pretraining
                 compared; then a LayerNorm of the head's own. An encoder fine-tuned so can be exported.
    cls          the class token after the final LayerNorm, as the released script does (PAPER 3.1); of a clip the mean
                 of its slots' class tokens
    global-pool  mean of the patch tokens before the final LayerNorm, which is left out, then a LayerNorm of the head's
                 own, as MAE and MAE-ST do with global_pool (PAPER 3.1, 3.3)

Losses, data and optimisers are not known here.
"""

import json
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import CheckpointError
from ..media.spec import InputSpec
from .checkpoints import CLASSIFIER_FORMAT, find_checkpoint, write_weights
from .config import ModelConfig
from .encoder import LAYER_NORM_EPS, Encoder
from .video import VideoEncoder

Feature = Literal["mean", "cls", "global-pool"]
HEAD_STD = 2e-5


class Classifier(nn.Module):
    """pictures (N, 3, S, S), or clips (N, T, 3, S, S) for a VideoEncoder, float and normalised -> logits (N, C)."""

    def __init__(
        self, trunk: Encoder | VideoEncoder, classes: tuple[str, ...], feature: Feature = "mean", dropout: float = 0.0
    ) -> None:
        if feature == "cls" and not trunk.config.class_token:
            raise CheckpointError(
                f"The network {trunk.config.name} has no class token to classify by. Take feature mean or global-pool."
            )
        super().__init__()
        self.trunk = trunk
        self.classes = classes
        self.feature = feature
        if feature == "global-pool":
            trunk.add_module("norm", nn.Identity())
        dim = trunk.config.dim
        self.fc_norm = nn.Identity() if feature == "cls" else nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dim, len(classes))
        nn.init.trunc_normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.bias)

    def features(self, pictures: Tensor) -> Tensor:
        """-> (N, D): what stands before dropout and head."""
        tokens = self.trunk(pictures)  # (N, 1 + L, D), of clips (N, slots, 1 + L, D)
        first = self.trunk.first_patch
        chosen = tokens[..., :first, :] if self.feature == "cls" else tokens[..., first:, :]
        mean = chosen.flatten(1, -2).mean(dim=1)
        if self.trunk.config.norm_of_mean:  # the trunk left its LayerNorm to the mean
            mean = self.trunk.norm(mean)
        features: Tensor = self.fc_norm(mean)
        return features

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.features(pictures)))
        return logits

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """How timm's layer decay counts: embeddings 0, block i is i + 1, everything else depth + 1 (PAPER 3.1)."""
        return {
            "stem": r"^trunk\.(?:cls_token|patch_embed|temporal_embed)",
            "blocks": [(r"^trunk\.blocks\.(\d+)", None)],
        }


def save_classifier(model: Classifier, path: Path, notes: dict[str, Any]) -> None:
    """Writes head and encoder with all that rebuilds them; `notes` (JSON) tell how they were trained."""
    trunk = model.trunk
    frames, tube = (trunk.frames, trunk.tube) if isinstance(trunk, VideoEncoder) else (0, 0)
    head = {"classes": model.classes, "feature": model.feature, "frames": frames, "tube": tube}
    header = {
        "format": CLASSIFIER_FORMAT,
        "config": json.dumps(trunk.config.to_dict()),
        "spec": json.dumps(trunk.spec.to_dict()),
        "classifier": json.dumps(head),
        "notes": json.dumps(notes),
    }
    write_weights(model.state_dict(), header, path)


def load_classifier(path: Path) -> tuple[Classifier, dict[str, Any]]:
    """A file, step or run of save_classifier -> (the classifier in eval mode, its notes)."""
    file_path = find_checkpoint(path)
    try:
        with safe_open(file_path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file_path} is not a readable safetensors file: {error}.") from error
    if header.get("format") != CLASSIFIER_FORMAT:
        raise CheckpointError(f"{file_path} holds no classifier. Make one with `vicmae finetune`.")
    try:
        config = ModelConfig.from_dict(json.loads(header["config"]))
        spec = InputSpec.from_dict(json.loads(header["spec"]))
        head = json.loads(header["classifier"])
        if head["frames"]:
            trunk: Encoder | VideoEncoder = VideoEncoder(config, spec, head["frames"], head["tube"])
        else:
            trunk = Encoder(config, spec)
        model = Classifier(trunk, tuple(head["classes"]), head["feature"])
        model.load_state_dict(state)
        return model.eval(), json.loads(header["notes"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # RuntimeError: torch, when a shape is another one
        raise CheckpointError(f"{file_path} is damaged or from another version: {error}.") from error
