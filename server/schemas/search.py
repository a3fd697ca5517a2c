"""Searching, aligning and explaining: what is asked, and what was found."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, FiniteFloat, JsonValue

from .base import Kind, Request, Seconds, Timing

Target = Literal["frame", "clip"]
Quad = list[tuple[float, float]]


def _parted(value: Any) -> Any:
    """A form carries the four numbers as text."""
    return [float(part) for part in value.split(",")] if isinstance(value, str) else value


Shares = Annotated[
    list[Annotated[float, Field(ge=0, le=1)]], BeforeValidator(_parted), Field(min_length=4, max_length=4)
]


class SearchRequest(Request):
    """Exactly one of item, embedding and image says what to look for; `query` may hold it instead."""

    query: dict[str, JsonValue] | None = Field(None, description="the same fields, wrapped")
    item: str | None = Field(None, description="id of an item of the collection: find what is similar to it")
    embedding: list[FiniteFloat] | None = Field(None, description="a vector of the collection's dimension")
    image: JsonValue = Field(None, description="a data URL of a picture or a short clip")
    start_seconds: Seconds | None = Field(None, description="look only for this part of the item or clip")
    end_seconds: Seconds | None = None
    target: Target | None = Field(
        None, description="frame: the one best moment of each item; clip: stretches aligned in time"
    )
    limit: int = Field(10, ge=1)
    region: Shares | None = Field(
        None, description="left, top, right, bottom: the part of the picture or clip that is looked for, shares of it"
    )
    verify: bool = Field(
        True,
        validation_alias=AliasChoices("verify", "refine"),
        description="look at the best hits, and at parts of the picture: tells what is the same picture and where, and "
        "the exact frame; else vectors alone tell. Its old name, refine, is taken too",
    )
    exact: bool = Field(False, description="compare every vector, however many there are")
    min_recall: float | None = Field(
        None, description="no longer taken: leave it out", json_schema_extra={"deprecated": True}
    )
    filter: JsonValue = Field(None, description="a Filter; its faults are told with their place")
    cursor: str | None = Field(
        None, description="next_cursor of the page before, with the same question; limit may change"
    )


class Segment(BaseModel):
    """A stretch of the query and the stretch of the item that it matches."""

    query_start_seconds: float
    query_end_seconds: float
    start_seconds: float
    end_seconds: float
    score: float = Field(description="the mean cosine times the share of the query that is covered")
    likeness: float = Field(description="0 as alike as any two frames of the collection, 1 identical")
    confidence: float | None = Field(
        description="0 to 1: the chance that both show the same footage; null: the model was never calibrated"
    )
    speed: float = Field(description="seconds of the item in one second of the query; 1.5: the query runs faster")
    mirrored: bool = Field(description="whether left and right are exchanged; as pixels say, where they were looked at")
    inset: bool = Field(description="whether the item runs as a small film within the query's pictures")
    verified: bool | None = Field(
        None, description="whether pictures of both are the same; null: they were not, or could not be, looked at"
    )


class Hit(BaseModel):
    id: str
    uri: str
    name: str
    kind: Kind
    mime: str
    score: float = Field(description="cosine, at most 1")
    confidence: float | None = Field(
        description="0 to 1: the chance that this is where the query was seen; null: the model was never calibrated"
    )
    verified: bool | None = Field(
        None,
        description="true: it was looked at and is the same picture or footage; false: it was looked at and is not; "
        "null: it was not, or could not be, looked at",
    )
    mirrored: bool = Field(False, description="whether left and right are exchanged, as pictures say")
    region: Quad | None = Field(
        None, description="the part of the item's picture that was found, four corners (x, y) in 0..1, where verified"
    )
    query_region: Quad | None = Field(
        None, description="where in the picture that was sent it is: corner by corner what region is"
    )
    differs: list[Quad] = Field([], description="where the contents differ, in the item's picture; largest first")
    start_seconds: float
    end_seconds: float
    segments: list[Segment]
    metadata: dict[str, Any]
    thumbnail_url: str
    media_url: str


class SearchAnswer(BaseModel):
    data: list[Hit]
    found: bool | None = Field(
        None, description="whether any hit is likely what was looked for; null: nothing was looked at to tell"
    )
    plan: dict[str, Any] = Field(
        description="how it was found: target, query_frames, index (exact, ivf, catalog), segments, vectors, width "
        "(lists searched, 0 where every vector was compared), recall_estimate (measured when segments were built), and "
        "under a filter how many vectors were allowed; and a note where nothing says how sure a hit is"
    )
    timing: Timing
    next_cursor: str | None = Field(
        None, description="for the next page of the same ranking, whatever is added or deleted; null on the last one"
    )


class AlignRequest(Request):
    """Two items, and which part of each; without a part all of it."""

    a: str
    b: str
    a_start_seconds: Seconds = 0.0
    a_end_seconds: Seconds | None = None
    b_start_seconds: Seconds = 0.0
    b_end_seconds: Seconds | None = None


class AlignAnswer(BaseModel):
    """The stretches that a (the query's side) and b share, best first; none when nothing runs along."""

    a: str
    b: str
    segments: list[Segment]
    timing: dict[str, float]


class ExplainRequest(Request):
    """What was looked for (exactly one of item and image; or a file, as multipart) and the hit to compare it with."""

    item: str | None = Field(None, description="id of the item that was looked for")
    image: JsonValue = Field(None, description="a data URL of the picture or clip that was looked for")
    seconds: Seconds = Field(0.0, description="the moment of it, for a video")
    hit: str = Field(description="id of the item that was found")
    hit_seconds: Seconds = Field(0.0, description="the moment at which it was found, for a video")


class ExplainedSide(BaseModel):
    grid: list[list[float]] = Field(description="0..1 for each patch, row by row: how well the other picture holds it")
    overlay: str = Field(description="a data URL: the picture in grey under its heat, as PNG")


class Explanation(BaseModel):
    score: float = Field(description="cosine of the two frames, at most 1")
    query: ExplainedSide
    hit: ExplainedSide
    timing: Timing
