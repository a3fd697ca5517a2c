"""A collection as files to keep or to take elsewhere: snapshots, verification, exchange with other tools."""

from . import snapshot
from .exchange import export_to, export_vectors, import_vectors
from .exchange_rows import Form, form_of
from .manifest import read_manifest
from .snapshot import create, restore, verify_snapshot
from .verify import Verdict, verify
