"""The Python client: `Client` at once, `AsyncClient` for asyncio, over httpx; needs no server code to run beside it.

    with Client("http://127.0.0.1:8000", key="vicmae_…") as vicmae:
        vicmae.finished(vicmae.add(Path("film.mp4")))
        for hit in vicmae.search(Path("frame.png")).data:
            print(hit.name, hit.start_seconds, hit.score)

429 and 503 are tried again after what Retry-After says, lost connections where that is safe. What the server refuses is
raised as the class of vicmae.errors that it was there.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptMedia, FetchError
from ..index.atomic import file_aside
from ..index.backup.exchange_rows import form_of
from . import calls
from .calls import Added, Call, OnProgress
from .schemas import Collection, Item, Job, Model, SearchAnswer, Target

T = TypeVar("T")
DEFAULT = "default"
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
LONGEST_WAIT_SECONDS = 30.0
PAGE = 200


class _Retries:
    """When to send again, and after how long. Decides only; its owner sleeps."""

    def __init__(self, attempts: int) -> None:
        self.left = attempts
        self.backoff_seconds = 0.25

    def wait_seconds(self, call: Call[Any], outcome: httpx.Response | httpx.TransportError) -> float | None:
        """None: what came is the answer."""
        if isinstance(outcome, httpx.Response):
            again = outcome.status_code in (429, 503)
        else:
            again = isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout) or call.is_safe
        if not again or self.left == 0:
            return None
        self.left -= 1
        self.backoff_seconds *= 2
        if isinstance(outcome, httpx.Response):
            return min(LONGEST_WAIT_SECONDS, calls.retry_after_seconds(outcome, self.backoff_seconds))
        return self.backoff_seconds


def _unreachable(error: httpx.TransportError) -> FetchError:
    return FetchError(f"The server could not be reached, or broke off ({error}). Is it running?")


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}


class Client:
    """A server, asked one thing at a time. Safe in many threads."""

    def __init__(
        self,
        address: str = "http://127.0.0.1:8000",
        key: str | None = None,
        *,
        retries: int = 4,
        timeout: httpx.Timeout = TIMEOUT,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(base_url=address, headers=_headers(key), timeout=timeout, transport=transport)
        self._retries = retries
        self._sleep = sleep

    def models(self) -> list[Model]:
        """The model that runs."""
        return self._ask(calls.models())

    def embed(self, paths: Sequence[Path]) -> NDArray[np.float32]:
        """Pictures and short clips -> (N, D) float32, unit length."""
        return self._ask(calls.embed(paths))

    def collections(self) -> list[Collection]:
        return self._ask(calls.collections())

    def create_collection(self, name: str) -> Collection:
        """Makes it for the running model, or tells of the one there is."""
        return self._ask(calls.create_collection(name))

    def export(self, out: Path, collection: str = DEFAULT) -> None:
        """Writes the collection's vectors to FILE.parquet or FILE.npz, complete when it returns."""
        call = calls.export(collection, form_of(out))
        with file_aside(out) as file:
            self._ask(call, file)

    def import_vectors(self, path: Path, name: str) -> Collection:
        """A new collection of an exported file, bound to the model that the file names."""
        return self._ask(calls.import_vectors(name, path))

    def delete_collection(self, name: str) -> None:
        self._ask(calls.delete_collection(name))

    def add(
        self,
        path: Path,
        collection: str = DEFAULT,
        *,
        id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Added:
        """Uploads a file: a picture is an item at once, a video a job (see `finished`)."""
        return self._ask(calls.add(collection, path, id, metadata, on_progress))

    def finished(self, added: Added | Job, collection: str = DEFAULT, every_seconds: float = 0.5) -> Item:
        """The item, waited for while its job runs. CorruptMedia when the job failed or was cancelled."""
        job = added if isinstance(added, Job) else added.job
        if job is None:
            assert isinstance(added, Added) and added.item is not None
            return added.item
        while job.state in ("queued", "running"):
            self._sleep(every_seconds)
            job = self.job(job.id)
        return self.item(_item_of(job), job.collection or collection)

    def items(self, collection: str = DEFAULT) -> Iterator[Item]:
        """Every item, newest first, a page at a time."""
        cursor = None
        while True:
            page = self._ask(calls.page(collection, PAGE, cursor))
            yield from page.data
            if (cursor := page.next_cursor) is None:
                return

    def item(self, id: str, collection: str = DEFAULT) -> Item:
        return self._ask(calls.item(collection, id))

    def delete_item(self, id: str, collection: str = DEFAULT) -> None:
        self._ask(calls.delete_item(collection, id))

    def search(
        self,
        file: Path | None = None,
        collection: str = DEFAULT,
        *,
        item: str | None = None,
        embedding: Sequence[float] | None = None,
        target: Target | None = None,
        limit: int = 10,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
    ) -> SearchAnswer:
        """Where was this seen? By a file, an item of the collection, or a vector."""
        return self._ask(calls.search(collection, file, item, embedding, target, limit, start_seconds, end_seconds))

    def job(self, id: str) -> Job:
        return self._ask(calls.job(id))

    def cancel_job(self, id: str) -> Job:
        return self._ask(calls.cancel_job(id))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, call: Call[T], out: BinaryIO | None = None) -> T:
        """The answer, read; the bytes of one that is a file go to `out`, emptied before each attempt."""
        retries = _Retries(self._retries)
        outcome: httpx.Response | httpx.TransportError
        while True:
            try:
                with call.sendable() as wish, self._http.stream(call.method, call.path, **wish) as outcome:
                    if out is not None and outcome.is_success:
                        out.truncate(0)
                        out.seek(0)
                        for piece in outcome.iter_bytes():
                            out.write(piece)
                        return call.read(None)
                    outcome.read()
            except httpx.TransportError as error:
                outcome = error
            wait_seconds = retries.wait_seconds(call, outcome)
            if wait_seconds is not None:
                self._sleep(wait_seconds)
            elif isinstance(outcome, httpx.Response):
                return calls.answer_of(call, outcome)
            else:
                raise _unreachable(outcome) from outcome


