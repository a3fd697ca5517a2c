"""The catalog: one SQLite file a collection, the one source of truth, and the only place with SQL.

Items and their frames, the ledger of files, jobs, dismissals, and filters. Knows nothing else of the index. Outsiders
hold a Catalog, and within read() or write() a Transaction that they hand on and never look into: another database can
stand behind these functions.
"""

from . import frames, item_table, items, jobs
from .answers import Answers
from .copying import copy_catalog, read_copy
from .database import CATALOG_FILE, Catalog, Transaction, now
from .dismissals import copy_dismissed, dismiss, dismissed, dismissed_items, is_dismissed, undo
from .filters import Filter, parse_filter, read_filter
from .frames import (
    count_between,
    count_vectors,
    first_vector_ids,
    frame_columns,
    removed_after,
    trim_removed,
    vector_ids,
    vectors_between,
    vectors_with_ids,
    version,
)
from .identity import read_identity, rename, write_identity
from .integrity import NAMED, row_counts, row_faults, vector_faults
from .item_table import count_items, item_columns, longest_uri, upload_names
from .items import UPLOADS_FOLDER, Item, Moments, NewItem, check_item_id, default_item_id
from .jobs import JobState, list_jobs
from .ledger import LedgerRow, forget, read_ledger, record
from .metadata import storable
from .packing import halves, unit_length, unpack_rows, unpack_vectors

__all__ = [
    "Answers",
    "CATALOG_FILE",
    "Catalog",
    "Filter",
    "Item",
    "JobState",
    "LedgerRow",
    "Moments",
    "NAMED",
    "NewItem",
    "Transaction",
    "UPLOADS_FOLDER",
    "check_item_id",
    "copy_catalog",
    "copy_dismissed",
    "count_between",
    "count_items",
    "count_vectors",
    "default_item_id",
    "dismiss",
    "dismissed",
    "dismissed_items",
    "first_vector_ids",
    "forget",
    "frame_columns",
    "frames",
    "halves",
    "is_dismissed",
    "item_columns",
    "item_table",
    "items",
    "jobs",
    "list_jobs",
    "longest_uri",
    "now",
    "parse_filter",
    "read_copy",
    "read_filter",
    "read_identity",
    "read_ledger",
    "record",
    "removed_after",
    "rename",
    "row_counts",
    "row_faults",
    "storable",
    "trim_removed",
    "undo",
    "unit_length",
    "unpack_rows",
    "unpack_vectors",
    "upload_names",
    "vector_faults",
    "vector_ids",
    "vectors_between",
    "vectors_with_ids",
    "version",
    "write_identity",
]
