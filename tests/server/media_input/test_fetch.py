"""Media by address: off, or only from listed hosts, to the place that was checked, within bytes and seconds."""

import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from made_media import write_image
from served import SEARCH, problem, served

from vicmae.errors import FetchError, Forbidden, InvalidRequest, MediaTooLarge
from vicmae.server.media_input.fetch import Fetcher, FetchLimits, hosts_of, is_public


class Host(ThreadingHTTPServer):
    """A little web server that misbehaves in several ways."""

    daemon_threads = True
    asked: list[tuple[str, str]]

    def __init__(self, picture: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.picture, self.asked, self.stopped = picture, [], threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Answers(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        self.server.asked.append((self.headers["host"], self.path))
        path, _, there = self.path.partition("?")
        if path == "/redirect":
            self.send_response(302)
            self.send_header("location", there)
            self.end_headers()
        elif path == "/missing":
            self.send_error(404)
        elif path == "/packed":
            self.send_response(200)
            self.send_header("content-encoding", "gzip")
            self.end_headers()
        elif path in ("/endless", "/slow"):
            self.send_response(200)
            self.end_headers()
            self._drip(b"x" * 65536 if path == "/endless" else b"x", 0.0 if path == "/endless" else 0.02)
        else:
            self.send_response(200)
            self.send_header("content-length", str(len(self.server.picture)))
            self.end_headers()
            self.wfile.write(self.server.picture)

    def _drip(self, piece: bytes, seconds: float) -> None:
        try:
            while not self.server.stopped.wait(seconds):
                self.wfile.write(piece)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_image(tmp_path_factory.mktemp("picture") / "a.png", 1).read_bytes()


@pytest.fixture
def host(picture: bytes) -> Iterator[Host]:
    with Host(picture) as host:
        thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield host
        host.stopped.set()
        host.shutdown()
        thread.join()


def fetcher(
    host: Host, *names: str, private: bool = True, max_bytes: int = 10**6, max_seconds: float = 10.0
) -> Fetcher:
    """One for whom every name is the little server; it may go there only where private."""
    hosts = tuple(f"{name}:{host.port}" for name in names)
    limits = FetchLimits(hosts, hosts if private else (), max_bytes, max_seconds)
    return Fetcher(limits, resolve=lambda name, port: ["127.0.0.1"])


def fetched(there: Fetcher, urls: list[str]) -> list[bytes]:
    """What lies at the addresses, of a request that has them as a list."""
    return list(there.fetch_all({f"input[{i}]": url for i, url in enumerate(urls)}).values())


def test_it_is_off_unless_hosts_are_listed() -> None:
    with pytest.raises(Forbidden, match="fetch_hosts"):
        fetched(Fetcher(FetchLimits()), ["http://example.org/a.png"])


def test_a_listed_host_is_fetched_by_its_name(host: Host, picture: bytes) -> None:
    found = fetched(fetcher(host, "pics.example"), [f"http://pics.example:{host.port}/a.png?b=c#d"] * 2)
    assert found == [picture] * 2
    assert host.asked == [(f"pics.example:{host.port}", "/a.png?b=c")] * 2


def test_names_that_lead_into_private_networks_are_refused_unless_listed_as_such(host: Host) -> None:
    with pytest.raises(Forbidden, match="not public"):
        fetched(fetcher(host, "pics.example", private=False), [f"http://pics.example:{host.port}/a.png"])
    assert host.asked == []


def test_a_name_that_changes_its_address_after_the_check_gains_nothing(host: Host) -> None:
    """Resolved once: the answer that was checked is the one that is used, and a second answer is checked again."""
    answers = itertools.chain([["127.0.0.1"]], itertools.repeat(["169.254.169.254"]))
    asked: list[str] = []

    def resolve(name: str, port: int) -> list[str]:
        asked.append(name)
        return next(answers)

    listed = (f"pics.example:{host.port}", f"other.example:{host.port}")
    there = Fetcher(FetchLimits(listed, listed[:1]), resolve)
    fetched(there, [f"http://pics.example:{host.port}/a.png"])
    assert asked == ["pics.example"]
    with pytest.raises(Forbidden, match="not public"):
        fetched(there, [f"http://other.example:{host.port}/a.png"])


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    there = Fetcher(FetchLimits(("a.example",)), lambda name, port: ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(Forbidden, match="not public"):
        fetched(there, ["https://a.example/"])


@pytest.mark.parametrize(
    "there",
    [
        "http://127.0.0.1:{port}/a.png",
        "http://localhost:{port}/",
        "//169.254.169.254/latest",
        "http://pics.example:1/x",
    ],
)
def test_a_redirect_is_checked_like_the_first_address(host: Host, there: str) -> None:
    target = there.format(port=host.port)
    with pytest.raises(Forbidden, match="fetch_hosts"):
        fetched(fetcher(host, "pics.example"), [f"http://pics.example:{host.port}/redirect?{target}"])
    assert len(host.asked) == 1


@pytest.mark.parametrize("there", ["file:///etc/passwd", "gopher://pics.example/", "http://u:p@pics.example/"])
def test_a_redirect_to_what_is_no_web_address_is_refused(host: Host, there: str) -> None:
    with pytest.raises(InvalidRequest):
        fetched(fetcher(host, "pics.example"), [f"http://pics.example:{host.port}/redirect?{there}"])


def test_redirects_are_followed_a_few_times(host: Host, picture: bytes) -> None:
    there = fetcher(host, "pics.example")
    base = f"http://pics.example:{host.port}/redirect?"
    assert fetched(there, [base * 3 + "/a.png"]) == [picture]
    with pytest.raises(FetchError, match="redirects"):
        fetched(there, [base * 4 + "/a.png"])


def test_bytes_are_capped_over_the_whole_request(host: Host, picture: bytes) -> None:
    there = fetcher(host, "pics.example", max_bytes=2 * len(picture))
    url = f"http://pics.example:{host.port}/a.png"
    assert len(fetched(there, [url] * 2)) == 2
    for urls in ([url] * 3, [f"http://pics.example:{host.port}/endless"]):
        with pytest.raises(MediaTooLarge, match=rf"^input\[{len(urls) - 1}\]: .*max_fetch_bytes"):
            fetched(there, urls)


def test_a_body_that_drips_is_left_when_the_time_is_up(host: Host) -> None:
    with pytest.raises(FetchError, match="max_fetch_seconds"):
        fetched(fetcher(host, "pics.example", max_seconds=0.3), [f"http://pics.example:{host.port}/slow"])


@pytest.mark.parametrize(("path", "told"), [("/missing", "404"), ("/packed", "compressed")])
def test_what_is_no_file_is_told(host: Host, path: str, told: str) -> None:
    with pytest.raises(FetchError, match=told):
        fetched(fetcher(host, "pics.example"), [f"http://pics.example:{host.port}{path}"])


def test_a_name_that_does_not_resolve_and_a_port_nobody_listens_on() -> None:
    def fails(name: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(FetchError, match="resolved"):
        fetched(Fetcher(FetchLimits(("a.example",)), fails), ["http://a.example/"])
    nobody = FetchLimits(("a.example:1",), ("a.example:1",))
    with pytest.raises(FetchError, match="reached"):
        fetched(Fetcher(nobody, lambda name, port: ["127.0.0.1"]), ["http://a.example:1/"])


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://a.example/x", True),
        ("https://A.EXAMPLE./x", True),
        ("https://b.c.example/x", True),
        ("https://c.example:8443/x", True),
        ("https://c.example/x", False),
        ("https://xc.example/x", False),
        ("https://a.example:8443/x", False),
        ("https://a.example.evil.org/x", False),
        ("http://2130706433/", False),
        ("http://0x7f.1/", False),
        ("http://[::1]/", False),
    ],
)
def test_which_hosts_are_listed(url: str, allowed: bool) -> None:
    there = Fetcher(FetchLimits(hosts_of("a.example, *.c.example,C.example:8443")))
    if allowed:
        assert there.check(url).url == url
    else:
        with pytest.raises(Forbidden):
            there.check(url)


@pytest.mark.parametrize(
    "url",
    ["http://", "http://a b/", "ftp://a.example/", "http://a.example:99999/", "http://ä.example/", "http://a\r\n/"],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InvalidRequest):
        Fetcher(FetchLimits(("a.example",))).check(url)


@pytest.mark.parametrize(
    ("place", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.100.100.200", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("nonsense", False),
    ],
)
def test_which_addresses_are_public(place: str, public: bool) -> None:
    assert is_public(place) is public


def test_over_http(host: Host, tmp_path: Path) -> None:
    name = f"127.0.0.1:{host.port}"
    with served(tmp_path, fetch_hosts=name, fetch_private_hosts=name) as client:
        url = f"http://{name}/a.png"
        wrapped = {"type": "image_url", "image_url": {"url": url}}
        answer = client.post("/v1/embeddings", json={"input": [{"url": url}, url, wrapped]})
        assert answer.status_code == 200, answer.text
        vectors = [row["embedding"] for row in answer.json()["data"]]
        assert vectors[0] == vectors[1] == vectors[2]
        assert client.post(SEARCH, json={"image": {"url": url}}).status_code == 200
        other = {"input": {"url": "http://169.254.169.254/latest/meta-data"}}
        problem(client.post("/v1/embeddings", json=other), 403)
        problem(client.post("/v1/embeddings", json={"input": {"url": f"http://{name}/missing"}}), 422)
