"""Made stored pictures: each tells by its colour and its second which item and frame it is of."""

import numpy as np

from vicmae.index.catalog.items import NewItem
from vicmae.index.pictures import StoredPicture, to_jpeg

SIZE = (24, 32, 3)


def jpegs_of(new: NewItem) -> list[bytes]:
    """One picture a frame, of a grey that its place says and a hue that the seed (its sha256) says."""
    return [to_jpeg(_picture(int(new.sha256, 16), place)) for place in range(len(new.vectors))]


def is_of(picture: StoredPicture | None, seed: int, place: int) -> bool:
    """Whether that is the picture which jpegs_of made."""
    if picture is None:
        return False
    pixels, made = picture.pixels().astype(int), _picture(seed, place).astype(int)
    return pixels.shape == SIZE and bool(np.abs(pixels.mean(axis=(0, 1)) - made.mean(axis=(0, 1))).max() < 3)


def _picture(seed: int, place: int) -> np.ndarray:
    colour = [seed * 53 % 251, seed * 97 % 241, 8 + place * 37 % 240]
    return np.full(SIZE, colour, np.uint8)
