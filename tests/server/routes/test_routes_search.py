"""Search and lists over HTTP with filters and pages."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from made_media import write_image, write_video
from served import ITEMS, SEARCH, added, problem, send, served

FILMS = {"must": [{"key": "kind", "match": {"value": "video"}}]}
IN_ULM = {"must": [{"key": "metadata.place", "match": {"value": "Ulm"}}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with served(folder / "data") as client:
        for seed in range(6):
            place = "Ulm" if seed % 2 else "Bonn"
            added(client, write_image(folder / f"{seed}.png", seed), id=f"p{seed}", metadata=f'{{"place": "{place}"}}')
        added(client, write_video(folder / "film.mp4", 9, seconds=3), id="film")
        yield client


def found(client: httpx.Client, **wish: Any) -> dict[str, Any]:
    answer = client.post(SEARCH, json=wish)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def names(answer: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in answer["data"]]


def test_a_filter_narrows_search_and_list(client: httpx.Client, folder: Path) -> None:
    assert names(found(client, item="p0", filter=FILMS)) == ["film"]
    assert set(names(found(client, item="p0", filter=IN_ULM))) == {"p1", "p3", "p5"}
    assert set(names(found(client, item="film", filter=IN_ULM))) == {"p1", "p3", "p5"}
    sent = send(client, folder / "0.png", SEARCH, filter=json.dumps(IN_ULM)).json()
    assert set(names(sent)) == {"p1", "p3", "p5"}
    listed = client.get(ITEMS, params={"filter": json.dumps(IN_ULM), "limit": 2}).json()
    rest = client.get(ITEMS, params={"filter": json.dumps(IN_ULM), "limit": 2, "cursor": listed["next_cursor"]}).json()
    assert [item["id"] for item in listed["data"] + rest["data"]] == ["p5", "p3", "p1"]
    assert rest["next_cursor"] is None


def test_the_plan_says_how_it_was_found(client: httpx.Client, folder: Path) -> None:
    plan = found(client, item="p0")["plan"]
    assert (plan["index"], plan["recall_estimate"], plan["vectors"]) == ("exact", 1.0, 12)
    assert "allowed" not in plan
    assert found(client, item="p0", filter=FILMS)["plan"]["allowed"] == 6
    assert names(found(client, item="p0", exact=True)) == names(found(client, item="p0"))
    assert names(send(client, folder / "0.png", SEARCH, exact="true").json())[0] == "p0"


def test_who_still_asks_for_a_recall_is_told_what_to_say_instead(client: httpx.Client, folder: Path) -> None:
    for answer in (
        client.post(SEARCH, json={"item": "p0", "min_recall": 0.5}),
        send(client, folder / "0.png", SEARCH, min_recall="0.9"),
    ):
        assert '"exact": true' in problem(answer, 400)["detail"]


def test_a_wrong_filter_is_told_with_its_place(client: httpx.Client, folder: Path) -> None:
    wrong = {"must": [{"key": "kind", "match": {"value": "image"}}, {"key": "width", "range": {"gte": "wide"}}]}
    for answer in (
        client.post(SEARCH, json={"item": "p0", "filter": wrong}),
        client.get(ITEMS, params={"filter": json.dumps(wrong)}),
        send(client, folder / "0.png", SEARCH, filter=json.dumps(wrong)),
    ):
        assert problem(answer, 400)["detail"].startswith("filter.must[1].range.gte: got 'wide', expected a number")
    problem(client.get(ITEMS, params={"filter": "{"}), 400)


def test_the_grammar_is_described(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["SearchRequest"]["properties"]["filter"]["$ref"] == "#/components/schemas/Filter"
    assert {"must", "should", "must_not"} == set(schemas["Filter"]["properties"])
    assert {"Condition", "Match", "Range"} <= set(schemas)


@pytest.mark.parametrize("target", ["frame", "clip"])
def test_pages_of_a_search_hold_every_item_once(client: httpx.Client, folder: Path, target: str) -> None:
    seen: list[str] = []
    wish: dict[str, Any] = {"item": "film", "target": target, "limit": 4}
    while True:
        answer = found(client, **wish)
        seen += names(answer)
        if answer["next_cursor"] is None:
            break
        wish["cursor"] = answer["next_cursor"]
        newcomer = added(client, write_image(folder / "new.png", 77), id=f"new-{target}")
    assert sorted(seen) == [f"p{seed}" for seed in range(6)]
    client.delete(f"{ITEMS}/{newcomer}")


def test_pages_of_an_uploaded_picture(client: httpx.Client, folder: Path) -> None:
    first = send(client, folder / "3.png", SEARCH, limit="3").json()
    rest = send(client, folder / "3.png", SEARCH, limit="10", cursor=first["next_cursor"]).json()
    assert first["data"][0]["id"] == "p3" and rest["next_cursor"] is None
    assert sorted(names(first) + names(rest)) == ["film", *(f"p{seed}" for seed in range(6))]
    told = problem(send(client, folder / "2.png", SEARCH, cursor=first["next_cursor"]), 400)
    assert "another search" in told["detail"]
    told = problem(client.post(SEARCH, json={"item": "p0", "cursor": "nonsense"}), 400)
    assert "not one we gave" in told["detail"]
