"""Work to be killed in: made operations on a library, told one by one when they are acknowledged.

`World` is what must be on disk; `deeds` gives operations without end, the same for the same seed and world; `steps`
says what each may leave when it is killed. Runs in forked children: knows no pytest.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from made_items import new_item
from made_pictures import jpegs_of
from made_queries import search_frame

from vicmae.index.backup.exchange import export_vectors, import_vectors
from vicmae.index.backup.snapshot import create, restore
from vicmae.index.catalog.items import NewItem
from vicmae.index.catalog.ledger import LedgerRow
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.vectors import ivf, merge_policy
from vicmae.index.vectors.plan import IndexOptions

SLOTS = 16
STEPS_ON_DISK = frozenset({"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "sqlite3.connect"})
Deed = tuple[Any, ...]


@dataclass(frozen=True)
class Made:
    """What an item holds: the seed of its vectors, how many, and its metadata."""

    seed: int
    frames: int
    metadata: dict[str, Any]
    is_upload: bool = False


Items = dict[str, Made]


@dataclass(frozen=True)
class World:
    """Everything that is acknowledged. The collection `c` is always there."""

    collections: dict[str, Items] = field(default_factory=lambda: {"c": {}})
    aliases: dict[str, str] = field(default_factory=dict)
    snapshots: dict[str, Items] = field(default_factory=dict)

    def with_items(self, name: str, items: Items | None) -> "World":
        rest = {known: held for known, held in self.collections.items() if known != name}
        return replace(self, collections=rest if items is None else {**rest, name: items})

    def with_item(self, item_id: str, made: Made | None) -> "World":
        items = {known: held for known, held in self.collections["c"].items() if known != item_id}
        return self.with_items("c", items if made is None else {**items, item_id: made})


def deeds(seed: int, world: World) -> Iterator[tuple[Deed, list[World]]]:
    """Operations, each with the worlds that it passes through; the last is that of its acknowledgement."""
    chance = Random(seed)
    while True:
        deed = _deed(chance, world)
        passed = steps(deed, world)
        yield deed, passed
        world = passed[-1]


def _deed(chance: Random, world: World) -> Deed:
    def made(is_upload: bool) -> Made:
        return Made(chance.randrange(10**6), chance.randint(1, 7), {"n": chance.randrange(9)}, is_upload)

    held = list(world.collections["c"])
    free = [f"s{slot}" for slot in range(SLOTS) if f"s{slot}" not in held]
    possible: list[Deed] = [("seal", False), ("seal", True), ("search",), ("fill",)]
    if free:
        batch = chance.sample(free, chance.randint(1, min(4, len(free))))
        possible += [("add", {slot: made(chance.random() < 0.3) for slot in batch})] * 4
    if held:
        one = chance.choice(held)
        possible += [("delete", one)] * 2
        possible += [("put", one, made(world.collections["c"][one].is_upload))] * 2
        possible += [("patch", one, {"p": chance.randrange(9)})] * 2
    possible.append(("alias", "now", chance.choice(list(world.collections))))
    name = f"{chance.randrange(10**9)}.tar"
    possible += [("snapshot", name)]
    if world.snapshots:
        possible += [("restore", chance.choice(list(world.snapshots)))]
    if "again" not in world.collections:
        possible += [("import",)]
    elif "again" not in world.aliases.values():
        possible += [("drop", "again")]
    return chance.choice(possible)


def steps(deed: Deed, world: World) -> list[World]:
    """The worlds after each transaction of the deed."""
    match deed:
        case ("add", items):
            passed = [world]
            for item_id, made in items.items():
                passed.append(passed[-1].with_item(item_id, made))
            return passed[1:]
        case ("put", item_id, made):
            return [world.with_item(item_id, made)]
        case ("delete", item_id):
            return [world.with_item(item_id, None)]
        case ("patch", item_id, patch):
            old = world.collections["c"][item_id]
            return [world.with_item(item_id, replace(old, metadata={**old.metadata, **patch}))]
        case ("alias", alias, name):
            return [replace(world, aliases={**world.aliases, alias: name})]
        case ("snapshot", name):
            return [replace(world, snapshots={**world.snapshots, name: world.collections["c"]})]
        case ("restore", name):
            return [world.with_items("c", world.snapshots[name])]
        case ("import",):
            items = world.collections["c"].items()
            return [world.with_items("again", {item_id: replace(made, is_upload=False) for item_id, made in items})]
        case ("drop", name):
            return [world.with_items(name, None)]
    return [world]


def do(deed: Deed, data: Path, library: Library) -> None:
    """The deed itself."""
    collection = library.open("c")
    match deed:
        case ("add", items):
            for item_id, made in items.items():
                put(collection, item_id, made)
        case ("put", item_id, made):
            put(collection, item_id, made)
        case ("fill",):
            fill(collection)
        case ("delete", item_id):
            collection.delete(item_id)
        case ("patch", item_id, patch):
            collection.merge_metadata(item_id, patch)
        case ("alias", alias, name):
            library.set_alias(alias, name)
        case ("snapshot", name):
            create(collection, data / "snapshots" / name)
        case ("restore", name):
            restore(library, data / "snapshots" / name, force=True)
        case ("import",):
            export_vectors(collection, data / "snapshots" / "c.npz")
            import_vectors(library, data / "snapshots" / "c.npz", "again")
        case ("drop", name):
            library.drop(name)
        case ("seal", everything):
            collection.index.seal(everything)
        case ("search",):
            search_frame(collection, new_item(1).vectors[0], 5)


def put(collection: Collection, item_id: str, made: Made) -> None:
    """The item, with pictures where has_pictures says so."""
    new, row = made_item(item_id, made, collection.uploads)
    collection.add(new, row, jpegs_of(new) if has_pictures(made) else None)


def has_pictures(made: Made) -> bool:
    """Before they are filled in."""
    return made.seed % 3 > 0


def fill(collection: Collection) -> None:
    """Gives pictures to the items that have none, as ingest/fill_pictures does of files."""
    for item_id in collection.pictures.lacking("", 1000):
        frames, item = collection.pictures.frames_of(item_id), collection.get(item_id)
        assert frames is not None
        jpegs = jpegs_of(new_item(int(item.sha256, 16), item.frames))
        collection.pictures.give(item_id, frames, jpegs)


def made_item(item_id: str, made: Made, uploads: Path) -> tuple[NewItem, LedgerRow]:
    """The item as it is stored, with its line in the ledger; the bytes of an upload are written."""
    size_bytes = 1 + made.seed % 1000
    if made.is_upload:
        path = uploads / f"{item_id}-{made.seed}"
        path.write_bytes(b"x" * size_bytes)
        uri = f"upload:{path.name}"
    else:
        path, uri = Path("/made") / item_id, f"file:///made/{item_id}"
    item = new_item(
        made.seed, made.frames, id=item_id, uri=uri, path=path, size_bytes=size_bytes, metadata=made.metadata
    )
    return item, LedgerRow(uri, size_bytes, 0, 2.0, "done", item_id=item_id)


def small_segments() -> None:
    """The index seals after a few rows, so that it does so often."""
    merge_policy.SEAL_ROWS, ivf.LEAST_ROWS = 25, 10**9


def endless(data: Path, seed: int, world: World, told: Connection) -> None:
    """Deeds until it is killed; a byte is sent when it begins and after each."""
    small_segments()
    with Library(data, IndexOptions(background=seed % 2 == 0)) as library:
        told.send_bytes(b".")
        for deed, _ in deeds(seed, world):
            do(deed, data, library)
            told.send_bytes(b".")


def killed_at(data: Path, deed: Deed, event: int) -> None:
    """One deed, killed just before its so manieth step on the disk; exits with 0 when it has fewer."""
    small_segments()
    left = event

    def count(name: str, _: tuple[Any, ...]) -> None:
        nonlocal left
        if name in STEPS_ON_DISK:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    with closing(Library(data)) as library:
        library.open("c")
        sys.addaudithook(count)
        do(deed, data, library)
        left = 10**9
