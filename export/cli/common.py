"""What these verbs share: the pictures below some folders, as pixels, with a progress bar."""

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InvalidRequest
from ...terminal import progress, say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...media.spec import InputSpec

PICTURES_FOR_DRIFT = 500


def read_pictures(folders: list[Path], spec: "InputSpec", most: int) -> "list[NDArray[np.uint8]]":
    """Up to `most` pictures and first frames below the folders, spread evenly over them, as pixels (1, S, S, 3)."""
    from ...errors import MediaError
    from ...media.preprocess import to_pixels
    from ...media.reader import MEDIA_SUFFIXES, frame_at

    files = sorted(
        p for folder in folders for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in MEDIA_SUFFIXES
    )
    if folders and not files:
        raise InvalidRequest(f"There is no picture or video below {', '.join(map(str, folders))}.")
    every = max(1, len(files) // most)
    found = []
    with progress("pictures") as bar:
        task = bar.add_task("reading", rate="")
        for path in bar.track(files[::every][:most], task_id=task, description="reading"):
            try:
                found.append(to_pixels(frame_at(path, 0.0), spec))
            except MediaError as error:
                say(f"skipped {path}: {error}")
    if folders and not found:
        raise InvalidRequest(f"Not one of {len(files)} files below {', '.join(map(str, folders))} can be read.")
    return found
