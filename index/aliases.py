"""Aliases: other names of collections, a small file each. Switching one is a rename, so that nobody sees half of it."""

from pathlib import Path

from ..errors import StorageError
from .atomic import file_aside

MAX_BYTES = 200  # of an alias file; a collection's name is shorter


def read_alias(folder: Path, alias: str) -> str | None:
    """The collection that the alias names; None when there is no such alias."""
    try:
        with (folder / alias).open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"The alias {alias!r} cannot be read ({error.strerror}).") from error


def read_aliases(folder: Path) -> dict[str, str]:
    """Every alias and its collection, by name of the alias."""
    try:
        names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"{folder} cannot be read ({error.strerror}).") from error
    found = {name: read_alias(folder, name) for name in names}
    return {name: target for name, target in found.items() if target is not None}


def write_alias(folder: Path, alias: str, target: str) -> None:
    """Points the alias at a collection, from one moment to the next; on disk when it returns."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file_aside(folder / alias) as file:
            file.write(f"{target}\n".encode())
    except OSError as error:
        raise StorageError(f"The alias {alias!r} cannot be written in {folder} ({error.strerror}).") from error


def remove_alias(folder: Path, alias: str) -> bool:
    """Whether there was one to remove."""
    try:
        (folder / alias).unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StorageError(f"The alias {alias!r} cannot be removed ({error.strerror}).") from error
    return True
