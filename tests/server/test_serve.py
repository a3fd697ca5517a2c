"""`vicmae serve` and `vicmae doctor` as a person runs them: words, exit codes, addresses."""

import json
import socket
from pathlib import Path

import pytest
import typer
from made_items import ENGINE, new_item
from made_pictures import jpegs_of
from typer.testing import CliRunner, Result

from vicmae.errors import InvalidRequest
from vicmae.index.library import Library
from vicmae.server import cli
from vicmae.server.run import listening_socket, web_address


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    cli.register(app)
    return app


def run(app: typer.Typer, *words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_both_verbs_explain_themselves(app: typer.Typer) -> None:
    for verb in ("serve", "doctor"):
        answer = run(app, verb, "--help")
        assert answer.exit_code == 0 and "--data" in answer.output and "--bundle" in answer.output


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.7.7"])
def test_it_listens_beyond_this_machine_only_with_keys(app: typer.Typer, tmp_path: Path, host: str) -> None:
    answer = run(app, "serve", "--data", str(tmp_path), "--host", host)
    assert answer.exit_code == 1 and isinstance(answer.exception, InvalidRequest)
    assert "vicmae keys create" in str(answer.exception)
    key_id = json.loads(run(app, "keys", "create", "me", "--data", str(tmp_path), "--json").stdout)["id"]
    run(app, "keys", "revoke", key_id, "--data", str(tmp_path))
    answer = run(app, "serve", "--data", str(tmp_path), "--host", host)
    assert isinstance(answer.exception, InvalidRequest), "a key that was revoked protects nothing"


def test_a_port_in_use_is_a_sentence(app: typer.Typer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = run(app, "serve", "--data", str(tmp_path), "--port", str(port))
    assert isinstance(answer.exception, InvalidRequest)
    assert f"Port {port}" in str(answer.exception) and "--port" in str(answer.exception)


def test_an_unknown_host_is_a_sentence() -> None:
    with pytest.raises(InvalidRequest, match="no address"):
        listening_socket("no such host.invalid", 0)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
def test_the_address_is_one_to_open(host: str, shown: str) -> None:
    with listening_socket(host, 0) as listener:
        assert web_address(host, listener) == f"http://{shown}:{listener.getsockname()[1]}"


def test_doctor_finds_what_is_broken(app: typer.Typer, tmp_path: Path) -> None:
    answer = run(app, "doctor", "--json", "--data", str(tmp_path), "--bundle", str(tmp_path / "no-bundle"))
    assert answer.exit_code == 1
    report = json.loads(answer.stdout)
    assert report["ok"] is False
    assert report["bundle"]["state"] == "broken" and "no-bundle" in report["bundle"]["detail"]
    assert report["data"]["state"] != "broken" and report["data"]["collections"] == {}
    assert report["codecs"]["decodes"]["h264"] and report["codecs"]["decodes"]["jpeg"]
    assert report["versions"]["python"].startswith("3.")
    assert report["devices"]["cpu_cores"] >= 1


def test_doctor_looks_and_changes_nothing(app: typer.Typer, tmp_path: Path) -> None:
    data = tmp_path / "not" / "yet"
    answer = run(app, "doctor", "--data", str(data), "--bundle", str(tmp_path))
    assert not data.exists() and "✗ bundle" in answer.stdout


def test_doctor_tells_which_items_have_no_pictures(app: typer.Typer, tmp_path: Path) -> None:
    with Library(tmp_path) as library:
        collection = library.create("c", ENGINE)
        new = new_item(1, 2)
        collection.add(new, pictures=jpegs_of(new))
        words = ("doctor", "--json", "--data", str(tmp_path), "--bundle", str(tmp_path))
        assert json.loads(run(app, *words).stdout)["pictures"]["state"] == "ok"
        collection.add(new_item(2))
    told = json.loads(run(app, *words).stdout)["pictures"]
    assert told["state"] == "note" and told["collections"]["c"]["without_pictures"] == 1
    assert "1 items of c have none" in told["detail"] and "vicmae collections fill-pictures" in told["detail"]


def test_doctor_refuses_a_data_folder_that_is_a_file(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    answer = run(app, "doctor", "--json", "--data", str(tmp_path / "data"))
    assert answer.exit_code == 1 and json.loads(answer.stdout)["data"]["state"] == "broken"


def test_doctor_names_the_engine_that_runs_and_those_there_are(app: typer.Typer, tmp_path: Path) -> None:
    answer = run(app, "doctor", "--json", "--data", str(tmp_path / "data"), "--engine", "onnxruntime-fp32")
    told = json.loads(answer.stdout)["bundle"]
    assert told["runs"] == "fp32 in onnxruntime on cpu" and "onnxruntime-fp32" in told["engines"]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("verb", ["serve", "doctor"])
def test_a_gpu_that_is_not_there_is_told_at_the_start(app: typer.Typer, tmp_path: Path, verb: str) -> None:
    words = (verb, "--data", str(tmp_path), "--device", "tensorrt:7", "--engine", "auto")
    answer = run(app, *words, *(("--port", "0") if verb == "serve" else ()))
    assert answer.exit_code == 1
    assert "cuda:7 was asked for" in f"{answer.output}{answer.exception}"
