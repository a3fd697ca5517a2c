"""How much the collections hold and how many jobs there are, counted when Prometheus asks."""

import logging
from collections import Counter
from typing import get_args

from ...errors import StorageError
from ...index.catalog import JobState, count_jobs
from ...index.library import Library
from .metrics import LibraryCounts

log = logging.getLogger("vicmae.server")

COUNTED = (
    "items",
    "images",
    "videos",
    "frames",
    "video_seconds",
    "size_bytes",
    "failed_files",
    "picture_bytes",
    "without_pictures",
)


def library_counts(library: Library) -> LibraryCounts:
    """The collections and jobs as they are now."""
    opened, _ = library.survey()
    collections: dict[str, dict[str, float]] = {}
    states: Counter[JobState] = Counter()
    for each in opened:
        try:
            stats = each.stats()
            states.update(count_jobs(each.catalog))
        except StorageError as error:
            log.warning("the collection %r is not counted: %s", each.name, error)
            continue
        collections[each.name] = {name: float(number) for name, number in stats.items() if name in COUNTED}
    return LibraryCounts(collections, {state: states[state] for state in get_args(JobState)})
