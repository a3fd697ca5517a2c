"""vicmae.export.engine.onnx_errors: a file that does not start is told in a sentence with its name and the remedy."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from made_runs import nano_encoder, write_bundle

from vicmae.errors import EngineError
from vicmae.export.engine import OnnxRuntimeEngine
from vicmae.media.spec import InputSpec


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("graph") / "bundle") / "model.onnx"


def refused(path: Path) -> str:
    spec: InputSpec = nano_encoder().spec
    with pytest.raises(EngineError) as error:
        OnnxRuntimeEngine(path, spec, "f", "nano", threads=1)
    assert str(error.value).startswith(f"{path} ")
    return str(error.value)


def beside(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=1024)
    return path.with_name("m.data")


@pytest.mark.parametrize("cut", [lambda b: b"", lambda b: b"text" * 300, lambda b: b[: len(b) // 2]])
def test_no_onnx_file_or_half_of_one(graph: Path, tmp_path: Path, cut: Callable[[bytes], bytes]) -> None:
    (tmp_path / "m.onnx").write_bytes(cut(graph.read_bytes()))
    told = refused(tmp_path / "m.onnx")
    assert "is not an ONNX file, or only the beginning of one. Copy the whole bundle again" in told


def test_external_weights_that_are_missing_or_short(graph: Path, tmp_path: Path) -> None:
    data = beside(onnx.load(graph), tmp_path / "m.onnx")
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    assert "keeps its weights in another file, which is too short" in refused(tmp_path / "m.onnx")
    data.unlink()
    assert "keeps its weights in m.data, which is not beside it. Copy the whole" in refused(tmp_path / "m.onnx")


def test_an_opset_and_a_format_of_the_future(graph: Path, tmp_path: Path) -> None:
    model = onnx.load(graph)
    model.opset_import[0].version = 99
    onnx.save(model, tmp_path / "m.onnx")
    assert "wants opset 99, and this ONNX Runtime reads up to 2" in refused(tmp_path / "m.onnx")
    model = onnx.load(graph)
    model.ir_version = 99
    onnx.save(model, tmp_path / "m.onnx")
    assert "is ONNX of format 99" in refused(tmp_path / "m.onnx") and "Upgrade" in refused(tmp_path / "m.onnx")


def test_what_is_not_known_is_told_as_it_was_said(graph: Path, tmp_path: Path) -> None:
    model = onnx.load(graph)
    model.graph.node[-1].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "m.onnx")
    told = refused(tmp_path / "m.onnx")
    assert "does not start: " in told and "NoSuchOperator" in told
