"""The requests that the API takes, as values: what to send, and how to read the answer. Sends nothing itself.

client.py sends them, blocking or with asyncio. The server's problems are raised as the classes of errors.py that they
came from.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, Literal, TypeVar, cast, get_args
from urllib.parse import quote
from uuid import uuid4

import httpx
import numpy as np
from numpy.typing import NDArray

from ... import errors
from ..problems import KINDS, TYPE_PREFIX
from ..schemas.collections import Collection, Collections
from ..schemas.items import Item, Items
from ..schemas.jobs import Accepted, Job
from ..schemas.models import Model, Models
from ..schemas.search import SearchAnswer, Target

T = TypeVar("T")
ExportForm = Literal["npz", "parquet"]
DEFAULT = "default"  # the collection that every server has
OnProgress = Callable[[int, int], None]  # bytes sent, bytes in all

_CLASSES = {TYPE_PREFIX + kind.slug: error for error, kind in KINDS.items()}
_OF_STATUS: Mapping[int, type[errors.VicmaeError]] = {
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.MediaTooLarge,
    503: errors.Overloaded,
}


@dataclass(frozen=True)
class ApiRequest(Generic[T]):
    """One request. `files` are opened anew for every attempt, so that it can be sent again."""

    method: str
    path: str
    read: Callable[[Any], T]
    body: Any = None
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[Path] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    on_progress: OnProgress | None = None

    @property
    def is_safe(self) -> bool:
        """Whether it may be sent again when nobody knows what became of it."""
        return self.method in ("GET", "PUT", "DELETE") or "idempotency-key" in self.headers

    @contextmanager
    def sendable(self) -> Iterator[dict[str, Any]]:
        """The keyword arguments for httpx, with the files open."""
        with ExitStack() as stack:
            arguments: dict[str, Any] = {"headers": dict(self.headers)}
            if self.body is not None:
                arguments["json"] = self.body
            if self.files:
                total = sum(path.stat().st_size for path in self.files)
                progress = _UploadProgress(total, self.on_progress)
                opened = [_ProgressFile(stack.enter_context(path.open("rb")), progress) for path in self.files]
                parts = [("file", (path.name, file)) for path, file in zip(self.files, opened, strict=True)]
                arguments |= {"files": parts, "data": dict(self.fields)}
            yield arguments


class _UploadProgress:
    """Bytes sent, over all files of a request."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self.total, self.sent, self.on_progress = total, 0, on_progress

    def add(self, count: int) -> None:
        self.sent += count
        if self.on_progress is not None:
            self.on_progress(self.sent, self.total)


class _ProgressFile:
    """A file that tells how much of it has been read."""

    def __init__(self, file: BinaryIO, progress: _UploadProgress) -> None:
        self.file, self.progress = file, progress

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        if data:
            self.progress.add(len(data))
        return data

    def fileno(self) -> int:
        return self.file.fileno()


@dataclass(frozen=True)
class Added:
    """What became of a file: an item that can be found now, or the job that makes one of a video."""

    item: Item | None = None
    job: Job | None = None


def models() -> ApiRequest[list[Model]]:
    """The model that runs."""
    return ApiRequest("GET", "/v1/models", lambda told: Models.model_validate(told).data)


def embed(paths: Sequence[Path]) -> ApiRequest[NDArray[np.float32]]:
    """Files -> vectors (N, D) float32 of unit length, in order; a clip's is the normalised mean of its frames'."""

    def read(told: Any) -> NDArray[np.float32]:
        return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in told["data"]])

    return ApiRequest("POST", "/v1/embeddings/upload", read, fields={"encoding_format": "base64"}, files=paths)


def collections() -> ApiRequest[list[Collection]]:
    """Every collection, by name."""
    return ApiRequest("GET", "/v1/collections", lambda told: Collections.model_validate(told).data)


def create_collection(name: str) -> ApiRequest[Collection]:
    """Makes it for the running model, or describes the one there is."""
    return ApiRequest("PUT", _path(name), Collection.model_validate)


def export_form(out: Path) -> ExportForm:
    """By the ending of the file's name. Raises InvalidRequest."""
    for form in get_args(ExportForm):
        if out.suffix == f".{form}":
            return cast(ExportForm, form)
    raise errors.InvalidRequest(f"{out} ends in {out.suffix or 'nothing'!r}; expected .npz or .parquet.")


def export(name: str, form: ExportForm) -> ApiRequest[None]:
    """Answered with the bytes of a file."""
    return ApiRequest("GET", _path(name, "export") + f"?format={form}", _nothing)


