"""Media by address, where the person who runs this lists hosts. Off unless they do.

A host is resolved once and the connection goes to exactly what was checked, so that a name which changes its mind
between check and use gains nothing. Every redirect is checked like the first address. Addresses that are not public
(private, loopback, link-local with the clouds' metadata, …) are refused, whatever name led there, except for hosts
listed as private. Bytes and seconds are capped over all of a request's addresses and redirects. Decodes no media.
"""

import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from time import monotonic
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import httpcore
from anyio import CapacityLimiter, to_thread

from ...errors import FetchError, Forbidden, InvalidRequest, MediaTooLarge, Overloaded, naming
from .data_urls import url_in

MAX_REDIRECTS = 3
THREADS = 8  # requests that fetch at once; their downloads wait for the network and hold no decoder
MAX_WAITING = 32
PORTS = {"http": 80, "https": 443}
_EMBEDDED = (ip_network("64:ff9b::/96"), ip_network("2002::/16"))  # IPv6 that leads to an IPv4 host

Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class FetchLimits:
    """Which hosts, and how much. A host is `name` or `*.name` (below it), with `:port` for another than 80 and 443."""

    hosts: tuple[str, ...] = ()
    private_hosts: tuple[str, ...] = ()
    max_bytes: int = 64 * 2**20
    max_seconds: float = 20.0


