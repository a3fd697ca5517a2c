"""Snapshots of collections, and what a verification found."""

from pydantic import BaseModel, Field

from .base import Request


class Verdict(BaseModel):
    """Whether all parts agree; each fault is a sentence, notes are worth knowing and no faults."""

    is_well: bool
    counts: dict[str, int]
    faults: list[str]
    notes: list[str]


class Snapshot(BaseModel):
    """A collection in one file; items and frames as it says itself."""

    name: str
    size_bytes: int
    collection: str
    model: str
    fingerprint: str
    items: int
    frames: int
    created_at: str


class Snapshots(BaseModel):
    data: list[Snapshot]


class RestoreRequest(Request):
    snapshot: str = Field(description="its name, as GET /v1/snapshots gives it")
    collection: str | None = Field(None, description="restore under this name; its own unless given")
    force: bool = Field(False, description="replace a collection of that name")
