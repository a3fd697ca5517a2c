"""The ring that looks at keys: which scope each route needs, 401, 403 and 429, and a page that asks for a key."""

from pathlib import Path

import httpx
import pytest
from made_media import write_image
from served import ITEMS, SEARCH, problem, send, served

from vicmae.server.app import create_app
from vicmae.server.auth.keys import Key, Keys, Scope
from vicmae.server.auth.rate_limit import BURST_SECONDS, RateLimiter
from vicmae.server.auth.scopes import required_scope
from vicmae.settings import load_settings

EMBEDDINGS = "/v1/embeddings"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="
C = "/v1/collections/c"


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/", None),
        ("GET", "/page/app.js", None),
        ("GET", "/livez", None),
        ("GET", "/openapi.json", None),
        ("POST", "/livez", "admin"),
        ("GET", "/metrics", "any"),
        ("GET", "/v1/models", "any"),
        ("POST", "/v1/embeddings", "embed"),
        ("POST", "/v1/embeddings/upload", "embed"),
        ("GET", "/v1/collections", "search"),
        ("GET", f"{C}/items/i/media", "search"),
        ("HEAD", f"{C}/items/i/media", "search"),
        ("GET", "/v1/jobs/j/events", "search"),
        ("POST", f"{C}/search", "search"),
        ("POST", f"{C}/align", "search"),
        ("POST", f"{C}/explain", "search"),
        ("POST", f"{C}/items", "index"),
        ("DELETE", f"{C}/items/search", "index"),
        ("PATCH", f"{C}/items/i", "index"),
        ("POST", f"{C}/duplicates/dismiss", "index"),
        ("POST", f"{C}/scan", "index"),
        ("DELETE", "/v1/jobs/j", "index"),
        ("PUT", C, "admin"),
        ("DELETE", C, "admin"),
        ("DELETE", "/v1/collections/items", "admin"),
        ("GET", f"{C}/snapshots", "admin"),
        ("POST", "/v1/snapshots/restore", "admin"),
        ("GET", "//v1/models", "admin"),
        ("GET", "/metrics/", "admin"),
        ("BREW", "/v1/models", "admin"),
    ],
)
def test_what_each_route_needs(method: str, path: str, needed: str | None) -> None:
    assert required_scope(method, path) == needed


def test_no_route_that_changes_or_computes_is_open(tmp_path: Path) -> None:
    paths = create_app(load_settings(data=tmp_path)).openapi()["paths"]
    assert len(paths) > 15
    for path, operations in paths.items():
        for method in operations:
            if method != "get":
                assert required_scope(method.upper(), path) not in (None, "any"), path
            elif path.startswith("/v1/"):
                assert required_scope("GET", path) is not None, path


def test_scopes_open_what_they_name_and_nothing_else(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "data")
    text: dict[Scope, str] = {s: keys.create(s, [s])[1] for s in ("embed", "search", "index", "admin")}
    picture = write_image(tmp_path / "a.png", 1)

    def statuses(client: httpx.Client, headers: dict[str, str]) -> list[int]:
        client.headers.update(headers)
        found = [
            client.post(EMBEDDINGS, json={"input": PIXEL}).status_code,
            client.get("/v1/collections").status_code,
            send(client, picture).status_code,
            client.put("/v1/collections/other").status_code,
            client.get("/metrics").status_code,
        ]
        client.headers.pop("authorization", None)
        return found

    with served(tmp_path / "data") as client:
        assert statuses(client, {}) == [401] * 5
        assert statuses(client, bearer("vicmae_00000000_nonsense")) == [401] * 5
        assert statuses(client, {"authorization": "Basic dTpw"}) == [401] * 5
        assert statuses(client, bearer(text["embed"])) == [200, 403, 403, 403, 200]
        assert statuses(client, bearer(text["search"])) == [403, 200, 403, 403, 200]
        assert statuses(client, bearer(text["index"])) == [403, 403, 201, 403, 200]
        assert statuses(client, bearer(text["admin"])) == [200, 200, 200, 201, 200]
        for path in ("/", "/page/app.js", "/livez", "/readyz", "/openapi.json"):
            assert client.get(path).status_code == 200, path
        told = problem(client.get("/v1/models"), 401)
        assert told["type"].endswith("unauthorized") and "keys create" in told["detail"]
        assert client.get("/v1/models").headers["www-authenticate"].startswith("Bearer")
        told = problem(client.get(ITEMS, headers=bearer(text["embed"])), 403)
        assert told["type"].endswith("missing-scope") and "search" in told["detail"]


