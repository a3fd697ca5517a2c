"""The Python client: `Client` blocks, `AsyncClient` is for asyncio; both over httpx. Needs no server in its process.

    with Client("http://127.0.0.1:8000", key="vicmae_…") as vicmae:
        vicmae.finished(vicmae.add(Path("film.mp4")))
        for hit in vicmae.search(Path("frame.png")).data:
            print(hit.name, hit.start_seconds, hit.score)

429 and 503 are tried again after what Retry-After says, lost connections where that is safe. What the server refuses is
raised as the class of vicmae.errors that it was there. What can be requested is written once, in requests.py.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import update_wrapper
from pathlib import Path
from typing import Any, BinaryIO, Generic, ParamSpec, Self, TypeVar, overload

import httpx

from ...errors import CorruptMedia, FetchError
from ...index.atomic import atomic_file
from ..schemas.items import Item
from ..schemas.jobs import Job
from . import requests
from .requests import DEFAULT, Added, ApiRequest

P = ParamSpec("P")
T = TypeVar("T")
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
LONGEST_WAIT_SECONDS = 30.0
PAGE = 200


class _Endpoint(Generic[P, T]):
    """A request as a method: of a Client it gives the answer, of an AsyncClient the answer to be awaited."""

    def __init__(self, request: Callable[P, ApiRequest[T]]) -> None:
        self.request = request

    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    def __get__(self, client: Any, owner: type) -> Any:
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.send(self.request(*args, **kwargs))

        return self if client is None else update_wrapper(method, self.request)


class _Endpoints:
    """What both clients can ask for; shapes and errors stand in requests.py."""

    models = _Endpoint(requests.models)
    embed = _Endpoint(requests.embed)
    collections = _Endpoint(requests.collections)
    create_collection = _Endpoint(requests.create_collection)
    import_vectors = _Endpoint(requests.import_vectors)
    delete_collection = _Endpoint(requests.delete_collection)
    add = _Endpoint(requests.add)
    item = _Endpoint(requests.item)
    delete_item = _Endpoint(requests.delete_item)
    search = _Endpoint(requests.search)
    job = _Endpoint(requests.job)
    cancel_job = _Endpoint(requests.cancel_job)


class Client(_Endpoints):
    """A server over HTTP, one request at a time. Safe in many threads.

    retries  how often a request is sent again
    """

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

    def export(self, out: Path, collection: str = DEFAULT) -> None:
        """Writes the collection's vectors to FILE.parquet or FILE.npz, complete when it returns."""
        request = requests.export(collection, requests.export_form(out))
        with atomic_file(out) as file:
            self.send(request, file)

    def finished(self, added: Added | Job, collection: str = DEFAULT, every_seconds: float = 0.5) -> Item:
        """The item, waited for while its job runs. CorruptMedia when the job failed or was cancelled."""
        job = added if isinstance(added, Job) else added.job
        if job is None:
            return _item_at_once(added)
        while job.state in ("queued", "running"):
            self._sleep(every_seconds)
            job = self.job(job.id)
        return self.item(_item_of(job), job.collection or collection)

    def items(self, collection: str = DEFAULT) -> Iterator[Item]:
        """Every item, newest first, a page at a time."""
        cursor = None
        while True:
            page = self.send(requests.page(collection, PAGE, cursor))
            yield from page.data
            if (cursor := page.next_cursor) is None:
                return

    def send(self, request: ApiRequest[T], out: BinaryIO | None = None) -> T:
        """The answer, read; the bytes of one that is a file go to `out`, emptied before each attempt."""
        retries = _Retries(self._retries)
        outcome: httpx.Response | httpx.TransportError
        while True:
            try:
                with request.sendable() as arguments:
                    with self._http.stream(request.method, request.path, **arguments) as outcome:
                        if out is not None and outcome.is_success:
                            _empty(out)
                            for piece in outcome.iter_bytes():
                                out.write(piece)
                            return request.read(None)
                        outcome.read()
            except httpx.TransportError as error:
                outcome = error
            wait_seconds = retries.wait_seconds(request, outcome)
            if wait_seconds is None:
                return _answer(request, outcome)
            self._sleep(wait_seconds)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_Endpoints):
    """`Client` for asyncio: the same requests, awaited."""

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

    async def export(self, out: Path, collection: str = DEFAULT) -> None:
        """As Client.export."""
        request = requests.export(collection, requests.export_form(out))
        with atomic_file(out) as file:
            await self.send(request, file)

    async def finished(self, added: Added | Job, collection: str = DEFAULT, every_seconds: float = 0.5) -> Item:
        """As Client.finished."""
        job = added if isinstance(added, Job) else added.job
        if job is None:
            return _item_at_once(added)
        while job.state in ("queued", "running"):
            await self._sleep(every_seconds)
            job = await self.job(job.id)
        return await self.item(_item_of(job), job.collection or collection)

    async def items(self, collection: str = DEFAULT) -> AsyncIterator[Item]:
        """As Client.items."""
        cursor = None
        while True:
            page = await self.send(requests.page(collection, PAGE, cursor))
            for item in page.data:
                yield item
            if (cursor := page.next_cursor) is None:
                return

    async def send(self, request: ApiRequest[T], out: BinaryIO | None = None) -> T:
        """As Client.send."""
        retries = _Retries(self._retries)
        outcome: httpx.Response | httpx.TransportError
        while True:
            try:
                with request.sendable() as arguments:
                    async with self._http.stream(request.method, request.path, **arguments) as outcome:
                        if out is not None and outcome.is_success:
                            _empty(out)
                            async for piece in outcome.aiter_bytes():
                                out.write(piece)
                            return request.read(None)
                        await outcome.aread()
            except httpx.TransportError as error:
                outcome = error
            wait_seconds = retries.wait_seconds(request, outcome)
            if wait_seconds is None:
                return _answer(request, outcome)
            await self._sleep(wait_seconds)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Retries:
    """When to send again, and after how long. Decides only; its owner sleeps."""

    def __init__(self, attempts: int) -> None:
        self.left = attempts
        self.backoff_seconds = 0.25

    def wait_seconds(self, request: ApiRequest[Any], outcome: httpx.Response | httpx.TransportError) -> float | None:
        """None: the outcome is final."""
        if isinstance(outcome, httpx.Response):
            again = outcome.status_code in (429, 503)
        else:
            again = isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout) or request.is_safe
        if not again or self.left == 0:
            return None
        self.left -= 1
        self.backoff_seconds *= 2
        if isinstance(outcome, httpx.Response):
            return min(LONGEST_WAIT_SECONDS, requests.retry_after_seconds(outcome, self.backoff_seconds))
        return self.backoff_seconds


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}


def _empty(file: BinaryIO) -> None:
    file.truncate(0)
    file.seek(0)


def _answer(request: ApiRequest[T], outcome: httpx.Response | httpx.TransportError) -> T:
    """The final outcome, read or raised."""
    if isinstance(outcome, httpx.Response):
        return requests.read_answer(request, outcome)
    raise FetchError(f"The server could not be reached, or broke off ({outcome}). Is it running?") from outcome


def _item_at_once(added: Added | Job) -> Item:
    assert isinstance(added, Added) and added.item is not None
    return added.item


def _item_of(job: Job) -> str:
    """The item that a job made; CorruptMedia when it made none."""
    if job.state != "succeeded" or job.item_id is None:
        raise CorruptMedia(job.error or f"The job {job.id} was {job.state} and made no item.")
    return job.item_id
