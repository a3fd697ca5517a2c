"""What an operator sees: metrics of every stage, log lines with ids, traces that go on, an end that loses nothing."""

import io
import json
import logging
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from made_media import write_image, write_video
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from served import ITEMS, SEARCH, added, send, served

from vicmae.server.observability.logs import ACCESS, JsonLines
from vicmae.server.observability.tracing import span_of

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "vicmae.json"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("served")
    with served(folder / "data") as client:
        picture = write_image(folder / "a.png", 1)
        added(client, picture)
        added(client, write_video(folder / "v.mp4", seconds=2))
        assert send(client, picture, SEARCH).status_code == 200
        client.get("/v1/nothing/of/the/kind")
        yield client


def metrics_of(client: httpx.Client) -> dict[str, dict[tuple[str, ...], float]]:
    """Every sample by name and the values of its labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(v for _, v in sorted(sample.labels.items()))] = sample.value
    return found


def test_every_stage_queue_collection_and_job_is_told(client: httpx.Client) -> None:
    told = metrics_of(client)
    for stage in ("decode", "queue", "engine", "index"):
        assert told["vicmae_stage_seconds_count"][(stage,)] >= 1, stage
    assert told["vicmae_batch_pictures_sum"][()] >= 1
    assert told["vicmae_pipeline_requests"][()] == 0 and told["vicmae_pipeline_requests_limit"][()] == 64
    assert told["vicmae_engine_queue_requests"][()] == 0
    assert told["vicmae_collection_items"][("default",)] == 2
    assert told["vicmae_collection_frames"][("default",)] >= 2
    assert told["vicmae_jobs"][("succeeded",)] == 1 and told["vicmae_jobs"][("failed",)] == 0


def test_requests_are_counted_by_pattern_never_by_path(client: httpx.Client) -> None:
    told = metrics_of(client)["vicmae_requests_total"]
    assert told[("POST", "/v1/collections/{name}/search", "200")] == 1
    assert told[("GET", "other", "404")] >= 1
    assert not [labels for labels in told if "default" in labels[1] or "kind" in labels[1]]


def test_the_dashboard_asks_for_metrics_that_exist(client: httpx.Client) -> None:

    names = set(re.findall(r"vicmae_\w+", DASHBOARD.read_text()))
    assert len(names) > 8
    assert names <= set(metrics_of(client)), names - set(metrics_of(client))


def test_a_trace_is_taken_over_and_given_on(client: httpx.Client) -> None:
    parent = f"00-{TRACE}-b7ad6b7169203331-01"
    given = client.get("/livez", headers={"traceparent": parent}).headers["traceparent"]
    assert given.startswith(f"00-{TRACE}-") and given.endswith("-01") and given != parent
    for wrong in ("", "nonsense", f"00-{'0' * 32}-b7ad6b7169203331-01", f"ff-{TRACE}-b7ad6b7169203331-01"):
        assert TRACE not in span_of(wrong).traceparent and len(span_of(wrong).traceparent) == 55


def test_opentelemetry_spans_carry_the_stages_and_the_answer_their_trace(tmp_path: Path) -> None:
    from opentelemetry import trace

    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    with served(tmp_path / "data") as client:
        headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        with write_image(tmp_path / "a.png", 1).open("rb") as file:
            answer = client.post("/v1/embeddings/upload", files={"file": file}, headers=headers)
    span = next(
        span for span in spans.get_finished_spans() if span.attributes and "vicmae.engine_ms" in span.attributes
    )
    assert span.context and f"{span.context.trace_id:032x}" == TRACE
    assert answer.headers["traceparent"] == f"00-{TRACE}-{span.context.span_id:016x}-01"


def test_json_lines_tell_each_request_with_its_ids(client: httpx.Client) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    access = logging.getLogger(ACCESS)
    access.addHandler(handler)
    before = access.level
    access.setLevel(logging.INFO)
    try:
        answer = client.get(f"{ITEMS}/none?secret=1", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
        while not stream.getvalue():  # the line may come a moment after the answer
            client.get("/livez")
    finally:
        access.removeHandler(handler)
        access.setLevel(before)
    line = json.loads(stream.getvalue().splitlines()[0])
    assert line["request_id"] == answer.headers["x-request-id"] and line["trace_id"] == TRACE
    assert (line["method"], line["path"], line["status"]) == ("GET", f"{ITEMS}/none", 404)
    assert "secret" not in stream.getvalue()


def test_an_exception_stays_one_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "f", 1, "it %s", ("broke",), sys.exc_info())
    text = JsonLines().format(record)
    assert "\n" not in text and "two\\nlines" in json.loads(text)["exception"].replace("\n", "\\n")


def test_told_to_stop_it_finishes_what_was_accepted(tmp_path: Path) -> None:
    words = ("-m", "vicmae", "serve", "--port", "0", "--data", str(tmp_path / "data"), "--log-format", "json")
    with subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout and server.stderr
        address = urlsplit(server.stdout.readline().split()[-1])
        body = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        body += write_image(tmp_path / "a.png", 1).read_bytes() + b"\r\n--x--\r\n"
        head = f"POST {ITEMS} HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-length: {len(body)}\r\n"
        head += "content-type: multipart/form-data; boundary=x\r\n\r\n"
        with socket.create_connection((address.hostname, address.port), 20) as connection:
            connection.sendall(head.encode() + body[:100])
            httpx.get(f"{address.geturl()}/livez")
            server.send_signal(signal.SIGTERM)
            with pytest.raises(httpx.HTTPError):
                while True:
                    httpx.get(f"{address.geturl()}/livez")
            connection.sendall(body[100:])
            assert connection.recv(4096).startswith(b"HTTP/1.1 201")
        assert server.wait(30) == 0
        lines = [json.loads(line) for line in server.stderr.read().splitlines()]
    assert {"method": "POST", "path": ITEMS, "status": 201}.items() <= lines[-1].items()
