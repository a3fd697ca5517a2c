"""InputSpec: the one place where the numbers of an encoder's input are written.

It travels with the checkpoint, the bundle and the collection; nothing else in the program knows them.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Fit = Literal["crop", "squash", "pad"]
Resize = Literal["bicubic", "bilinear", "lanczos"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class InputSpec:
    """What an encoder wants to see, and what it gives back.

    size    S: pixels are (N, S, S, 3) uint8
    fit     how a picture of another shape becomes a square: centre crop, squash, or pad with the mean colour
    resize  the filter, always with antialiasing
    mean, std  of the channels on the 0..1 scale; folded into the exported graph
    patch   side of a patch in pixels; S is a multiple of it
    dim     D: vectors are (N, D) float32
    """

    size: int
    patch: int
    dim: int
    fit: Fit = "crop"
    resize: Resize = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if self.size <= 0 or self.patch <= 0 or self.size % self.patch:
            raise ValueError(f"size {self.size} must be a positive multiple of patch {self.patch}")
        if self.dim <= 0:
            raise ValueError(f"dim must be positive, got {self.dim}")
        if self.fit not in get_args(Fit):
            raise ValueError(f"fit must be one of {get_args(Fit)}, got {self.fit!r}")
        if self.resize not in get_args(Resize):
            raise ValueError(f"resize must be one of {get_args(Resize)}, got {self.resize!r}")
        object.__setattr__(self, "mean", tuple(float(v) for v in self.mean))
        object.__setattr__(self, "std", tuple(float(v) for v in self.std))

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.size // self.patch

    @property
    def tokens(self) -> int:
        """L: patch tokens of one picture."""
        return self.grid**2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "InputSpec":
        return cls(**values)
