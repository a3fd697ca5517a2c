"""vicmae.settings: flags > environment > vicmae.toml > defaults, and wrong values told in a sentence."""

from pathlib import Path

import pytest

from vicmae.errors import InvalidRequest
from vicmae.settings import SHIPPED_BUNDLE, Settings, default_data_dir, load_settings


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without vicmae.toml and an environment without VICMAE_*."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"VICMAE_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_defaults() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.frames_per_second) == ("127.0.0.1", 8000, 2.0)
    assert settings.bundle == SHIPPED_BUNDLE and settings.data == default_data_dir()


def test_each_source_tops_the_next(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_folder / "vicmae.toml").write_text("port = 1001\nthreads = 3\nmax_frames = 10\n")
    assert load_settings().port == 1001
    monkeypatch.setenv("VICMAE_PORT", "1002")
    monkeypatch.setenv("VICMAE_MAX_FRAMES", "20")
    assert load_settings().port == 1002
    settings = load_settings(port=1003)
    assert (settings.port, settings.max_frames, settings.threads, settings.max_queue) == (1003, 20, 3, 64)


def test_a_flag_that_was_not_given_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICMAE_BUNDLE", "/models/mine")
    assert load_settings(bundle=None, port=None).bundle == Path("/models/mine")


def test_every_setting_can_be_set_by_the_environment_and_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[str, object] = {
        **{"data": Path("d"), "bundle": Path("b"), "host": "0.0.0.0"},
        **{"device": "cuda:1", "engine": "fastest", "sampling": "auto"},
        **{
            "hardware_decoding": "off",
            "fetch_hosts": "a.org",
            "fetch_private_hosts": "b.org",
            "batch_wait_seconds": 0.5,
            "log_format": "json",
            "open_telemetry": True,
            "frame_store": False,
            "library_roots": "/photos",
            "index_kind": "ivf",
            "index_device": "cuda:1",
            "index_device_kind": "cagra",
            "min_recall": 0.5,
        },
    }
    for name, field in Settings.model_fields.items():
        assert field.description, name
        monkeypatch.setenv(f"VICMAE_{name.upper()}", str(values.setdefault(name, 7)))
    assert load_settings().model_dump() == values


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"port": 70000}, r"port: .* \(got 70000\)"),
        ({"port": "http"}, r"port: .* \(got 'http'\)"),
        ({"frames_per_second": 0}, "frames_per_second"),
        ({"frames_per_second": float("nan")}, "frames_per_second"),
        ({"max_pixels": -1}, "max_pixels"),
    ],
)
def test_a_wrong_value_is_named(flags: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidRequest, match=f"A setting is wrong: {told}.*Check the flags, VICMAE_"):
        load_settings(**flags)


def test_several_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICMAE_PORT", "x")
    with pytest.raises(InvalidRequest, match="port.*max_frames"):
        load_settings(max_frames=0)


def test_a_misspelt_key_of_the_file_is_refused(empty_folder: Path) -> None:
    (empty_folder / "vicmae.toml").write_text("prot = 8000\n")
    with pytest.raises(InvalidRequest, match="prot"):
        load_settings()


@pytest.mark.parametrize("content", [b"port = = 1", b"port = \xff"])
def test_a_file_that_is_no_toml_is_refused(empty_folder: Path, content: bytes) -> None:
    (empty_folder / "vicmae.toml").write_bytes(content)
    with pytest.raises(InvalidRequest, match="vicmae.toml"):
        load_settings()


def test_the_data_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    assert default_data_dir() == Path("/elsewhere/vicmae")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_data_dir() == Path("/home/someone/.local/share/vicmae")


def test_a_kind_of_index_that_is_gone_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICMAE_INDEX_KIND", "hnsw")
    with pytest.raises(InvalidRequest, match="index_kind: .*hnsw is gone.*say auto, exact or ivf"):
        load_settings()
