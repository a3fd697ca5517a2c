"""Who is asked: drawn by a hash of the names, so that a name more or less changes little of the draw."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Literal

Half = Literal["a", "b"]


def half_of(name: str) -> Half:
    """The half a picture or a clip belongs to, by its name alone: choose on one, report the other."""
    return "a" if sha256(f"half {name}".encode()).digest()[0] % 2 == 0 else "b"


def shuffled(names: Iterable[str], seed: int) -> list[str]:
    """An order in which a name's neighbours hardly change when others come or go: by a hash of seed and name."""
    return sorted(names, key=lambda name: sha256(f"{seed} {name}".encode()).digest())
