"""A collection as files to keep or to take elsewhere: snapshots, verification, exchange with other tools."""

from . import snapshot
from .exchange import export_to, export_vectors, import_vectors
from .exchange_rows import Form, form_of
from .manifest import manifest_dict, read_manifest
from .snapshot import create, restore, verify_snapshot
from .verify import Verdict, verify

__all__ = [
    "Form",
    "Verdict",
    "create",
    "export_to",
    "export_vectors",
    "form_of",
    "import_vectors",
    "manifest_dict",
    "read_manifest",
    "restore",
    "snapshot",
    "verify",
    "verify_snapshot",
]
