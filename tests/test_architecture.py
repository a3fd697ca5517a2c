"""The house: imports run down the stairs, the package list matches the disk, the server needs no torch."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GROUND = {"errors"}
EDGE = {"settings", "terminal"}  # for command lines and the server only
STAIRS = {
    "server": {"index", "export", "media"},
    "index": {"export", "media"},
    "training": {"model", "media", "export"},
    "export": {"model", "media"},
    "model": {"media"},
    "media": set[str](),
}
MAY_USE_SETTINGS = {"server"}
WITHOUT_TORCH = ("server", "index", "media")
TORCH_FILES_OF_EXPORT = {
    "bench.py",  # only if it is there
    "explain.py",
    "make_bundle.py",
    "quantize.py",
    "timm_encoder.py",
    "to_onnx.py",
    "torch_engine.py",
}


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).glob("*.py"))


def imports(path: Path) -> list[tuple[int, str]]:
    """(level, module) of every import, also those inside functions; `from . import x` gives (1, "x")."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(node.level, name) for name in names]
    return found


@pytest.mark.parametrize("room", STAIRS)
def test_imports_run_down_the_stairs(room: str) -> None:
    for path in sources(room):
        allowed = STAIRS[room] | GROUND
        if path.stem == "cli" or path.stem.startswith("cli_") or room in MAY_USE_SETTINGS:
            allowed = allowed | EDGE
        for level, module in imports(path):
            assert level <= 2, f"{path.name} climbs out of the package"
            assert level > 0 or module.split(".")[0] != "vicmae", f"{path.name} names vicmae; import relatively"
            if level == 2:
                assert module.split(".")[0] in allowed, f"{room}/{path.name} must not know {module}"


def test_model_knows_only_the_spec_of_media() -> None:
    for path in sources("model"):
        for level, module in imports(path):
            if level == 2 and module.split(".")[0] == "media":
                assert module == "media.spec", f"model/{path.name} knows {module}"


def test_export_knows_the_model_only_to_export() -> None:
    for path in sources("export"):
        known = {module.split(".")[0] for level, module in imports(path) if level in (0, 2)}
        if path.name not in TORCH_FILES_OF_EXPORT | {"cli.py"}:
            assert not known & {"model", "torch", "timm"}, f"export/{path.name} knows {known}"


def test_the_folders_are_flat_and_each_opens_with_its_purpose() -> None:
    for room in STAIRS:
        assert not [p for p in (ROOT / room).rglob("*.py") if p.parent != ROOT / room], f"{room} has sub-packages"
        for path in sources(room):
            assert ast.get_docstring(ast.parse(path.read_text())), f"{room}/{path.name} has no opening docstring"


def test_package_list_matches_the_disk() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    on_disk = {"vicmae"} | {
        f"vicmae.{p.parent.relative_to(ROOT).as_posix().replace('/', '.')}"
        for p in ROOT.glob("*/__init__.py")
        if not p.parent.name.startswith(".")
    }
    assert listed == on_disk
    checked = set(project["tool"]["mypy"]["packages"])
    assert listed - {"vicmae"} <= checked


def test_the_wheel_holds_code_page_presets_and_bundle(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
    ]
    copy = tmp_path / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("the wheel is built of the files git tracks, and this is no git checkout")
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*command, str(copy)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    for room in STAIRS:
        assert {f"vicmae/{room}/{p.name}" for p in sources(room)} <= inside
    for needed in (
        "vicmae/py.typed",
        "vicmae/server/page/index.html",
        "vicmae/training/presets/retrieval.toml",
        "vicmae/training/presets/image/small.toml",
        "vicmae/training/presets/video/kinetics.toml",
        "vicmae/export/bundles/vicmae-tiny/model.onnx",
        "vicmae/export/bundles/vicmae-tiny/model.int8.onnx",
        "vicmae/export/bundles/vicmae-tiny/manifest.json",
    ):
        assert needed in inside
    assert not [name for name in inside if name.startswith("vicmae/tests") or name.startswith("tests")]


def test_server_and_command_line_import_without_torch() -> None:
    script = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "timm", "torchvision", "safetensors", "onnx"):
            raise ImportError(f"{name} must not be needed")
sys.meta_path.insert(0, Refuse())
import vicmae.__main__, vicmae.server.app, vicmae.index.cli, vicmae.export.embed, vicmae.export.onnxruntime_engine
from vicmae.export.choice import open_engine
from vicmae.settings import SHIPPED_BUNDLE
import numpy as np
with open_engine(SHIPPED_BUNDLE, threads=1) as engine:
    size = engine.spec.size
    assert engine.embed(np.zeros((1, size, size, 3), np.uint8)).shape == (1, engine.spec.dim)
assert not any(name.split(".")[0] in ("torch", "timm") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_rooms_that_serve_never_name_torch(room: str) -> None:
    for path in sources(room):
        assert not {m.split(".")[0] for level, m in imports(path) if level == 0} & {"torch", "timm"}, path.name
