"""What people lay over pictures, drawn once: lines of text in fonts of the machine, stickers, player controls.

An overlay is RGBA. The bank of a run follows from its seed. It does not know batches or the device.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "C:/Windows/Fonts")
SCRIPTS = ((0x41, 0x5A), (0x61, 0x7A), (0x391, 0x3C9), (0x410, 0x44F), (0x5D0, 0x5EA), (0x627, 0x64A), (0x4E00, 0x4F00))
DRAWN_SIDE = 256
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def overlay_bank(count: int, size: int, seed: int) -> NDArray[np.uint8]:
    """(count, size, size, 4) uint8: overlays of a few kinds in turn."""
    generator = np.random.default_rng([seed, 17])
    fonts = _font_files()
    kinds = (_captions, _interface, _stickers, _subtitle)
    bank = np.empty((count, size, size, 4), np.uint8)
    for number in range(count):
        image = Image.new("RGBA", (DRAWN_SIDE, DRAWN_SIDE), (0, 0, 0, 0))
        kinds[number % len(kinds)](ImageDraw.Draw(image), fonts, generator)
        bank[number] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    return bank


def _font_files() -> list[Path]:
    files = [p for folder in FONT_FOLDERS for p in sorted(Path(folder).rglob("*.tt[fc]"))]
    return files[:40]


def _font(fonts: list[Path], size: int, generator: np.random.Generator) -> Font:
    """One of the machine's fonts, or the one that Pillow brings."""
    if fonts and generator.random() < 0.7:
        try:
            return ImageFont.truetype(str(fonts[generator.integers(len(fonts))]), size)
        except OSError:  # a file that FreeType does not read
            pass
    return ImageFont.load_default(size)


def _words(generator: np.random.Generator, letters: int) -> str:
    low, high = SCRIPTS[generator.choice(len(SCRIPTS), p=(0.4, 0.3, 0.06, 0.1, 0.04, 0.05, 0.05))]
    codes = generator.integers(low, high + 1, letters)
    return "".join(" " if generator.random() < 0.16 else chr(c) for c in codes)


def _colour(generator: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in generator.integers(0, 256, 3))
    return red, green, blue


