"""Library: the folder in which collections live. Creates, opens, lists, drops them, each bound to a model.

Whatever takes the name of a collection takes an alias of it too; what it answers bears the collection's own name.
"""

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from ..errors import Conflict, ModelMismatch, NotFound, StorageError
from ..export.engine import Engine
from ..media.spec import InputSpec
from . import atomic
from .aliases import COLLECTION_NAME, Aliases, check_name
from .catalog import CATALOG_FILE, UPLOADS_FOLDER, Catalog, read_identity, write_identity
from .collection import Collection
from .frame_reader import FramesCache, frames_cache
from .paths import storage_errors
from .vectors import Card, IndexOptions


@dataclass(frozen=True)
class Model:
    """What a collection knows of its model: an engine's name, fingerprint and spec, without the engine."""

    name: str
    fingerprint: str
    spec: InputSpec


class Library:
    """The collections below `data_dir`. Keeps those it opened until close(); any thread may use it."""

    def __init__(self, data_dir: Path, options: IndexOptions | None = None, card: Card | None = None) -> None:
        """Creates nothing yet. Raises StorageError when data_dir exists and is no folder.

        card: one that holds sealed vectors of all collections too; it stays the caller's to close, after close().
        """
        if data_dir.exists() and not data_dir.is_dir():
            raise StorageError(f"{data_dir} is a file, not a folder. Choose another --data folder.")
        self.data_dir = Path(os.path.abspath(data_dir))
        self.folder = self.data_dir / "collections"
        self._options = options or IndexOptions()
        self._card = card
        self._cache = frames_cache()
        self.aliases = Aliases(self.data_dir / "aliases")
        self._open: dict[str, Collection] = {}
        self._lock = RLock()

    def create(self, name: str, engine: Engine | Model, source: str | None = None) -> Collection:
        """The collection `name`, made for the engine's model, or the one that exists for it.

        source: the collection that a new one is a re-embedding of. Raises InvalidRequest for an unusable name,
        ModelMismatch, StorageError.
        """
        check_name(name)
        with self._lock:
            if self._real(name) == name:
                make_collection(self.folder / name, name, engine, source)
            return self.open_for(name, engine)

    def open(self, name: str) -> Collection:
        """The collection of that name or alias, or NotFound with the names that exist."""
        check_name(name)
        with self._lock:
            name = self._real(name)
            known = self._open.get(name)
            if known is not None and not known.catalog.is_gone():
                return known
            self._forget(name)
            if not self._exists(name):
                raise NotFound(f"There is no collection {name!r}. {self._which()}")
            self._open[name] = open_folder(self.folder / name, self._options, self._card, self._cache)
            return self._open[name]

    def open_for(self, name: str, engine: Engine | Model, create: bool = False) -> Collection:
        """The collection, if it is of the engine's model. NotFound (unless `create`), ModelMismatch."""
        check_name(name)
        with self._lock:
            if create and not self._exists(self._real(name)):
                return self.create(name, engine)
            collection = self.open(name)
        if collection.fingerprint != engine.fingerprint:
            raise ModelMismatch(
                f"The collection {name!r} holds vectors of the model {collection.model!r} "
                f"({collection.fingerprint[:12]}), but {engine.name!r} ({engine.fingerprint[:12]}) is "
                f"running, and vectors of two models cannot be compared. Run with the bundle of "
                f"{collection.model!r}, or embed its items anew into another collection: "
                f"`vicmae reembed -c {collection.name} --into NEWNAME`."
            )
        return collection

    def names(self) -> tuple[str, ...]:
        """Of all collections, damaged ones too."""
        if not self.folder.is_dir():
            return ()
        atomic.settle(self.folder)
        with storage_errors(f"{self.folder} cannot be read"):
            names = sorted(entry.name for entry in self.folder.iterdir())
        return tuple(name for name in names if COLLECTION_NAME.fullmatch(name) and self._exists(name))

    def survey(self) -> tuple[list[Collection], dict[str, str]]:
        """Every collection that can be opened, and for each other the reason by name.

        One that is dropped meanwhile is in neither.
        """
        opened: list[Collection] = []
        damaged: dict[str, str] = {}
        for name in self.names():
            try:
                opened.append(self.open(name))
            except StorageError as error:
                damaged[name] = str(error)
            except NotFound:
                continue
        return opened, damaged

    def drop(self, name: str) -> None:
        """Removes a collection with its vectors and uploads, a damaged one too; files of the user's stay.

        Raises NotFound, and Conflict for an alias, or while an alias names the collection.
        """
        with self._lock:
            own = self._real(check_name(name))
            if own != name:
                raise Conflict(
                    f"{name!r} is an alias of {own!r}. Remove the alias, or drop the collection by its own name."
                )
            if naming := self.aliases.of(name):
                raise Conflict(
                    f"The collection {name!r} is what {', '.join(map(repr, naming))} names. Point the alias at another "
                    "collection, or remove it, and drop then."
                )
            if not self._exists(name):
                raise NotFound(f"There is no collection {name!r}. {self._which()}")
            self._forget(name)
            with storage_errors(f"The collection {name!r} cannot be removed"):
                atomic.take_away(self.folder / name)
        atomic.sweep(self.folder)  # its bytes, while others go on

    def check_alias(self, alias: str) -> None:
        """InvalidRequest for an unusable name, Conflict when a collection has it itself."""
        if self._exists(check_name(alias)):
            raise Conflict(f"There is a collection {alias!r}; an alias needs a name that no collection has.")

    def set_alias(self, alias: str, name: str) -> bool:
        """Points an alias at the collection `name` (or that which the alias `name` names), in one step.

        Says whether the alias is new. Raises NotFound, and Conflict when a collection has that name itself.
        """
        with self._lock:
            target = self.open(name).name
            self.check_alias(alias)
            is_new = self.aliases.find(alias) is None
            self.aliases.set(alias, target)
            return is_new

    def adopt(self, folder: Path, name: str, force: bool = False) -> Collection:
        """Moves the folder of a complete collection, made below self.folder and closed, to its place under `name`.

        Conflict when there is one, unless `force`: then it is replaced. A kill leaves the old one or the new one.
        """
        place = self.folder / check_name(name)
        with storage_errors(f"The collection {name!r} cannot be put in place"):
            atomic.flush_all(folder)  # before the lock: searches go on meanwhile
            with self._lock:
                if (self._exists(name) and not force) or self._real(name) != name:
                    raise Conflict(f"The name {name!r} was taken in the meantime. Choose another name.")
                self._forget(name)
                atomic.replace(folder, place)
            atomic.sweep(self.folder)
        return self.open(name)

    def close(self) -> None:
        """Closes every open collection. Calling it twice is allowed."""
        with self._lock:
            opened, self._open = self._open, {}
        for collection in opened.values():
            collection.close()

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget(self, name: str) -> None:
        """Closes it, if it is open."""
        if name in self._open:
            self._open.pop(name).close()

    def _real(self, name: str) -> str:
        """The name of the collection that a name or alias means; the name itself when it means none."""
        if name in self._open or self._exists(name):
            return name
        return self.aliases.find(name) or name

    def _exists(self, name: str) -> bool:
        """Whether the collection was completed; a crash may have left an empty folder."""
        if name in self._open and not self._open[name].catalog.is_gone():
            return True
        atomic.settle(self.folder)
        try:
            with closing(Catalog(self.folder / name / CATALOG_FILE)) as catalog, catalog.read() as db:
                return read_identity(db) is not None
        except NotFound:
            return False
        except StorageError:  # damaged, but there: open() tells what is wrong with it
            return True

    def _which(self) -> str:
        names = self.names()
        if not names:
            return f"None exists in {self.data_dir} yet: `vicmae index PATH…` makes one."
        return f"These exist in {self.data_dir}: {', '.join(names)}."


def make_collection(folder: Path, name: str, engine: Engine | Model, source: str | None = None) -> None:
    """A collection without items in `folder`, unless it holds one already. Raises StorageError."""
    try:
        (folder / UPLOADS_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The collection {name!r} cannot be made in {folder.parent} ({error.strerror}). "
            "Give this user the right to write there, or choose another --data folder."
        ) from error
    with closing(Catalog(folder / CATALOG_FILE, create=True)) as catalog:
        write_identity(catalog, name, engine.name, engine.fingerprint, engine.spec, source)


def open_folder(
    folder: Path,
    options: IndexOptions | None = None,
    card: Card | None = None,
    cache: FramesCache | None = None,
) -> Collection:
    catalog = Catalog(folder / CATALOG_FILE)
    try:
        return Collection(catalog, options, card, cache)
    except BaseException:
        catalog.close()
        raise
