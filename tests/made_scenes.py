"""Made pictures with structure at every size, as photographs have, and what people do to them; forms with entries.

Nothing is random from run to run, and nothing is read from anywhere. Knows nothing of vicmae.
"""

import io
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB
Matrix = NDArray[np.float64]  # (3, 3), shares of the edited picture -> shares of the original
WHOLE: Matrix = np.eye(3)
LABELS = ("Name", "Street", "Town", "Amount", "Reason", "Date", "Place", "Signed")


def scene(seed: int, width: int = 480, height: int = 320) -> Pixels:
    """Clouds of every size in colour, some shapes upon them. Two seeds have nothing in common."""
    dice = np.random.default_rng(seed)
    canvas = np.zeros((height, width, 3), np.float32)
    for cells in (3, 7, 15, 31, 63):
        noise = dice.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        canvas += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * (60 / cells**0.4)
    image = Image.fromarray(np.clip(canvas + 128, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y = dice.uniform(0, 0.9, 2) * (width, height)
        across, down = dice.uniform(0.05, 0.25, 2) * (width, height)
        fill = tuple(int(c) for c in dice.integers(0, 256, 3))
        shape = (draw.ellipse, draw.rectangle)[int(dice.integers(2))]
        shape((x, y, x + across, y + down), fill=fill, outline=(0, 0, 0))
    return np.array(image)


def form(entries: list[str], scale: int = 1) -> Pixels:
    """A printed form with a frame, labels, and one entry a line: 480 x 640 pixels times the scale."""
    width, height = 480 * scale, 640 * scale
    image = Image.new("RGB", (width, height), (250, 250, 247))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(20 * scale)
    edge = 10 * scale
    draw.rectangle((edge, edge, width - edge, height - edge), outline=(20, 20, 20), width=3 * scale)
    draw.text((40 * scale, 30 * scale), "REQUEST FOR APPROVAL no. 17/B", fill=(20, 20, 20), font=font)
    for line, (label, entry) in enumerate(zip(LABELS, entries, strict=True)):
        top = (90 + line * 60) * scale
        draw.text((30 * scale, top), label, (90, 90, 90), font)
        box = (150 * scale, top - 8 * scale, width - 30 * scale, top + 34 * scale)
        draw.rectangle(box, outline=(60, 60, 60), width=2 * scale)
        draw.text((160 * scale, top), entry, fill=(10, 10, 60), font=font)
    return np.array(image)


def as_jpeg(picture: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def warped(picture: Pixels, onto: Matrix, width: int, height: int, ground: int = 128) -> Pixels:
    """The picture laid on a plain ground by a transform of its pixels."""
    grey = (ground, ground, ground)
    return np.asarray(cv2.warpPerspective(picture, onto, (width, height), flags=cv2.INTER_AREA, borderValue=grey))


def _scaled(width: float, height: float, left: float = 0.0, top: float = 0.0) -> Matrix:
    return np.array([(width, 0, left), (0, height, top), (0, 0, 1)], np.float64)


def crop(picture: Pixels) -> tuple[Pixels, Matrix]:
    height, width = picture.shape[:2]
    return picture[height // 4 : height * 3 // 4, width // 3 : width * 5 // 6].copy(), _scaled(0.5, 0.5, 1 / 3, 1 / 4)


def mirrored(picture: Pixels) -> tuple[Pixels, Matrix]:
    return picture[:, ::-1].copy(), _scaled(-1, 1, 1)


def turned(picture: Pixels) -> tuple[Pixels, Matrix]:
    """A quarter, clockwise."""
    return np.rot90(picture, -1).copy(), np.array([(0, 1, 0), (-1, 0, 1), (0, 0, 1)], np.float64)


def bordered(picture: Pixels) -> tuple[Pixels, Matrix]:
    height, width = picture.shape[:2]
    canvas = np.full((height + 120, width + 80, 3), 240, np.uint8)
    canvas[80 : 80 + height, 40 : 40 + width] = picture
    return canvas, _scaled((width + 80) / width, (height + 120) / height, -40 / width, -80 / height)


def inset(picture: Pixels) -> tuple[Pixels, Matrix]:
    """At 0.4 of the side, on another scene."""
    height, width = picture.shape[:2]
    canvas, small = scene(9999, width, height), cv2.resize(picture, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    left, top = width // 2, height // 5
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas, _scaled(1 / 0.4, 1 / 0.4, -0.5 / 0.4, -top / height / 0.4)


def aslant(picture: Pixels) -> tuple[Pixels, Matrix]:
    """As a screen that is photographed from the side."""
    height, width = picture.shape[:2]
    own = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
    corners = np.array([(0.06, 0.1), (0.92, 0.03), (0.97, 0.96), (0.1, 0.88)], np.float32)
    onto = cv2.getPerspectiveTransform(
        (own * (width, height)).astype(np.float32), (corners * (width, height)).astype(np.float32)
    )
    return warped(picture, onto, width, height), cv2.getPerspectiveTransform(corners, own)


def captioned(picture: Pixels) -> tuple[Pixels, Matrix]:
    image = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(picture.shape[0] / 9)
    draw.text((20, 8), "WHEN YOU FIND IT", (255, 255, 255), font, stroke_width=3, stroke_fill=(0, 0, 0))
    draw.text((20, picture.shape[0] * 0.86), "AFTER ALL", (255, 255, 255), font, stroke_width=3, stroke_fill=(0, 0, 0))
    return np.array(image), WHOLE


def _in_place(change: Callable[[Pixels], Pixels]) -> Callable[[Pixels], tuple[Pixels, Matrix]]:
    return lambda picture: (np.asarray(change(picture), np.uint8), WHOLE)


EDITS: dict[str, Callable[[Pixels], tuple[Pixels, Matrix]]] = {
    "as it was": _in_place(lambda picture: picture),
    "JPEG": _in_place(lambda picture: as_jpeg(picture, 20)),
    "grey": _in_place(lambda picture: cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)),
    "darker": _in_place(lambda picture: np.asarray(picture * 0.6, np.uint8)),
    "blurred": _in_place(lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), 4))),
    "smaller": _in_place(
        lambda picture: np.asarray(cv2.resize(picture, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA))
    ),
    "wider": _in_place(lambda picture: np.asarray(cv2.resize(picture, None, fx=1.33, fy=1.0))),
    "caption": captioned,
    "crop": crop,
    "mirrored": mirrored,
    "turned": turned,
    "border": bordered,
    "inset": inset,
    "aslant": aslant,
}