def test_a_key_made_or_revoked_counts_at_once(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    with served(tmp_path) as client:
        assert client.get("/v1/models").status_code == 200
        key, text = keys.create("me", ["search"])
        assert client.get("/v1/models").status_code == 401
        assert client.get("/v1/models", headers=bearer(text)).status_code == 200
        keys.revoke(key.id)
        assert client.get("/v1/models", headers=bearer(text)).status_code == 401
        keys.path.write_text("damaged")
        problem(client.get("/v1/models", headers=bearer(text)), 507)


def test_a_cookie_serves_what_cannot_send_headers(tmp_path: Path) -> None:
    _, text = Keys(tmp_path).create("me", ["search"])
    with served(tmp_path) as client:
        assert client.get(ITEMS, headers={"cookie": f"a=b; vicmae_key={text}"}).status_code == 200
        assert client.get(ITEMS, headers={"cookie": f"other={text}"}).status_code == 401
        foreign = {"cookie": f"vicmae_key={text}", "origin": "https://evil.example"}
        problem(client.post(SEARCH, json={"item": "x"}, headers=foreign), 403)


def test_with_keys_a_proxy_may_use_its_own_name(tmp_path: Path) -> None:
    name = {"host": "photos.example"}
    with served(tmp_path) as client:
        problem(client.get("/v1/models", headers=name), 403)
        _, text = Keys(tmp_path).create("me", ["search"])
        assert client.get("/v1/models", headers={**name, **bearer(text)}).status_code == 200


def test_who_asks_too_often_waits(tmp_path: Path) -> None:
    _, slow = Keys(tmp_path).create("slow", ["embed"], requests_per_second=0.25)
    _, other = Keys(tmp_path).create("other", ["embed"])
    with served(tmp_path) as client:
        assert client.get("/v1/models", headers=bearer(slow)).status_code == 200
        answer = client.get("/v1/models", headers=bearer(slow))
        assert problem(answer, 429)["type"].endswith("too-many-requests")
        assert 1 <= int(answer.headers["retry-after"]) <= 4
        assert client.get("/v1/models", headers=bearer(other)).status_code == 200
        assert client.get("/livez", headers=bearer(slow)).status_code == 200


def test_a_rate_is_kept_over_time() -> None:
    now = 0.0
    rates = RateLimiter(2.0, lambda: now)
    key = Key("a", "a", ("embed",), None, "", "")
    assert [rates.wait_seconds(key) for _ in range(int(2 * BURST_SECONDS))] == [0.0] * 8
    assert rates.wait_seconds(key) == pytest.approx(0.5)
    now = 0.5
    assert rates.wait_seconds(key) == 0 and rates.wait_seconds(key) > 0
    now, through = 1000.0, 0
    while not rates.wait_seconds(key):
        through += 1
    assert through == 8, "a bucket holds no more than it holds"


def test_answers_to_a_key_say_how_much_of_its_rate_is_left(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        assert "ratelimit" not in client.get("/v1/models").headers, "without keys there are no rates"
        text = Keys(tmp_path).create("a", ["embed"], requests_per_second=0.5)[1]
        first = client.get("/v1/models", headers=bearer(text))
        assert first.headers["ratelimit-policy"] == '"key";q=2;w=4'
        assert first.headers["ratelimit"] == '"key";r=1;t=2'
        client.get("/v1/models", headers=bearer(text))
        refused = client.get("/v1/models", headers=bearer(text))
        problem(refused, 429)
        assert refused.headers["ratelimit"].startswith('"key";r=0;t=')
        assert int(refused.headers["retry-after"]) >= 1


def test_only_so_many_collections(tmp_path: Path) -> None:
    with served(tmp_path, max_collections=2) as client:
        assert client.put("/v1/collections/second").status_code == 201
        assert "max_collections" in problem(client.put("/v1/collections/third"), 409)["detail"]
        assert client.put("/v1/collections/second").status_code == 200
