"""The steps of a calibration: read media -> edit and ask -> fit. Returns a value; writes nothing.

Truth needs no labels: an edited copy of a picture is that picture, and a stretch of a clip is where it was cut out.
Strangers are the other files; those that pixels, which no model changes, call copies are left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import InvalidRequest
from ...export.calibration import Calibration
from ...export.engine import Engine
from ...media.decoding import HERE, Decoder
from ...media.limits import MediaLimits
from .clips import clip_rows
from .edits import OF_FOLDING
from .fit import fit_curve, fit_frames
from .folding import Asked, folding_cosine
from .frames import Floats, asked_vectors, frame_rows, mean_of
from .material import ASKED_OF_A_CLIP, Material, Source, read_material

LEAST_PICTURES = 40  # that tell something: photos, and up to ASKED_OF_A_CLIP frames of each clip
LEAST_FILES = 10  # or every stranger would be of one of a few films
LEAST_CLIPS = 8

# (what is being done, how many of how many)
Progress = Callable[[str, int, int], None]


def calibrate(
    files: Sequence[Path],
    engine: Engine,
    decoder: Decoder = HERE,
    limits: MediaLimits = MediaLimits(),  # noqa: B008 - frozen
    on_progress: Progress = lambda stage, done, total: None,
) -> Calibration:
    """Fits what the engine's model needs to these photos and clips.

    Without LEAST_CLIPS clips nothing is fitted for clips: stretch is None, and frames fold only when they are equal.
    Raises InvalidRequest where there is too little to fit to.
    """
    material = read_material(files, engine, decoder, limits, lambda done, total: on_progress("read", done, total))
    _require_enough(material)
    asked = list(asked_vectors(material, engine, lambda done, total: on_progress("ask", done, total)))
    mean, films = mean_of(material), [material.moments[place] for place in material.clips]
    has_clips = len(films) >= LEAST_CLIPS
    rows = frame_rows(material, asked)
    fitted = fit_frames(rows, films if has_clips else [], mean, _told(material, len(rows), 0))
    if not has_clips:
        return fitted
    fitted = replace(fitted, folding_cosine=folding_cosine(films, _asked_of_films(material, asked)))
    stretches = clip_rows(
        material, mean, fitted, engine, decoder, limits, lambda done, total: on_progress("clips", done, total)
    )
    curve = fit_curve([row.likely for row in stretches], [row.right for row in stretches], None, "clips")
    return replace(fitted, stretch=curve, fitted_on=_told(material, len(rows), len(stretches)))


def _require_enough(material: Material) -> None:
    """Raises InvalidRequest."""
    if len(material.sources) >= LEAST_PICTURES and len(material.items) >= LEAST_FILES:
        return
    raise InvalidRequest(
        f"Too little to fit to: {material.photos} photos and {len(material.clips)} clips could be read "
        f"({material.unreadable} files could not), which give {len(material.sources)} pictures that show something. "
        f"Expected are at least {LEAST_PICTURES} pictures of {LEAST_FILES} files, where a clip gives up to "
        f"{ASKED_OF_A_CLIP}; and {LEAST_CLIPS} clips for what concerns clips. Name more media."
    )


def _asked_of_films(material: Material, asked: list[tuple[Source, dict[str, Floats]]]) -> list[Asked]:
    """The frames of clips, as edited for the question what folding costs."""
    numbers = {place: number for number, place in enumerate(material.clips)}
    return [
        Asked(numbers[source.owner], source.seconds, vectors[name])
        for source, vectors in asked
        if source.owner in numbers
        for name in OF_FOLDING
    ]


def _told(material: Material, questions: int, stretches: int) -> dict[str, Any]:
    """For the manifest: counts, no names."""
    return {
        "photos": material.photos,
        "clips": len(material.clips),
        "pictures": len(material.sources),
        "questions": questions,
        "stretches": stretches,
        "unreadable": material.unreadable,
    }
