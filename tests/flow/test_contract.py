"""The whole OpenAPI document against the server, by requests made at random: no 5xx, nothing it does not describe.

Eight requests an operation here; VICMAE_CONTRACT_RUNS=1000 for a night. Then requests and uploads that are broken at
random: VICMAE_MUTATIONS=10000.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from made_media import write_image, write_video
from schemathesis import checks
from served import ITEMS, SEARCH, added, send, served

from vicmae.export.engine import FakeEngine
from vicmae.server.app import create_app
from vicmae.settings import load_settings

RUNS = int(os.environ.get("VICMAE_CONTRACT_RUNS", "8"))
MUTATIONS = int(os.environ.get("VICMAE_MUTATIONS", "300"))
MOST_GROWTH = 0.05 if MUTATIONS >= 5000 else 0.5  # a few requests do not fill the caches
CHECKS = (
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("contract")
    with served(folder / "data", max_upload_bytes=2**20, max_collections=20) as client:
        added(client, write_image(folder / "a.png", 1), id="picture")
        added(client, write_video(folder / "v.mp4", seconds=2), id="film")
        yield client


def document() -> dict[str, Any]:
    return create_app(load_settings(data=Path("unused")), FakeEngine()).openapi()


def operations() -> list[Any]:
    found: list[Any] = list(schemathesis.openapi.from_dict(document()).get_all_operations())
    return [operation.ok() for operation in found]


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.label)
def test_every_operation_does_what_it_says(operation: Any, client: httpx.Client) -> None:
    @settings(
        max_examples=RUNS,
        derandomize=RUNS < 100,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def answers_as_described(case: Any) -> None:
        case.call_and_validate(base_url=str(client.base_url), checks=CHECKS, timeout=20)

    answers_as_described()


@pytest.mark.parametrize("status, why", [("404", "Undocumented status code"), ("default", None)])
def test_a_status_that_is_not_named_is_noticed(status: str, why: str | None, client: httpx.Client) -> None:
    told = document()
    responses = told["paths"]["/v1/jobs/{job_id}"]["get"]["responses"]
    assert (responses.pop(status, None) is None) == (why is None), "nothing is named by default: it would hide all"
    case = schemathesis.openapi.from_dict(told)["/v1/jobs/{job_id}"]["GET"].Case(path_parameters={"job_id": "none"})
    if why is None:
        case.call_and_validate(base_url=str(client.base_url), checks=list(CHECKS))
        return
    with pytest.raises(BaseException, match=why):
        case.call_and_validate(base_url=str(client.base_url), checks=list(CHECKS))


def test_every_problem_is_named_with_its_types() -> None:
    for path, found in document()["paths"].items():
        for method, operation in found.items():
            for status, answer in operation["responses"].items():
                if status >= "400" and "text/plain" not in answer.get("content", {}):
                    schema = answer["content"]["application/problem+json"]["schema"]
                    assert schema["allOf"][1]["properties"]["type"]["enum"], f"{method} {path} {status}"


def broken(dice: np.random.Generator, data: bytes) -> bytes:
    """The bytes with one to six accidents: changed, lost, doubled, cut short."""
    found = bytearray(data)
    for _ in range(int(dice.integers(1, 7))):
        place, length = int(dice.integers(0, len(found) + 1)), int(dice.integers(1, 40))
        match int(dice.integers(5)):
            case 0:
                found[place : place + 1] = bytes([int(dice.integers(256))])
            case 1:
                del found[place : place + length]
            case 2:
                found[place:place] = found[place : place + length]
            case 3:
                found[place:place] = dice.bytes(length)
            case 4:
                del found[max(1, len(found) - length) :]
    return bytes(found)


def held_bytes() -> int:
    """Resident memory of the server, which runs in this process, and of its decoders."""
    own = Path("/proc/self")
    children = [f"/proc/{pid}" for task in own.glob("task/*/children") for pid in task.read_text().split()]
    found = 0
    for process in (own, *map(Path, children)):
        status = (process / "status").read_text()
        found += next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))
    return found


def test_no_broken_request_breaks_the_server(client: httpx.Client, tmp_path: Path) -> None:
    picture = write_image(tmp_path / "a.jpg", 3, (64, 48)).read_bytes()
    form = b'--x\r\ncontent-disposition: form-data; name="limit"\r\n\r\n3\r\n'
    form += b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\ncontent-type: image/jpeg\r\n\r\n'
    form += picture + b"\r\n--x--\r\n"
    data_url = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="
    search = json.dumps({"item": "film", "target": "clip", "start_seconds": 0.5, "limit": 3}).encode()
    sound = [
        ("POST", SEARCH, "multipart/form-data; boundary=x", form),
        ("POST", ITEMS, "multipart/form-data; boundary=x", form.replace(b'"limit"', b'"id"')),
        ("POST", "/v1/embeddings/upload", "multipart/form-data; boundary=x", form.replace(b"limit", b"model")),
        ("POST", SEARCH, "application/json", search),
        ("POST", "/v1/embeddings", "application/json", json.dumps({"input": [data_url]}).encode()),
        ("PATCH", f"{ITEMS}/film", "application/json", json.dumps({"metadata": {"a": [1, "b", None]}}).encode()),
    ]
    dice, told = np.random.default_rng(5), Counter[int]()
    for number in range(MUTATIONS):
        method, path, kind, body = sound[number % len(sound)]
        answer = client.request(method, path, content=broken(dice, body), headers={"content-type": kind})
        told[answer.status_code] += 1
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.json()["detail"] and "Traceback" not in answer.text
        if number == MUTATIONS // 5:
            settled = held_bytes()
    growth = held_bytes() / settled - 1
    print(f"{MUTATIONS} broken requests: {dict(told)}, memory {growth:+.1%} since the first fifth")
    assert growth < MOST_GROWTH
    assert sum(told[status] for status in told if status >= 400) > MUTATIONS / 4, told
    assert client.get("/readyz").status_code == 200
    assert send(client, write_image(tmp_path / "good.png", 4), SEARCH).status_code == 200