def _captions(draw: ImageDraw.ImageDraw, fonts: list[Path], generator: np.random.Generator) -> None:
    """Text as on a meme: at the top, the bottom or both, outlined or on a bar."""
    size = int(generator.integers(16, 44))
    places = [p for p in ("top", "bottom") if generator.random() < 0.75] or ["top"]
    bar = generator.random() < 0.4
    dark = generator.random() < 0.5
    ink, paper = ((255,) * 3, (0,) * 3) if dark else ((0,) * 3, (255,) * 3)
    for place in places:
        lines = int(generator.integers(1, 3))
        height = int(lines * size * 1.15) + 6
        top = 0 if place == "top" else DRAWN_SIDE - height
        if bar:
            draw.rectangle((0, top, DRAWN_SIDE, top + height), fill=(*paper, 255))
        for line in range(lines):
            text = _words(generator, int(generator.integers(5, max(6, 480 // size))))
            at = (int(generator.integers(2, 40)), top + 2 + int(line * size * 1.15))
            outline = 0 if bar else 2
            draw.text(at, text, (*ink, 255), _font(fonts, size, generator), stroke_width=outline, stroke_fill=paper)


def _interface(draw: ImageDraw.ImageDraw, fonts: list[Path], generator: np.random.Generator) -> None:
    """Bars, buttons and small text as a player, a phone or a chat lays them over or around a picture."""
    for _ in range(int(generator.integers(1, 4))):
        height = int(generator.integers(8, 44))
        anywhere = int(generator.integers(0, DRAWN_SIDE - height))
        top = int(generator.choice((0, DRAWN_SIDE - height, anywhere), p=(0.4, 0.5, 0.1)))
        strength = int(generator.choice((140, 200, 255)))
        ground = _colour(generator) if generator.random() < 0.3 else (int(generator.choice((10, 40, 245))),) * 3
        draw.rectangle((0, top, DRAWN_SIDE, top + height), fill=(*ground, strength))
        ink = (20, 20, 20) if sum(ground) > 380 else (240, 240, 240)
        middle = top + height // 2
        x = 6
        while x < DRAWN_SIDE - 12:
            kind = generator.random()
            if kind < 0.35:
                side = max(3, height // 4)
                draw.ellipse((x, middle - side, x + 2 * side, middle + side), fill=(*ink, 255))
                x += 3 * side + 4
            elif kind < 0.55:
                length = int(generator.integers(20, 140))
                draw.rectangle((x, middle - 1, x + length, middle + 1), fill=(*_colour(generator), 255))
                x += length + 6
            else:
                text = _words(generator, int(generator.integers(3, 14)))
                size = max(7, int(height * 0.55))
                draw.text((x, middle - size // 2), text, (*ink, 255), _font(fonts, size, generator))
                x += int(len(text) * size * 0.6) + 8
        if generator.random() < 0.5:
            break
    if generator.random() < 0.3:  # the play button in the middle
        side = int(generator.integers(12, 34))
        middle = DRAWN_SIDE // 2
        box = (middle - side, middle - side, middle + side, middle + side)
        draw.ellipse(box, fill=(*_colour(generator), 180))
        third = side // 2
        draw.polygon(
            [(middle - third, middle - third), (middle - third, middle + third), (middle + third, middle)],
            fill=(255, 255, 255, 230),
        )


def _stickers(draw: ImageDraw.ImageDraw, fonts: list[Path], generator: np.random.Generator) -> None:
    """Round faces, hearts of two circles, plain shapes and large letters anywhere."""
    for _ in range(int(generator.integers(1, 5))):
        side = int(generator.integers(10, 42))
        x, y = (int(v) for v in generator.integers(0, DRAWN_SIDE - side, 2))
        kind = generator.random()
        if kind < 0.5:
            draw.ellipse((x, y, x + 2 * side, y + 2 * side), fill=(250, 205, 40, 255), outline=(120, 80, 0, 255))
            eye = max(2, side // 5)
            for left in (x + side // 2, x + side + side // 4):
                draw.ellipse((left, y + side // 2, left + eye, y + side // 2 + eye), fill=(60, 30, 0, 255))
            mouth = (x + side // 2, y + side // 2, x + side * 3 // 2, y + side * 3 // 2)
            draw.arc(mouth, 20, 160, fill=(60, 30, 0, 255), width=max(1, side // 8))
        elif kind < 0.75:
            points = [(x + int(side * px), y + int(side * py)) for px, py in generator.uniform(0, 2, (5, 2))]
            draw.polygon(points, fill=(*_colour(generator), 255))
        else:
            draw.text((x, y), _words(generator, 2), (*_colour(generator), 255), _font(fonts, side * 2, generator))


def _subtitle(draw: ImageDraw.ImageDraw, fonts: list[Path], generator: np.random.Generator) -> None:
    """One or two small lines near the bottom, and at times a mark in a corner or across the picture."""
    size = int(generator.integers(10, 20))
    lines = int(generator.integers(1, 3))
    for line in range(lines):
        text = _words(generator, int(generator.integers(8, 30)))
        at = (int(generator.integers(5, 60)), DRAWN_SIDE - 8 - int((lines - line) * size * 1.2))
        draw.text(at, text, (255, 255, 240, 255), _font(fonts, size, generator), stroke_width=1, stroke_fill=(0, 0, 0))
    if generator.random() < 0.5:
        strength = int(generator.integers(60, 160))
        at = (int(generator.integers(0, 160)), int(generator.integers(0, 160)))
        font = _font(fonts, int(generator.integers(14, 60)), generator)
        draw.text(at, _words(generator, 8), (255, 255, 255, strength), font)
