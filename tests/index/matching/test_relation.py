"""vicmae.index.matching.relation: copies are told, with what was done to them; what only looks alike is no copy."""

import cv2
import numpy as np
import pytest
from made_scenes import EDITS, Pixels, as_jpeg, form, scene
from PIL import Image, ImageDraw

from vicmae.index.matching import Features, Related, detailed_features_of, features_of, related

ENTRIES = ["Ada Winter", "12 Mill Lane", "Oldbury", "1,250.00", "New windows", "4 March", "Leeds", "A. Winter"]
VARIANTS = {
    "as it was": "same",
    "JPEG": "same",
    "grey": "same",
    "darker": "same",
    "smaller": "same",
    "wider": "same",
    "blurred": "same",
    "crop": "crop",
    "mirrored": "mirrored",
    "turned": "turned",
    "border": "letterbox",
    "caption": "overlay",
}


def stored(picture: Pixels) -> Features:
    """As a frame store gives it back."""
    return features_of(as_jpeg(picture, 80))


def looked(a: Pixels, b: Pixels) -> Related:
    return related(stored(a), stored(b))


@pytest.mark.parametrize("edit", VARIANTS)
def test_copies_are_told_with_what_was_done(edit: str) -> None:
    for seed in (1, 2):
        found = looked(EDITS[edit](scene(seed))[0], scene(seed))
        assert (found.relation, found.variant) == ("copy", VARIANTS[edit])


def test_strangers_are_different() -> None:
    assert {looked(scene(seed), scene(seed + 1)).relation for seed in range(40, 44)} == {"different"}


def test_another_entry_of_a_form_is_no_copy() -> None:
    other = [*ENTRIES[:3], "98,765.00", *ENTRIES[4:]]
    found = looked(form(other), form(ENTRIES))
    assert found.relation == "same_form"
    assert looked(as_jpeg(form(ENTRIES), 40), form(ENTRIES)).relation == "copy"


def test_one_digit_of_small_print_needs_the_original() -> None:
    other = [*ENTRIES[:3], "1,259.00", *ENTRIES[4:]]
    ours, theirs = form(other, 2), form(ENTRIES, 2)
    assert looked(ours, theirs).needs_detail
    assert related(detailed_features_of(ours), detailed_features_of(theirs)).relation == "same_form"
    again = cv2.resize(as_jpeg(theirs, 60), None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
    assert related(detailed_features_of(np.asarray(again, np.uint8)), detailed_features_of(theirs)).relation == "copy"


def test_something_else_in_one_place_is_no_copy() -> None:
    empty = scene(3)
    places = []
    for left, top, fill in ((60, 120, (200, 40, 30)), (250, 180, (30, 60, 160))):
        image = Image.fromarray(empty.copy())
        draw = ImageDraw.Draw(image)
        draw.rectangle((left, top, left + 110, top + 60), fill=fill)
        draw.rectangle((left + 15, top + 10, left + 60, top + 30), fill=(210, 220, 230))
        noise = np.random.default_rng(left).normal(0, 6, empty.shape)  # of a camera: no two photos are identical
        places.append(np.clip(np.array(image) + noise, 0, 255).astype(np.uint8))
    assert looked(*places).relation == "same_place"


def test_a_sticker_on_a_photo_is_an_overlay_but_other_messages_before_one_wallpaper_are_not() -> None:
    image = Image.fromarray(scene(3))
    ImageDraw.Draw(image).ellipse((150, 100, 260, 210), fill=(250, 210, 60), outline=(60, 40, 0), width=3)
    assert (looked(np.array(image), scene(3)).relation, looked(np.array(image), scene(3)).variant) == (
        "copy",
        "overlay",
    )
    one = chat("See you at nine, then", "Bring the blue folder", "And the keys of the shed")
    other = chat("No, it was on Tuesday", "Forty pounds a head", "Ask Robin about the van")
    assert looked(one, other).relation in ("same_form", "same_place")


def test_one_product_in_another_colour_is_no_copy_but_a_recoloured_picture_is() -> None:
    red, blue = bottle((200, 40, 40)), bottle((40, 60, 200))
    assert looked(red, blue).relation == "other_colours"
    warmer = np.clip(red * np.array((1.1, 1.0, 0.85)) + 5, 0, 255).astype(np.uint8)
    assert looked(warmer, red).relation == "copy"
    grey = np.repeat(cv2.cvtColor(red, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    assert looked(grey, red).relation == "copy"


def test_a_view_from_elsewhere_is_no_copy() -> None:
    assert looked(EDITS["aslant"](scene(4))[0], scene(4)).relation == "another_view"


def test_flat_pictures_are_no_copies_of_one_another() -> None:
    flat = np.full((240, 320, 3), 90, np.uint8)
    assert looked(flat, flat).relation in ("different", "undecided")


def chat(*messages: str) -> Pixels:
    """Messages in light bubbles before a wallpaper."""
    image = Image.fromarray(scene(3, 320, 480))
    draw = ImageDraw.Draw(image)
    for line, message in enumerate(messages):
        top = 60 + 120 * line
        draw.rounded_rectangle((20 + 40 * (line % 2), top, 270 + 40 * (line % 2), top + 50), 12, fill=(238, 240, 242))
        draw.text((35 + 40 * (line % 2), top + 14), message, (20, 20, 20), font_size=20)
    return np.array(image)


def bottle(colour: tuple[int, int, int]) -> Pixels:
    """A bottle with a printed label on a light ground, as shops show it."""
    image = Image.fromarray(np.full((400, 320, 3), 246, np.uint8))
    draw = ImageDraw.Draw(image)
    shade = (colour[0] * 3 // 4, colour[1] * 3 // 4, colour[2] * 3 // 4)
    draw.rounded_rectangle((100, 110, 220, 380), 20, fill=colour, outline=shade, width=4)
    draw.rectangle((135, 40, 185, 112), fill=shade, outline=(60, 60, 60), width=2)
    draw.rectangle((112, 190, 208, 320), fill=(240, 240, 236), outline=(90, 90, 90))
    for line, text in enumerate(("FRESH", "lemon", "330 ml", "No. 7 / 12", "best cold")):
        draw.text((122, 198 + 23 * line), text, (30, 30, 30), font_size=18)
    return np.array(image)
