"""Keys: made once, kept as hashes, recognised, revoked, over processes; and the verbs around them."""

import json
import stat
import threading
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from vicmae.errors import InvalidRequest, NotFound, StorageError
from vicmae.server.auth import cli as keys_cli
from vicmae.server.auth.keys import Keys


def test_a_key_is_recognised_until_it_is_revoked(tmp_path: Path) -> None:
    keys, elsewhere = Keys(tmp_path), Keys(tmp_path)
    assert not keys.are_needed and keys.list() == ()
    key, text = keys.create("me", ["search", "embed", "embed"])
    assert key.scopes == ("embed", "search") and keys.are_needed
    assert elsewhere.find(text) == key
    keys.revoke(key.id)
    assert elsewhere.find(text) is None and elsewhere.list() == ()
    assert keys.are_needed, "revoking the last key must not open the door"
    with pytest.raises(NotFound, match="keys list"):
        keys.revoke(key.id)


def test_only_a_hash_is_kept_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    _, text = Keys(tmp_path).create("me", ["admin"])
    assert text.rpartition("_")[2] not in (tmp_path / "keys.json").read_text()
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


def test_what_is_nearly_a_key_is_none(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    key, text = keys.create("me", ["admin"])
    secret = text.split("_", 2)[2]
    near = ["", "vicmae", f"vicmae_{key.id}_", f"vicmae_{key.id}_{secret}x", f"vicmae_{key.id}_{secret[:-1]}"]
    near += [f"other_{key.id}_{secret}", f"vicmae_00000000_{secret}", f"vicmae_{secret}", "ü" * 99, "\ud800"]
    for wrong in near:
        assert keys.find(wrong) is None, wrong
    assert keys.find(text) == key


def test_many_hands_lose_no_key(tmp_path: Path) -> None:
    threads = [threading.Thread(target=Keys(tmp_path).create, args=(f"k{i}", ["embed"])) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in Keys(tmp_path).list()} == {f"k{i}" for i in range(12)}


def test_a_damaged_file_lets_nobody_in(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    _, text = keys.create("me", ["admin"])
    for content in ("", "{}", '{"keys": [{"id": "a"}]}', '{"keys": 3}'):
        (tmp_path / "keys.json").write_text(content)
        with pytest.raises(StorageError, match="nobody gets in"):
            keys.find(text)
        with pytest.raises(StorageError):
            keys.create("another", ["admin"])


@pytest.mark.parametrize(("name", "scopes"), [("", ["embed"]), ("a\n", ["embed"]), ("me", []), ("me", ["root"])])
def test_keys_that_make_no_sense_are_refused(tmp_path: Path, name: str, scopes: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        Keys(tmp_path).create(name, scopes)
    assert not (tmp_path / "keys.json").exists()


def run(*words: str) -> Result:
    app = typer.Typer()
    keys_cli.register(app)
    return CliRunner().invoke(app, ["keys", *words])


def test_the_verbs(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path))
    text = run("create", "the page", "--scope", "search", "--scope", "index", *data).stdout.strip()
    assert text.startswith("vicmae_")
    made = json.loads(run("create", "other", "--rate", "3", "--json", *data).stdout)
    assert made["scopes"] == ["embed", "search"] and made["requests_per_second"] == 3
    listed = run("list", "--json", *data).stdout
    assert [key["name"] for key in json.loads(listed)["data"]] == ["the page", "other"]
    assert text not in listed and "sha256" not in listed
    assert "the page" in run("list", *data).stdout
    assert run("revoke", made["id"], *data).exit_code == 0
    assert Keys(tmp_path).find(made["key"]) is None and Keys(tmp_path).find(text)
