"""What a collection is: its one row in the catalog, written when it is made."""

import json
from dataclasses import dataclass

from ...media.spec import InputSpec
from .database import Catalog, Transaction, now


@dataclass(frozen=True)
class Identity:
    """Name of the collection, and the model whose vectors it holds. source: what it is a re-embedding of, if it is."""

    name: str
    model: str
    fingerprint: str
    spec: InputSpec
    created_at: str
    source: str | None


def write_identity(
    catalog: Catalog, name: str, model: str, fingerprint: str, spec: InputSpec, source: str | None = None
) -> None:
    """Makes a catalog that of a collection; one that is so already stays what it is."""
    with catalog.write() as db:
        db.execute(
            "INSERT INTO collection (name, model, fingerprint, spec, created_at, source) "
            "SELECT ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM collection)",
            (name, model, fingerprint, json.dumps(spec.to_dict()), now(), source),
        )


def read_identity(db: Transaction) -> Identity | None:
    """None: the collection was never completed."""
    row = db.execute("SELECT name, model, fingerprint, spec, created_at, source FROM collection").fetchone()
    if row is None:
        return None
    name, model, fingerprint, spec, created_at, source = row
    return Identity(name, model, fingerprint, InputSpec.from_dict(json.loads(spec)), created_at, source)


def rename(catalog: Catalog, name: str) -> None:
    """Gives the collection another name."""
    with catalog.write() as db:
        db.execute("UPDATE collection SET name = ?", (name,))
