"""What can be asked of a server, as values: what to send, and how to read the answer. Sends nothing itself.

client.py sends them, at once or asynchronously. Errors come back as the classes of errors.py that they were over there.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar, cast
from urllib.parse import quote
from uuid import uuid4

import httpx
import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..index.backup.exchange_rows import Form
from .problems import KINDS, TYPE_PREFIX
from .schemas import Accepted, Collection, Collections, Item, Items, Job, Model, Models, SearchAnswer, Target

T = TypeVar("T")
OnProgress = Callable[[int, int], None]  # bytes sent, bytes in all

_CLASSES = {TYPE_PREFIX + kind.slug: error for error, kind in KINDS.items()}
_OF_STATUS: Mapping[int, type[errors.VicmaeError]] = {
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.MediaTooLarge,
    503: errors.Overloaded,
}


@dataclass(frozen=True)
class Call(Generic[T]):
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
        """What httpx wants to know, with the files open."""
        with ExitStack() as stack:
            wish: dict[str, Any] = {"headers": dict(self.headers)}
            if self.body is not None:
                wish["json"] = self.body
            if self.files:
                total = sum(path.stat().st_size for path in self.files)
                watch = _Watch(total, self.on_progress)
                opened = [_Watched(stack.enter_context(path.open("rb")), watch) for path in self.files]
                parts = [("file", (path.name, file)) for path, file in zip(self.files, opened, strict=True)]
                wish |= {"files": parts, "data": dict(self.fields)}
            yield wish


class _Watch:
    """Bytes that have left, over all files of a request."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self.total, self.sent, self.on_progress = total, 0, on_progress

    def add(self, count: int) -> None:
        self.sent += count
        if self.on_progress is not None:
            self.on_progress(self.sent, self.total)


class _Watched:
    """A file that tells how much of it has been read."""

    def __init__(self, file: BinaryIO, watch: _Watch) -> None:
        self.file, self.watch = file, watch

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        if data:
            self.watch.add(len(data))
        return data

    def fileno(self) -> int:
        return self.file.fileno()


@dataclass(frozen=True)
class Added:
    """What became of a file: an item that can be found now, or the job that makes one of a video."""

    item: Item | None = None
    job: Job | None = None


def models() -> Call[list[Model]]:
    return Call("GET", "/v1/models", lambda told: Models.model_validate(told).data)


def embed(paths: Sequence[Path]) -> Call[NDArray[np.float32]]:
    """Files -> (N, D) float32 of unit length, in order; a clip's is the mean of its frames'."""

    def read(told: Any) -> NDArray[np.float32]:
        return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in told["data"]])

    return Call("POST", "/v1/embeddings/upload", read, fields={"encoding_format": "base64"}, files=paths)


def collections() -> Call[list[Collection]]:
    return Call("GET", "/v1/collections", lambda told: Collections.model_validate(told).data)


def create_collection(name: str) -> Call[Collection]:
    return Call("PUT", _at(name), Collection.model_validate)


def export(name: str, form: Form) -> Call[None]:
    """Answered with the bytes of a file."""
    return Call("GET", _at(name, "export") + f"?format={form}", _nothing)


def import_vectors(name: str, path: Path) -> Call[Collection]:
    return Call("POST", _at(name, "import"), Collection.model_validate, files=[path])


def delete_collection(name: str) -> Call[None]:
    return Call("DELETE", _at(name), _nothing)


def add(
    collection: str, path: Path, id: str | None, metadata: Mapping[str, Any] | None, on_progress: OnProgress | None
) -> Call[Added]:
    def read(told: Any) -> Added:
        return Added(job=Accepted.model_validate(told).job) if "job" in told else Added(Item.model_validate(told))

    fields = {} if id is None else {"id": id}
    if metadata is not None:
        fields["metadata"] = json.dumps(metadata)
    key = {"idempotency-key": uuid4().hex}
    where = _at(collection, "items")
    return Call("POST", where, read, fields=fields, files=[path], headers=key, on_progress=on_progress)


def page(collection: str, limit: int, cursor: str | None) -> Call[Items]:
    query = f"?limit={limit}" + (f"&cursor={quote(cursor, safe='')}" if cursor else "")
    return Call("GET", _at(collection, "items") + query, Items.model_validate)


def item(collection: str, id: str) -> Call[Item]:
    return Call("GET", _at(collection, "items", id), Item.model_validate)


def delete_item(collection: str, id: str) -> Call[None]:
    return Call("DELETE", _at(collection, "items", id), _nothing)


def search(
    collection: str,
    file: Path | None,
    item: str | None,
    embedding: Sequence[float] | None,
    target: Target | None,
    limit: int,
    start_seconds: float | None,
    end_seconds: float | None,
) -> Call[SearchAnswer]:
    told = {"target": target, "limit": limit, "start_seconds": start_seconds, "end_seconds": end_seconds}
    wish = {name: value for name, value in told.items() if value is not None}
    read, where = SearchAnswer.model_validate, _at(collection, "search")
    if file is not None:
        return Call("POST", where, read, fields={k: str(v) for k, v in wish.items()}, files=[file])
    given = {"item": item} if item is not None else {"embedding": [float(x) for x in embedding or ()]}
    return Call("POST", where, read, body={**wish, **given})


def job(id: str) -> Call[Job]:
    return Call("GET", f"/v1/jobs/{quote(id, safe='')}", Job.model_validate)


def cancel_job(id: str) -> Call[Job]:
    return Call("DELETE", f"/v1/jobs/{quote(id, safe='')}", Job.model_validate)


def answer_of(call: Call[T], response: httpx.Response) -> T:
    """The answer, read; or what the server refused, raised as the error it was there."""
    if response.is_success:
        return call.read(response.json() if response.content else None)
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


def _at(collection: str, *rest: str) -> str:
    return "/v1/collections/" + "/".join(quote(part, safe="") for part in (collection, *rest))


def _nothing(told: Any) -> None:
    return None
