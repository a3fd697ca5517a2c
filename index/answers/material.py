"""Material: the files of a library that are indexed, those that are asked for, and those left out as strangers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from ...errors import InvalidRequest, MediaError, NotFound
from ...media.decoding import Decoder
from ...media.limits import MediaLimits
from ..collection import Collection
from ..ingest import walk
from ..paths import file_uri

LOOKALIKES = "lookalikes"  # folder of a library; each folder in it holds different pictures that look alike
ONE_STRANGER_IN = 5
LEAST_STRANGERS = 5  # an edited stranger stands among four others
LEAST_PHOTOS = 5


@dataclass(frozen=True)
class Material:
    """Files of a library by what is done with them. Names are paths below the library's folder.

    photos, clips  indexed and asked for
    lookalikes     indexed; pictures below the folder LOOKALIKES
    strangers      photos that are not indexed: one in five, chosen by name alone, so that an index can be used again
    distractors    files of another folder, indexed
    unreadable     (name, reason)
    """

    folder: Path
    photos: dict[str, Path] = field(default_factory=dict)
    clips: dict[str, Path] = field(default_factory=dict)
    lookalikes: dict[str, Path] = field(default_factory=dict)
    strangers: dict[str, Path] = field(default_factory=dict)
    distractors: list[Path] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    @property
    def indexed(self) -> list[Path]:
        """All files that are looked in."""
        return [*self.photos.values(), *self.clips.values(), *self.lookalikes.values(), *self.distractors]

    @property
    def everything(self) -> dict[str, Path]:
        """All files of the library, strangers too."""
        return self.photos | self.clips | self.lookalikes | self.strangers

    def counts(self) -> dict[str, int]:
        kinds = {name: getattr(self, name) for name in ("photos", "clips", "lookalikes", "strangers", "distractors")}
        return {name: len(files) for name, files in kinds.items()}


def read_material(
    folder: Path,
    distractors: Sequence[Path],
    decoder: Decoder,
    limits: MediaLimits,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Material:
    """Looks at every file of the library. Raises InvalidRequest where too few photos can be read."""
    material = Material(folder, distractors=[file.path for file in walk(distractors).files])
    files = walk([folder]).files
    for done, path in enumerate(file.path for file in files):
        on_progress(done, len(files))
        name = path.relative_to(folder.absolute()).as_posix()
        try:
            kind = decoder.probe(path, limits).kind
        except (MediaError, NotFound) as error:
            material.unreadable.append((name, str(error)))
            continue
        if kind == "video":
            material.clips[name] = path
        elif LOOKALIKES in Path(name).parts[:-1]:
            material.lookalikes[name] = path
        else:
            (material.strangers if is_stranger(name) else material.photos)[name] = path
    if len(material.photos) < LEAST_PHOTOS or len(material.strangers) < LEAST_STRANGERS:
        raise InvalidRequest(
            f"{folder} has {len(material.photos)} photos to ask for and {len(material.strangers)} to leave out (one in "
            f"{ONE_STRANGER_IN}); at least {LEAST_PHOTOS} and {LEAST_STRANGERS} are needed. Name a folder with more."
        )
    return material


def is_stranger(name: str) -> bool:
    """Whether the photo of that name is left out of the index."""
    return int.from_bytes(sha256(f"stranger {name}".encode()).digest()[:4]) % ONE_STRANGER_IN == 0


def require_only(collection: Collection, files: Sequence[Path]) -> None:
    """Raises InvalidRequest where the collection holds other files, among which a stranger could be."""
    known = {file_uri(path) for path in files}
    others = [item.uri for page in collection.pages(1000) for item in page if item.uri not in known]
    if others:
        raise InvalidRequest(
            f"The collection {collection.name!r} holds {len(others)} files that are not part of this evaluation, such "
            f"as {others[0]}. Give another --data folder, or the same LIBRARY and --distractors as before."
        )
