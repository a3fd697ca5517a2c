"""The catalog: one SQLite file a collection, the one source of truth.

Items and their frames, the ledger of files, jobs, dismissals, and filters as SQL. Knows nothing else of the index.
"""

from .database import Catalog
from .filters import Filter, parse_filter, read_filter
from .items import Item, NewItem
from .ledger import LedgerRow, read_ledger

__all__ = ["Catalog", "Filter", "Item", "LedgerRow", "NewItem", "parse_filter", "read_filter", "read_ledger"]
