"""vicmae.export.engine.tensorrt_engine: profiles, names of built files, refusals; the rest needs a GPU and TensorRT."""

from pathlib import Path

import pytest
from made_runs import NANO, runner, write_bundle

from vicmae.errors import EngineError
from vicmae.export import cli
from vicmae.export.engine import build_tensorrt, open_engine
from vicmae.export.engine.tensorrt_engine import built_name, has_tensorrt, is_built, profile_of

SPEC = NANO.input_spec(32, fit="squash")


def test_a_profile_goes_from_one_picture_to_the_greatest_batch() -> None:
    assert profile_of(SPEC, 256) == ((1, 32, 32, 3), (32, 32, 32, 3), (256, 32, 32, 3))
    assert profile_of(SPEC, 8) == ((1, 32, 32, 3), (8, 32, 32, 3), (8, 32, 32, 3))


def test_a_built_file_belongs_to_one_model_gpu_version_and_profile() -> None:
    profile = profile_of(SPEC, 64)
    name = built_name("ab" * 32, "NVIDIA H200", "10.9.0", profile)
    assert name.startswith("abababababababab-nvidia-h200-10.9.0-") and name.endswith(".engine")
    others = {
        built_name("cd" * 32, "NVIDIA H200", "10.9.0", profile),
        built_name("ab" * 32, "NVIDIA H100 80GB HBM3", "10.9.0", profile),
        built_name("ab" * 32, "NVIDIA H200", "11.4.0", profile),
        built_name("ab" * 32, "NVIDIA H200", "10.9.0", profile_of(SPEC, 65)),
    }
    assert len({name, *others}) == 5
    assert name == built_name("ab" * 32, "NVIDIA H200", "10.9.0", profile)


def test_a_name_of_a_gpu_cannot_leave_its_folder() -> None:
    assert "/" not in built_name("ab" * 32, "../../etc/x", "10", profile_of(SPEC, 1))


def test_built_files_are_found_by_their_model(tmp_path: Path) -> None:
    assert not is_built("ab" * 32, [tmp_path, tmp_path / "none"])
    (tmp_path / "abababababababab-nvidia-h200-10-00000000.engine").touch()
    assert is_built("ab" * 32, [tmp_path / "none", tmp_path]) and not is_built("cd" * 32, [tmp_path])


@pytest.mark.skipif(has_tensorrt(), reason="TensorRT is installed")
def test_without_its_packages_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="pip install tensorrt cuda-python, or say --device cuda"):
        open_engine(write_bundle(tmp_path / "bundle"), device="tensorrt", engine="tensorrt-fp32")


@pytest.mark.skipif(has_tensorrt(), reason="TensorRT is installed")
def test_an_export_that_wants_it_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    with pytest.raises(EngineError, match="TensorRT was asked for"):
        build_tensorrt(bundle)
    with pytest.raises(EngineError, match="TensorRT was asked for"):
        runner(cli.register)("export", tmp_path / "none.pth", "-o", tmp_path / "made", "--tensorrt")
    assert not (tmp_path / "made").exists() and not (bundle / "tensorrt").exists()


@pytest.mark.skipif(not has_tensorrt(), reason="needs the packages tensorrt and cuda-python, and a GPU")
def test_it_gives_the_trained_vectors(tmp_path: Path) -> None:
    with open_engine(write_bundle(tmp_path / "bundle"), device="tensorrt", engine="tensorrt-fp32") as engine:
        assert (engine.runtime, engine.device) == ("tensorrt", "cuda:0")
    engine.close()
