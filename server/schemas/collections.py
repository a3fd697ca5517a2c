"""Collections, their aliases, and re-embedding one."""

from pydantic import BaseModel, Field

from .base import Request


class Collection(BaseModel):
    name: str
    model: str
    fingerprint: str
    searchable: bool = Field(description="whether the running model can search it")
    aliases: list[str] = Field(description="its other names")
    created_at: str
    items: int
    images: int
    videos: int
    frames: int
    video_seconds: float
    size_bytes: int
    failed_files: int
    picture_bytes: int = Field(description="of the stored pictures")
    without_pictures: int = Field(description="items that have no stored pictures; their files are read instead")


class DamagedCollection(BaseModel):
    """A collection that is there and cannot be opened or read; it can be replaced by a snapshot, or deleted."""

    name: str
    reason: str = Field(description="what is wrong, and what to do")


class Collections(BaseModel):
    data: list[Collection]
    damaged: list[DamagedCollection] = Field(default_factory=list)


class AliasTarget(Request):
    collection: str = Field(description="the collection, or another alias of it")


class Alias(BaseModel):
    alias: str
    collection: str


class Aliases(BaseModel):
    data: list[Alias]


class ReembedRequest(Request):
    into: str = Field(description="the new collection; one that was begun before is gone on with")
    alias: str | None = Field(None, description="a name that shall mean the new collection when it is complete")
    from_files: bool = Field(False, description="read the original files also where pictures are stored")


class FailedFile(BaseModel):
    path: str
    stage: str
    reason: str


class Reembedding(BaseModel):
    """What became of the items of a collection that was embedded anew."""

    source: str
    into: str
    alias: str | None
    items: int
    embedded: int
    gone: list[str] = Field(description="files that are no longer there")
    failed: list[FailedFile]