def import_vectors(path: Path, name: str) -> ApiRequest[Collection]:
    """A new collection of an exported file, bound to the model that the file names."""
    return ApiRequest("POST", _path(name, "import"), Collection.model_validate, files=[path])


def delete_collection(name: str) -> ApiRequest[None]:
    """Drops a collection with its vectors and uploaded files."""
    return ApiRequest("DELETE", _path(name), _nothing)


def add(
    path: Path,
    collection: str = DEFAULT,
    *,
    id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> ApiRequest[Added]:
    """Uploads a file: a picture is an item at once, a video a job (see `finished`)."""

    def read(told: Any) -> Added:
        return Added(job=Accepted.model_validate(told).job) if "job" in told else Added(Item.model_validate(told))

    fields = {} if id is None else {"id": id}
    if metadata is not None:
        fields["metadata"] = json.dumps(metadata)
    key = {"idempotency-key": uuid4().hex}
    where = _path(collection, "items")
    return ApiRequest("POST", where, read, fields=fields, files=[path], headers=key, on_progress=on_progress)


def page(collection: str, limit: int, cursor: str | None) -> ApiRequest[Items]:
    """One page of a collection's items, newest first."""
    query = f"?limit={limit}" + (f"&cursor={quote(cursor, safe='')}" if cursor else "")
    return ApiRequest("GET", _path(collection, "items") + query, Items.model_validate)


def item(id: str, collection: str = DEFAULT) -> ApiRequest[Item]:
    """One item; NotFound when there is none of this id."""
    return ApiRequest("GET", _path(collection, "items", id), Item.model_validate)


def delete_item(id: str, collection: str = DEFAULT) -> ApiRequest[None]:
    """Removes an item, its vectors and its uploaded file."""
    return ApiRequest("DELETE", _path(collection, "items", id), _nothing)


def search(
    file: Path | None = None,
    collection: str = DEFAULT,
    *,
    item: str | None = None,
    embedding: Sequence[float] | None = None,
    target: Target | None = None,
    limit: int = 10,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    region: tuple[float, float, float, float] | None = None,
    verify: bool = True,
) -> ApiRequest[SearchAnswer]:
    """Where was this seen? By a file, an item of the collection, or a vector (D,).

    region: left, top, right, bottom of the file's picture, shares of it. verify: whether the best hits are looked at.
    """
    options: dict[str, Any] = {
        "target": target,
        "limit": limit,
        "start_seconds": start_seconds,
        "end_seconds": end_seconds,
    }
    options |= {"region": None if region is None else list(region), "verify": None if verify else False}
    given = {name: value for name, value in options.items() if value is not None}
    read, where = SearchAnswer.model_validate, _path(collection, "search")
    if file is not None:
        return ApiRequest(
            "POST", where, read, fields={name: _in_form(value) for name, value in given.items()}, files=[file]
        )
    query = {"item": item} if item is not None else {"embedding": [float(x) for x in embedding or ()]}
    return ApiRequest("POST", where, read, body={**given, **query})


def job(id: str) -> ApiRequest[Job]:
    """One job."""
    return ApiRequest("GET", f"/v1/jobs/{quote(id, safe='')}", Job.model_validate)


def cancel_job(id: str) -> ApiRequest[Job]:
    """Cancels a job; what it has done stays."""
    return ApiRequest("DELETE", f"/v1/jobs/{quote(id, safe='')}", Job.model_validate)


def read_answer(request: ApiRequest[T], response: httpx.Response) -> T:
    """The answer, read; or what the server refused, raised as the error it was there."""
    if response.is_success:
        return request.read(response.json() if response.content else None)
    raise error_of(response)


def error_of(response: httpx.Response) -> errors.VicmaeError:
    """A problem document as the error that it came of."""
    try:
        told = response.json()
        kind, detail = str(told["type"]), str(told["detail"])
    except (ValueError, KeyError, TypeError):
        kind, detail = "", f"{response.url} answered with status {response.status_code} and no words."
    found = _CLASSES.get(kind) or _OF_STATUS.get(response.status_code, errors.VicmaeError)
    error = cast(type[errors.VicmaeError], found)
    if issubclass(error, errors.Overloaded):
        return error(detail, retry_after_seconds(response, 1.0))
    return error(detail)


def retry_after_seconds(response: httpx.Response, otherwise: float) -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else otherwise


def _in_form(value: Any) -> str:
    """As a form carries it: text, a list with commas."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _path(collection: str, *rest: str) -> str:
    return "/v1/collections/" + "/".join(quote(part, safe="") for part in (collection, *rest))


def _nothing(told: Any) -> None:
    return None