class AsyncClient:
    """`Client` for asyncio: the same calls, awaited."""

    def __init__(
        self,
        address: str = "http://127.0.0.1:8000",
        key: str | None = None,
        *,
        retries: int = 4,
        timeout: httpx.Timeout = TIMEOUT,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=address, headers=_headers(key), timeout=timeout, transport=transport)
        self._retries = retries
        self._sleep = sleep

    async def models(self) -> list[Model]:
        return await self._ask(calls.models())

    async def embed(self, paths: Sequence[Path]) -> NDArray[np.float32]:
        return await self._ask(calls.embed(paths))

    async def collections(self) -> list[Collection]:
        return await self._ask(calls.collections())

    async def create_collection(self, name: str) -> Collection:
        return await self._ask(calls.create_collection(name))

    async def export(self, out: Path, collection: str = DEFAULT) -> None:
        call = calls.export(collection, form_of(out))
        with file_aside(out) as file:
            await self._ask(call, file)

    async def import_vectors(self, path: Path, name: str) -> Collection:
        return await self._ask(calls.import_vectors(name, path))

    async def delete_collection(self, name: str) -> None:
        await self._ask(calls.delete_collection(name))

    async def add(
        self,
        path: Path,
        collection: str = DEFAULT,
        *,
        id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Added:
        return await self._ask(calls.add(collection, path, id, metadata, on_progress))

    async def finished(self, added: Added | Job, collection: str = DEFAULT, every_seconds: float = 0.5) -> Item:
        job = added if isinstance(added, Job) else added.job
        if job is None:
            assert isinstance(added, Added) and added.item is not None
            return added.item
        while job.state in ("queued", "running"):
            await self._sleep(every_seconds)
            job = await self.job(job.id)
        return await self.item(_item_of(job), job.collection or collection)

    async def items(self, collection: str = DEFAULT) -> AsyncIterator[Item]:
        cursor = None
        while True:
            page = await self._ask(calls.page(collection, PAGE, cursor))
            for item in page.data:
                yield item
            if (cursor := page.next_cursor) is None:
                return

    async def item(self, id: str, collection: str = DEFAULT) -> Item:
        return await self._ask(calls.item(collection, id))

    async def delete_item(self, id: str, collection: str = DEFAULT) -> None:
        await self._ask(calls.delete_item(collection, id))

    async def search(
        self,
        file: Path | None = None,
        collection: str = DEFAULT,
        *,
        item: str | None = None,
        embedding: Sequence[float] | None = None,
        target: Target | None = None,
        limit: int = 10,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
    ) -> SearchAnswer:
        return await self._ask(
            calls.search(collection, file, item, embedding, target, limit, start_seconds, end_seconds)
        )

    async def job(self, id: str) -> Job:
        return await self._ask(calls.job(id))

    async def cancel_job(self, id: str) -> Job:
        return await self._ask(calls.cancel_job(id))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, call: Call[T], out: BinaryIO | None = None) -> T:
        retries = _Retries(self._retries)
        outcome: httpx.Response | httpx.TransportError
        while True:
            try:
                with call.sendable() as wish:
                    async with self._http.stream(call.method, call.path, **wish) as outcome:
                        if out is not None and outcome.is_success:
                            out.truncate(0)
                            out.seek(0)
                            async for piece in outcome.aiter_bytes():
                                out.write(piece)
                            return call.read(None)
                        await outcome.aread()
            except httpx.TransportError as error:
                outcome = error
            wait_seconds = retries.wait_seconds(call, outcome)
            if wait_seconds is not None:
                await self._sleep(wait_seconds)
            elif isinstance(outcome, httpx.Response):
                return calls.answer_of(call, outcome)
            else:
                raise _unreachable(outcome) from outcome


def _item_of(job: Job) -> str:
    """The item that a job made; CorruptMedia when it made none."""
    if job.state != "succeeded" or job.item_id is None:
        raise CorruptMedia(job.error or f"The job {job.id} was {job.state} and made no item.")
    return job.item_id
