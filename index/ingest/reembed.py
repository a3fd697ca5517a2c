"""Re-embedding: the items of a collection once more, by the running model, into a new collection beside it.

The old one stays as it is, and is searched where its own model runs, until an alias is switched. What is done is on
disk: after a kill the same call goes on where it was. Files that are gone are named, and stop nothing.

Where an item has stored pictures, at least as large as the new model's input, they are embedded and its file is not
opened, so that this works while a drive is away: the new model then sees the frames that the old one told apart.
"""

from collections import defaultdict
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...errors import Conflict
from ...export.engine import Engine
from ...media.sampling import Sampling
from ...media.spec import InputSpec
from ..atomic import link_or_copy
from ..catalog import Item, LedgerRow, copy_dismissed, read_ledger
from ..collection import Collection
from ..library import Library
from ..paths import is_gone, printable, storage_errors
from ..pictures import shown_size
from .options import IngestOptions
from .pipeline import ingest_many
from .reader import Stored, Task
from .report import Failure
from .write import Outcome

PAGE = 500  # items looked at together


@dataclass
class Tally:
    """What became of the items so far. `done` counts those that are in the new collection, also from earlier runs."""

    total: int = 0
    done: int = 0
    gone: list[Path] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    @property
    def seen(self) -> int:
        return self.done + len(self.gone) + len(self.failed)

    def count(self, outcome: Outcome) -> None:
        """Adds what became of one item."""
        if outcome.state == "failed":
            self.failed.append(Failure.of(outcome.path, outcome))
        else:
            self.done += 1

    def lines(self) -> list[str]:
        """For people: the counts, then a line for each file that is not in."""
        told = f"{self.done} of {self.total} items embedded, {len(self.gone)} gone, {len(self.failed)} failed"
        gone = [f"{printable(path)}: The file is no longer there." for path in self.gone]
        return [told, *gone, *(f"{printable(failure.path)}: {failure.reason}" for failure in self.failed)]

    def to_dict(self) -> dict[str, Any]:
        return {
            "items": self.total,
            "embedded": self.done,
            "gone": [printable(path) for path in self.gone],
            "failed": [failure.to_dict() for failure in self.failed],
        }


def open_both(
    library: Library, name: str, into: str, engine: Engine, alias: str | None = None
) -> tuple[Collection, Collection]:
    """The collection to embed anew and the one to embed into, made if need be.

    Conflict when there is nothing to do, when `into` holds something else, or when the alias cannot be had.
    """
    source = library.open(name)
    if source.fingerprint == engine.fingerprint:
        raise Conflict(
            f"The collection {source.name!r} holds vectors of the running model {engine.name!r} already. Run with the "
            "bundle of the model to embed with: --bundle DIR."
        )
    if alias is not None:
        library.check_alias(alias)
    target = library.create(into, engine, source=source.name)
    if target.name != into or target.source != source.name:
        raise Conflict(
            f"{into!r} exists and is no re-embedding of {source.name!r}. Choose a name that no collection has."
        )
    return source, target


def reembed(
    source: Collection,
    target: Collection,
    engine: Engine,
    options: IngestOptions | None = None,
    from_files: bool = False,
) -> Generator[Tally, None, None]:
    """Embeds what the target lacks; gives the growing tally after each item, the first time before any.

    Ids, metadata, ages, sampling and dismissed pairs stay; uploaded files become the target's own. What comes into the
    source in the meantime is taken too, and what leaves it leaves the target. Closing the generator stops the work.
    options: limits and decoder; items are sampled as they were. from_files: also where there are stored pictures.
    """
    options = options or IngestOptions()
    tally = Tally(total=source.count())
    failures = {uri: row for uri, row in read_ledger(target.catalog).items() if row.state == "failed"}
    mtimes = {} if from_files else {uri: row.mtime_ns for uri, row in read_ledger(source.catalog).items()}
    tried: set[tuple[str, str]] = set()
    yield tally
    while True:
        before = len(tried)
        for page in source.pages(PAGE):
            new = [item for item in page if (item.id, item.sha256) not in tried]
            tried.update((item.id, item.sha256) for item in new)
            stored = {} if from_files else _stored(new, source, target, mtimes)
            for (rate, sampling), tasks in _todo(new, source, target, stored, failures, tally).items():
                run = ingest_many(target, engine, tasks, replace(options, frames_per_second=rate, sampling=sampling))
                with closing(run):
                    for outcome in run:
                        tally.count(outcome)
                        yield tally
        if len(tried) == before:
            break
        tally.total = max(source.count(), tally.seen)
    _follow_deletions(source, target, [item_id for item_id, _ in tried])
    copy_dismissed(source.catalog, target.catalog)
    yield tally


