"""Items, their metadata, and scanning a folder for them."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, JsonValue

from ...index.catalog import storable
from ...media.sampling import Sampling
from .base import Kind, Request

Metadata = Annotated[dict[str, JsonValue], AfterValidator(storable)]


class ItemSummary(BaseModel):
    """What is said of an item wherever it is shown."""

    id: str
    uri: str
    name: str
    kind: Kind
    mime: str
    size_bytes: int
    width: int
    height: int
    duration_seconds: float
    thumbnail_url: str
    media_url: str


class Item(ItemSummary):
    sampling: Sampling = Field(description="which frames of a video were embedded")
    frames: int = Field(description="vectors kept; frames that look the same to the model share one")
    sha256: str
    metadata: dict[str, Any]
    created_at: str
    note: str | None = Field(
        None,
        description="how it is less than was asked for: the file is incomplete, or so long that it is sampled thinly",
    )


class Items(BaseModel):
    data: list[Item]
    next_cursor: str | None = Field(description="give it back as ?cursor= for the next page; null on the last one")


class ItemChange(Request):
    """RFC 7396 (application/merge-patch+json): what is given is changed, null removes, the rest stays."""

    metadata: Metadata | None


class ScanRequest(Request):
    """A folder or file of the server's machine below one of its library roots."""

    path: str = Field(min_length=1, max_length=4096, description="absolute, or below the only library root")
    retry: bool = Field(False, description="read files again that could not be read before")
