"""The shapes of requests and answers, as /openapi.json states them. Shapes only: no behaviour, no storage.

Requests refuse unknown fields, so that a misspelt name never passes silently.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, JsonValue

from ..index.catalog.metadata import storable
from ..media.sampling import Sampling

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Target = Literal["frame", "clip"]
EncodingFormat = Literal["float", "base64"]


Metadata = Annotated[dict[str, JsonValue], AfterValidator(storable)]


class Request(BaseModel):
    """The base of every JSON request."""

    model_config = ConfigDict(extra="forbid")


class EmbeddingsRequest(Request):
    """OpenAI's shape, with pictures and short clips as data URLs in place of text."""

    input: JsonValue = Field(
        description='a data URL (data:image/jpeg;base64,… or data:video/mp4;base64,…), an address ({"url": …}, where '
        "the server fetches from its host), or a list of them",
        examples=[["data:image/jpeg;base64,/9j/4AAQ…"]],
    )
    model: str | None = Field(None, description="the served model's name; may be left out")
    encoding_format: EncodingFormat = Field("float", description="base64 gives little-endian float32")
    dimensions: int | None = Field(None, description="accepted only when it is the model's own dimension")
    user: str | None = Field(None, description="accepted and ignored, for OpenAI clients")


class FrameEmbedding(BaseModel):
    """One sampled frame of a clip."""

    start_seconds: float
    embedding: list[float] | str


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    kind: Literal["image", "video"]
    frames: list[FrameEmbedding] | None = Field(None, description="only where the request asked for frames")


class EmbeddingsUsage(BaseModel):
    prompt_tokens: int = 0
    total_tokens: int = 0
    images: int
    frames: int = Field(description="pictures that went through the model, frames of clips included")


class Timing(BaseModel):
    """Milliseconds at each station of the request's trip."""

    decode_ms: float
    queue_ms: float
    engine_ms: float
    index_ms: float
    refine_ms: float