def _todo(
    items: list[Item],
    source: Collection,
    target: Collection,
    stored: dict[str, Stored],
    failures: dict[str, LedgerRow],
    tally: Tally,
) -> dict[tuple[float, Sampling], list[Task]]:
    """The items to embed, by frame rate and sampling; the others are counted in the tally."""
    there = target.get_many([item.id for item in items])
    todo: dict[tuple[float, Sampling], list[Task]] = defaultdict(list)
    for item in items:
        if item.id in there and there[item.id].sha256 == item.sha256:
            tally.done += 1
        elif item.id in stored:
            task = replace(_task(source, target, item), stored=stored[item.id])
            todo[item.frames_per_second, item.sampling].append(task)
        elif is_gone(item.path):
            tally.gone.append(item.path)
        elif failure := _remembered(failures.get(item.uri), item.path):
            tally.failed.append(failure)
        else:
            todo[item.frames_per_second, item.sampling].append(_task(source, target, item))
    return todo


def _stored(items: list[Item], source: Collection, target: Collection, mtimes: dict[str, int]) -> dict[str, Stored]:
    """By id, the items that have stored pictures large enough for the target's model."""
    have = source.pictures.which([item.id for item in items])
    return {
        item.id: Stored(source, item, mtimes.get(item.uri, 0))
        for item in items
        if item.id in have and _is_enough(item, target.spec) and not (_is_upload(source, item) and is_gone(item.path))
    }


def _is_enough(item: Item, spec: InputSpec) -> bool:
    """Whether the stored picture is as large as the input, or the original is no larger either."""
    size = shown_size(item.width, item.height)
    side = max(size) if spec.fit == "pad" else min(size)
    return side >= spec.size or size == (item.width, item.height)


def switch(library: Library, target: Collection, alias: str, tally: Tally) -> None:
    """Points the alias at the new collection. Conflict when nothing at all could be embedded."""
    if tally.total and not tally.done:
        raise Conflict(
            f"None of {tally.total} items could be embedded, so {alias!r} stays where it is. Are the files reachable?"
        )
    library.set_alias(alias, target.name)


def _remembered(row: LedgerRow | None, path: Path) -> Failure | None:
    """The failure of an earlier run, if the file is still what failed then."""
    if row is None:
        return None
    try:
        now = path.stat()
    except OSError:
        return None
    if (row.size_bytes, row.mtime_ns) != (now.st_size, now.st_mtime_ns):
        return None
    return Failure.of(path, row)


def _task(source: Collection, target: Collection, item: Item) -> Task:
    """An item to embed, under its own names; an uploaded file becomes the target's own."""
    path = item.path
    if _is_upload(source, item):
        path = target.uploads / item.path.name
        with storage_errors(f"The upload {path.name} cannot be copied"):
            link_or_copy(item.path, path)
    return Task(path, item.uri, item.name, item.id, item.metadata, item.created_at)


def _is_upload(source: Collection, item: Item) -> bool:
    return item.path.is_relative_to(source.uploads)


def _follow_deletions(source: Collection, target: Collection, item_ids: list[str]) -> None:
    """Removes from the target what was deleted from the source while it was embedded."""
    for first in range(0, len(item_ids), PAGE):
        part = item_ids[first : first + PAGE]
        here, there = source.get_many(part), target.get_many(part)
        for item_id in there.keys() - here.keys():
            target.delete(item_id)
