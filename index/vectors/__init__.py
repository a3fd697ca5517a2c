"""The nearest vectors: sealed segments and a memtable over the vector ids of the catalog.

Derived from the catalog, and made again from it when damaged. Knows ids and vectors, and no items.
"""

from .gpu import Card, open_card
from .id_ranges import Allowed, allowed_of
from .index import VectorIndex
from .plan import Effort, IndexOptions
