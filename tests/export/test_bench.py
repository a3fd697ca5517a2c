"""vicmae.export.bench and its verb: every engine is measured beside PyTorch eager, and the figures agree."""

import json
from pathlib import Path

import pytest
from made_runs import runner, write_bundle_of_many, write_pictures

from vicmae.errors import InvalidRequest
from vicmae.export import bench, cli
from vicmae.export.bench import EAGER, Report, least_seconds, measure
from vicmae.export.cli import bench as verb
from vicmae.export.cli.bench import markdown
from vicmae.export.engine import Engine, FakeEngine, selection
from vicmae.export.engine.candidates import Machine

NAMES = ["onnxruntime-fp32", "onnxruntime-int8", "onnxruntime-int8-static"]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with ONNX Runtime only, on which memory is not measured again for each test."""
    for module in (bench, selection):
        monkeypatch.setattr(module, "this_machine", lambda: Machine(frozenset({"CPUExecutionProvider"})))
    monkeypatch.setattr(bench, "memory_bytes", lambda *_: 7_000_000)
    monkeypatch.setattr(bench, "PEAK_SIDE", 64)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle_of_many(tmp_path_factory.mktemp("bench") / "bundle")


@pytest.fixture(scope="module")
def report(bundle: Path) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        for module in (bench, selection):
            patch.setattr(module, "this_machine", lambda: Machine(frozenset({"CPUExecutionProvider"})))
        patch.setattr(bench, "memory_bytes", lambda *_: 7_000_000)
        patch.setattr(bench, "PEAK_SIDE", 64)
        return measure(bundle, [1, 4], [1], seconds=0.01)


def test_every_engine_is_timed_at_every_batch(report: Report) -> None:
    assert [(s.engine, s.batch) for s in report.speeds] == [(n, b) for b in (1, 4) for n in (EAGER, *NAMES)]
    eager = {s.batch: s for s in report.speeds if s.engine == EAGER}
    for s in report.speeds:
        assert s.images_per_second == pytest.approx(s.batch / s.ms * 1000)
        assert s.ratio == pytest.approx(eager[s.batch].ms / s.ms) and eager[s.batch].ratio == 1
        assert s.share is not None and s.share > 0
    assert report.peaks.keys() == {1} and not report.refused


def test_every_engine_is_compared(report: Report) -> None:
    assert [f.engine for f in report.fidelity] == NAMES
    for f in report.fidelity:
        assert f.drift.source == "canary" and f.drift.pictures == 8 and f.memory_bytes == 7_000_000
        assert f.drift.min_cosine > (0.9999 if f.precision == "fp32" else 0.97)


def test_the_table_for_the_docs_has_a_row_an_engine(report: Report) -> None:
    head, _, *rows = [line for line in markdown(report, 4).splitlines() if line.startswith("|")]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == [EAGER, *NAMES]
    assert {row.count("|") for row in rows} == {head.count("|")}


def test_an_engine_that_does_not_start_is_told(bundle: Path) -> None:
    report = measure(bundle, [1], [1], 0.001, "tensorrt", ["tensorrt-fp32"])
    assert "has no TensorrtExecutionProvider" in report.refused["tensorrt-fp32"]
    assert not report.fidelity and {s.engine for s in report.speeds} == {EAGER}


def test_all_take_turns() -> None:
    order: list[str] = []

    class Watched(FakeEngine):
        def embed(self, pixels):  # type: ignore[no-untyped-def]
            order.append(self.fingerprint)
            return super().embed(pixels)

    engines: dict[str, Engine] = {name: Watched(fingerprint=name) for name in "ab"}
    ticks = iter(range(1000))
    least = least_seconds(engines, 2, 10, lambda: next(ticks))
    assert set(least) == {"a", "b"} and order[2:8] == ["a", "b"] * 3


def test_memory_of_a_fresh_process(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 1e5 < bench.memory_bytes(bundle, "onnxruntime-fp32", 1, "cpu") < 1e9


def test_the_verb_prints_tables_json_markdown_and_draws(bundle: Path, tmp_path: Path) -> None:
    run = runner(cli.register)
    words = ("bench", "engine", "--bundle", bundle, "--batch", 2, "--threads", 1, "--seconds", 0.01)
    pictures = write_pictures(tmp_path / "pictures", 12)
    told = json.loads(run(*words, "--json", "--pictures", pictures).stdout)
    assert told["model"] == "nano" and told["fidelity"][0]["drift"]["source"] == "12 real pictures"
    shown = run(*words).stdout
    assert all(name in shown for name in (EAGER, *NAMES)) and "GFLOP/s" in shown
    assert "| onnxruntime-int8-static | int8 |" in run(*words, "--markdown", "--engine", NAMES[2]).stdout


def test_the_plot_is_a_picture(report: Report, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra bench)")
    verb.draw(report, tmp_path / "speeds.png")
    assert (tmp_path / "speeds.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_without_its_library_is_a_sentence(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "find_spec", lambda name: None)
    with pytest.raises(InvalidRequest, match=r"pip install '\.\[bench\]'"):
        runner(cli.register)("bench", "engine", "--bundle", bundle, "--plot", "x.png")
