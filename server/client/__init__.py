"""The Python client of the HTTP API: `Client` for threads, `AsyncClient` for asyncio."""

from .client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]
