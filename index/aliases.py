"""Names of collections, and aliases: other names for them, a small file each.

Switching an alias is a rename, so that nobody sees half of it.
"""

import re
from contextlib import suppress
from pathlib import Path

from ..errors import InvalidRequest, NotFound
from .atomic import atomic_file
from .paths import storage_errors

COLLECTION_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
MAX_BYTES = 200  # of an alias file; a collection's name is shorter


def check_name(name: str) -> str:
    """name itself, or InvalidRequest."""
    if not COLLECTION_NAME.fullmatch(name):
        raise InvalidRequest(
            f"The collection name {name!r} is not usable: 1 to 63 lower-case letters, digits, '_' or '-', "
            "beginning with a letter or digit."
        )
    return name


class Aliases:
    """Those in a folder. Knows no collections: whether a target exists is the Library's to check."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, alias: str) -> str | None:
        """The collection that the alias names; None when there is no such alias."""
        with storage_errors(f"The alias {alias!r} cannot be read"), suppress(FileNotFoundError, NotADirectoryError):
            with (self.folder / check_name(alias)).open("rb") as file:
                return file.read(MAX_BYTES).decode("utf-8", "replace").strip()
        return None

    def target(self, alias: str) -> str:
        """As find(); raises NotFound when there is no such alias."""
        target = self.find(alias)
        if target is None:
            raise NotFound(f"There is no alias {alias!r}.")
        return target

    def all(self) -> dict[str, str]:
        """alias -> the collection it names, by alias."""
        names: list[str] = []
        with storage_errors(f"{self.folder} cannot be read"), suppress(FileNotFoundError):
            names = sorted(entry.name for entry in self.folder.iterdir() if COLLECTION_NAME.fullmatch(entry.name))
        found = {name: self.find(name) for name in names}
        return {name: target for name, target in found.items() if target is not None}

    def of(self, target: str) -> tuple[str, ...]:
        """The aliases of a collection."""
        return tuple(alias for alias, named in self.all().items() if named == target)

    def set(self, alias: str, target: str) -> None:
        """Points the alias at a collection, from one moment to the next; on disk when it returns."""
        with storage_errors(f"The alias {alias!r} cannot be written in {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(self.folder / check_name(alias)) as file:
                file.write(f"{target}\n".encode())

    def remove(self, alias: str) -> None:
        """Raises NotFound when there is none."""
        self.target(alias)
        with storage_errors(f"The alias {alias!r} cannot be removed"):
            (self.folder / check_name(alias)).unlink(missing_ok=True)