class Embeddings(BaseModel):
    """OpenAI's list of embeddings, unit length; a clip's is the normalised mean of its frames'."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
    timing: Timing


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "vicmae"
    fingerprint: str = Field(description="vectors are comparable exactly when their fingerprints are equal")
    dim: int
    size: int
    runtime: str = Field(description="what computes the vectors, such as onnxruntime")
    device: str
    precision: str
    explains: bool = Field(description="whether it gives the patch tokens that explanations are made of")


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


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
    queries_compared: int = Field(description="searches since the server's start that were checked with every vector")
    queries_recall: float | None = Field(description="share of the nearest vectors that is found of those; null: none")


class DamagedCollection(BaseModel):
    """A collection that is there and cannot be opened or read; it can be replaced by a snapshot, or deleted."""

    name: str
    reason: str = Field(description="what is wrong, and what to do")


class Collections(BaseModel):
    data: list[Collection]
    damaged: list[DamagedCollection] = Field(default_factory=list)


class ReembedRequest(Request):
    into: str = Field(description="the new collection; one that was begun before is gone on with")
    alias: str | None = Field(None, description="a name that shall mean the new collection when it is complete")


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


class AliasTarget(Request):
    collection: str = Field(description="the collection, or another alias of it")


class Alias(BaseModel):
    alias: str
    collection: str


class Aliases(BaseModel):
    data: list[Alias]


class Item(BaseModel):
    id: str
    uri: str
    name: str
    kind: Literal["image", "video"]
    mime: str
    size_bytes: int
    width: int
    height: int
    duration_seconds: float
    sampling: Sampling = Field(description="which frames of a video were embedded")
    frames: int = Field(description="vectors kept; frames that look the same to the model share one")
    sha256: str
    metadata: dict[str, Any]
    created_at: str
    thumbnail_url: str
    media_url: str


class Items(BaseModel):
    data: list[Item]
    next_cursor: str | None = Field(description="give it back as ?cursor= for the next page; null on the last one")


class ItemChange(Request):
    """RFC 7396 (application/merge-patch+json): what is given is changed, null removes, the rest stays."""

    metadata: Metadata | None


class Match(Request):
    """Exactly one of them; of a list in the metadata one element that fits is enough."""

    value: str | float | bool | None = Field(None, description="equal to it")
    any: list[str | float | bool] | None = Field(None, description="equal to one of them")
    prefix: str | None = Field(None, description="a text that begins so")


class Range(Request):
    """Bounds as numbers, or as RFC 3339 dates (UTC where no offset is given)."""

    gt: float | str | None = None
    gte: float | str | None = None
    lt: float | str | None = None
    lte: float | str | None = None


class FilterKey(Request):
    key: str


class Condition(Request):
    """A key with match or range; or is_empty alone; or, in its place, a Filter.

    Keys: id, uri, path, name, kind, mime, sha256, created_at, duration_seconds, width, height, size_bytes,
    and metadata.NAME, with dots for what lies deeper.
    """

    key: str | None = None
    match: Match | None = None
    range: Range | None = None
    is_empty: FilterKey | None = Field(None, description="missing, null or an empty list")


class Filter(Request):
    """All of must, at least one of should (where there is any), none of must_not. Qdrant's grammar."""

    must: "list[Condition | Filter]" = []
    should: "list[Condition | Filter]" = []
    must_not: "list[Condition | Filter]" = []


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
    refine: bool = Field(
        True, description="compare pixels around the best hits of a picture: tells copies apart, names the exact frame"
    )
    exact: bool = Field(False, description="compare every vector, however many there are")
    min_recall: float | None = Field(
        None, ge=0, le=1, description="share of the true nearest vectors that must be found; the server's own if null"
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
    confidence: float = Field(description="0 to 1: the chance that both show the same footage")
    speed: float = Field(description="seconds of the item in one second of the query; 1.5: the query runs faster")
    mirrored: bool = Field(description="whether left and right are exchanged; as pixels say, where they were looked at")
    inset: bool = Field(description="whether the item runs as a small film within the query's pictures")


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


class DuplicatePair(BaseModel):
    """Two items and what they share; a is the query's side of the segments."""

    a: str
    b: str
    kind: Literal["exact", "copy", "subclip", "intro", "credits", "overlap"]
    variant: Literal["same", "letterbox", "crop", "mirrored"] | None = Field(
        description="how the pictures differ; null when the files could not be read to tell"
    )
    likeness: float
    segments: list[Segment]


class DuplicateGroup(BaseModel):
    items: list[str]
    pairs: list[DuplicatePair]


class DuplicateItem(BaseModel):
    id: str
    uri: str
    name: str
    kind: Literal["image", "video"]
    mime: str
    size_bytes: int
    width: int
    height: int
    duration_seconds: float
    thumbnail_url: str
    media_url: str


class Duplicates(BaseModel):
    """groups hang together by duplicates; shared are pairs with the same intro, credits or a stretch in common."""

    collection: str
    items: dict[str, DuplicateItem]
    groups: list[DuplicateGroup]
    shared: list[DuplicatePair]
    compared_pairs: int
    dismissed_pairs: int


class Dismissal(Request):
    """Two items that are no duplicates of one another, whatever the report says."""

    a: str
    b: str


class DismissedItem(BaseModel):
    id: str
    name: str


class DismissedPair(BaseModel):
    a: DismissedItem
    b: DismissedItem


class Dismissals(BaseModel):
    """Pairs that a person called no duplicates, the newest first."""

    data: list[DismissedPair]


class Hit(BaseModel):
    id: str
    uri: str
    name: str
    kind: Literal["image", "video"]
    mime: str
    score: float = Field(description="cosine, at most 1")
    confidence: float = Field(description="0 to 1: the chance that this is where the query was seen")
    start_seconds: float
    end_seconds: float
    segments: list[Segment]
    metadata: dict[str, Any]
    thumbnail_url: str
    media_url: str


class SearchAnswer(BaseModel):
    data: list[Hit]
    plan: dict[str, Any] = Field(
        description="how it was found: target, query_frames, index (exact, ivf, hnsw), segments, vectors, candidates, "
        "width (lists probed or paths kept), recall_estimate, measured_on (queries: what people asked; sealing: the "
        "collection's own vectors), and under a filter how many vectors were allowed"
    )
    timing: Timing
    next_cursor: str | None = Field(
        None, description="for the next page of the same ranking, whatever is added or deleted; null on the last one"
    )


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


class ScanRequest(Request):
    """A folder or file of the server's machine below one of its library roots."""

    path: str = Field(min_length=1, max_length=4096, description="absolute, or below the only library root")
    retry: bool = Field(False, description="read files again that could not be read before")


class Progress(BaseModel):
    done: int
    total: int
    unit: str


class Job(BaseModel):
    id: str
    kind: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    progress: Progress
    collection: str
    name: str | None = Field(description="the file's name as its sender gave it")
    item_id: str | None
    stage: str | None = Field(description="what is being done: embed; or candidates, align, look")
    result_url: str | None = Field(description="where the report of a finished job is: duplicates, reembed")
    error: str | None
    created_at: str
    updated_at: str


class Jobs(BaseModel):
    data: list[Job]


class Accepted(BaseModel):
    """Work that goes on in the background: a video, a search for duplicates, a collection embedded anew."""

    job: Job


class Problem(BaseModel):
    """RFC 9457 application/problem+json: the shape of every error."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str | None = None
    limit: str | None = Field(None, description="the setting whose limit was met, such as max_pixels")
