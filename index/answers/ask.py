"""Asking the product: a file's bytes in, hits as plain values out, from this process or from a running server."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from ...errors import InvalidRequest, NotFound
from ..collection import Collection
from ..search import Query, SearchRequest, Tools, search

Hit = dict[str, Any]
"""As HTTP and `vicmae search --json` give it."""
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class Question:
    """The bytes of a picture or a clip; verified: whether the pixels of the best hits are compared."""

    data: bytes
    limit: int
    verified: bool = True


Ask = Callable[[Question], list[Hit]]


def asking(collection: Collection, tools: Tools) -> Ask:
    """Asks a collection in this process, as `vicmae search` does."""

    def ask(question: Question) -> list[Hit]:
        request = SearchRequest(Query(source=question.data), question.limit, None, question.verified)
        hits: list[Hit] = search(collection, request, tools).to_dict()["data"]
        return hits

    return ask


def asking_server(url: str, collection: str, client: httpx.Client) -> Ask:
    """Asks a collection of a server at that address, which needs no key. Raises NotFound, InvalidRequest."""
    path = f"{url.rstrip('/')}/v1/collections/{collection}/search"

    def ask(question: Question) -> list[Hit]:
        fields = {"limit": str(question.limit), "refine": str(question.verified).lower()}
        try:
            answer = client.post(path, data=fields, files={"file": ("query", question.data)}, timeout=TIMEOUT_SECONDS)
        except httpx.HTTPError as error:
            raise NotFound(
                f"No server answers at {url} ({error}). Start it with `vicmae serve --data FOLDER`."
            ) from error
        if answer.is_error:
            raise InvalidRequest(f"The server at {url} refused a question: {answer.status_code} {answer.text}")
        hits: list[Hit] = answer.json()["data"]
        return hits

    return ask