@dataclass(frozen=True)
class Address:
    """A checked URL: what to connect to is decided by name and port, never by parsing the text again."""

    url: str
    scheme: str
    host: str
    port: int
    target: str


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system resolves it."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Fetcher:
    """Downloads what requests name by address, within limits."""

    def __init__(
        self,
        limits: FetchLimits,
        resolve: Resolve = resolved,
        clock: Callable[[], float] = monotonic,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.limits = limits
        self._resolve = resolve
        self._clock = clock
        self._tls = tls
        self._threads: CapacityLimiter | None = None

    async def fill_in(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a request, by name, each address replaced by the bytes there; others stay as they are.

        Raises Forbidden, InvalidRequest, FetchError and MediaTooLarge, which name their field, and Overloaded when too
        many fetch already.
        """
        urls = {field: url for field, value in fields.items() if (url := url_in(value)) is not None}
        if not urls:
            return dict(fields)
        for field, url in urls.items():
            with naming(field):
                self.check(url)
        self._threads = self._threads or CapacityLimiter(THREADS)
        if self._threads.statistics().tasks_waiting >= MAX_WAITING:
            raise Overloaded("Too many requests fetch addresses already. Try again in a moment.")
        return {**fields, **await to_thread.run_sync(self.fetch_all, urls, limiter=self._threads)}

    def fetch_all(self, urls: Mapping[str, str]) -> dict[str, bytes]:
        """The bytes at the address of each field; together within max_bytes and max_seconds. Blocks."""
        until = self._clock() + self.limits.max_seconds
        left = self.limits.max_bytes
        bodies: dict[str, bytes] = {}
        for field, url in urls.items():
            with naming(field):
                bodies[field] = self._fetch(url, left, until)
            left -= len(bodies[field])
        return bodies

    def check(self, url: str) -> Address:
        """The address as it may be fetched; InvalidRequest for what is no http address, Forbidden for other hosts."""
        if not self.limits.hosts:
            raise Forbidden(
                "URL input is off: this server fetches nothing from the network. Send the bytes as a data URL, or "
                "upload the file. (The setting fetch_hosts lists hosts it may fetch from.)"
            )
        parts, host, port = _split(url)
        if not _listed(host, port, self.limits.hosts):
            raise Forbidden(f"{host}:{port} is not among the hosts that this server may fetch from (fetch_hosts).")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Address(url, parts.scheme, host, port, target)

    def _fetch(self, url: str, max_bytes: int, until: float) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            address = self.check(url)
            try:
                answer = self._get(address, max_bytes, until)
            except httpcore.TimeoutException as error:
                raise FetchError(
                    f"{address.host} took more than {self.limits.max_seconds:g} s (max_fetch_seconds)."
                ) from error
            except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
                raise FetchError(f"{address.host} could not be reached or broke off ({_reason(error)}).") from error
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
        raise FetchError(f"{address.host} redirects more than {MAX_REDIRECTS} times.")

    def _get(self, address: Address, max_bytes: int, until: float) -> bytes | str:
        """The body at the address, or where it redirects to."""
        place = self._checked_place(address)
        backend = _Pinned(place, until, self._clock)
        host = address.host if address.port == PORTS[address.scheme] else f"{address.host}:{address.port}"
        headers = [
            ("host", host),
            ("accept", "image/*, video/*"),
            ("accept-encoding", "identity"),
            ("user-agent", "vicmae"),
        ]
        origin = httpcore.URL(
            scheme=address.scheme.encode(),
            host=address.host.encode(),
            port=address.port,
            target=address.target.encode(),
        )
        timeout = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), self.limits.max_seconds)}
        with (
            httpcore.ConnectionPool(self._tls, network_backend=backend) as pool,
            pool.stream("GET", origin, headers=headers, extensions=timeout) as answer,
        ):
            told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
            if answer.status in (301, 302, 303, 307, 308) and told.get("location"):
                return told["location"]
            if answer.status != 200:
                raise FetchError(f"{address.host} answered with status {answer.status} instead of a file.")
            if told.get("content-encoding", "identity") != "identity":
                raise FetchError(f"{address.host} sent a compressed answer, which was not asked for.")
            return _body(answer, told.get("content-length", ""), max_bytes)

    def _checked_place(self, address: Address) -> str:
        """The one numeric address to connect to. All that the name stands for must be allowed."""
        try:
            found = self._resolve(address.host, address.port)
        except (OSError, UnicodeError) as error:
            raise FetchError(f"The name {address.host} cannot be resolved.") from error
        if not found:
            raise FetchError(f"The name {address.host} stands for no address.")
        if not _listed(address.host, address.port, self.limits.private_hosts):
            for place in found:
                if not is_public(place):
                    raise Forbidden(
                        f"{address.host} leads into a network that is not public; nothing is fetched there."
                    )
        return found[0]


class _Pinned(httpcore.NetworkBackend):
    """Connects to one place whatever the name, and to nothing after the deadline."""

    def __init__(self, place: str, until: float, clock: Callable[[], float]) -> None:
        self.place = place
        self.until = until
        self.clock = clock
        self.backend = httpcore.SyncBackend()

    def left(self) -> float:
        left = self.until - self.clock()
        if left <= 0:
            raise httpcore.ReadTimeout("the time is up")
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self.backend.connect_tcp(self.place, port, self.left(), local_address, socket_options)
        return _Timed(stream, self)


class _Timed(httpcore.NetworkStream):
    """A stream whose every step has only what is left of the time: a byte now and then does not keep it alive."""

    def __init__(self, stream: httpcore.NetworkStream, watch: _Pinned) -> None:
        self.stream = stream
        self.watch = watch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self.watch.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, self.watch.left())

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Timed(self.stream.start_tls(ssl_context, server_hostname, self.watch.left()), self.watch)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def is_public(place: str) -> bool:
    """Whether an address is one of the public internet, also when it is IPv4 in the clothes of IPv6."""
    try:
        address: IPv4Address | IPv6Address = ip_address(place.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif any(address in network for network in _EMBEDDED) or address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def hosts_of(text: str) -> tuple[str, ...]:
    """ "a.example, *.b.example:8443" -> the hosts, in small letters."""
    return tuple(host.strip().lower() for host in text.split(",") if host.strip())


def _split(url: str) -> tuple[SplitResult, str, int]:
    shown = url if len(url) <= 200 else f"{url[:200]}…"
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
        host = (parts.hostname or "").encode("ascii").decode().rstrip(".")
    except ValueError as error:
        raise InvalidRequest(f"{shown!r} is no address that can be fetched: {error}.") from error
    if parts.scheme not in PORTS or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidRequest(
            f"{shown!r} is no address that can be fetched; expected https://host/path, in plain ASCII."
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest("An address with a user name or password in it is not fetched.")
    return parts, host, port


def _listed(host: str, port: int, hosts: Iterable[str]) -> bool:
    for entry in hosts:
        name, colon, its_port = entry.rpartition(":") if entry.rpartition(":")[2].isdecimal() else (entry, "", "")
        if port != int(its_port) if colon else port not in PORTS.values():
            continue
        if host == name or (name.startswith("*.") and host.endswith(name[1:])):
            return True
    return False


def _body(answer: httpcore.Response, length: str, max_bytes: int) -> bytes:
    too_large = MediaTooLarge(
        f"What the addresses hold is more than {max_bytes} bytes (max_fetch_bytes).", "max_fetch_bytes"
    )
    if length.isdecimal() and int(length) > max_bytes:
        raise too_large
    body = bytearray()
    for chunk in answer.iter_stream():
        body += chunk
        if len(body) > max_bytes:
            raise too_large
    return bytes(body)


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
