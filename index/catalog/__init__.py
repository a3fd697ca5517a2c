"""The catalog: one SQLite file a collection, the one source of truth, and the only place with SQL.

Items and their frames, the ledger of files, jobs, dismissals, and filters. Knows nothing else of the index. Outsiders
hold a Catalog, and within read() or write() a Transaction that they hand on and never look into: another database can
stand behind these functions.
"""

from . import frames, item_table, items, jobs
from .answers import Answers
from .database import CATALOG_FILE, Catalog, Transaction, copy_catalog, now, read_copy
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
from .item_table import Leftover, count_items, item_columns, longest_uri, upload_names
from .items import UPLOADS_FOLDER, Item, Moments, NewItem, PictureFile, check_item_id, default_item_id
from .jobs import JobState, count_jobs
from .ledger import LedgerRow, forget, read_ledger, record
from .metadata import merged, storable
from .packing import halves, unit_length, unpack_rows, unpack_vectors
from .pictures import (
    forget_pictures,
    give_pictures,
    ids_without_pictures,
    named_pictures,
    picture_bytes,
    picture_files,
    picture_pages,
    picture_tokens,
)
