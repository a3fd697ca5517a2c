"""The architecture: imports run down, the package list matches the disk, the server needs no torch."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMON = {"errors"}
COMMAND_LINE = {"settings", "terminal"}  # for command lines and the server only
LAYERS = {
    "server": {"index", "export", "media"},
    "index": {"export", "media"},
    "training": {"model", "media", "export"},
    "export": {"model", "media"},
    "model": {"media"},
    "media": set[str](),
}
# Inside index/ as well: a part knows only those below it.
INDEX_LAYERS = (
    "cli",
    "answers",
    "backup",
    "calibrate",
    "duplicates",
    "search",
    "ingest",
    "library",
    "collection",
    "aliases",
    "pictures",
    "frame_reader",
    "matching",
    "vectors",
    "catalog",
    "cache",
    "atomic",
    "locks",
    "paths",
)
FACES = {  # sub-packages of which others import the public names only, from the __init__.py
    ("export", "bundle"),
    ("export", "conversion"),
    ("export", "engine"),
    ("index", "answers"),
    ("index", "backup"),
    ("index", "calibrate"),
    ("index", "catalog"),
    ("index", "duplicates"),
    ("index", "ingest"),
    ("index", "matching"),
    ("index", "pictures"),
    ("index", "search"),
    ("index", "vectors"),
    ("training", "finetune"),
    ("training", "pretrain"),
}
MAY_USE_SETTINGS = {"server"}
WITHOUT_TORCH = ("server", "index", "media")
MAY_KNOW_TORCH = {  # within export/
    "bench.py",  # only if it is there
    "cli",
    "conversion",
    "timm_encoder.py",
    "torch_engine.py",
}


def parsed(path: Path) -> ast.Module:
    """The file's syntax tree; asked again where CPython trips over itself (github.com/python/cpython/issues/106905)."""
    try:
        return ast.parse(path.read_text())
    except SystemError:
        return ast.parse(path.read_text())


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def known(path: Path) -> set[tuple[str, ...]]:
    """Our modules that a file imports, as paths within the package: ("media", "spec")."""
    here = path.parent.relative_to(ROOT).parts
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level <= len(here) + 1, f"{path} climbs out of the package"
            base = (*here[: len(here) - node.level + 1], *(node.module or "").split("."))
            found |= {base} if node.module else {(*base[:-1], alias.name) for alias in node.names}
    return found


def imports(path: Path) -> list[tuple[int, str]]:
    """(level, module) of every import, also those inside functions; `from . import x` gives (1, "x")."""
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(node.level, name) for name in names]
    return found


@pytest.mark.parametrize("package", LAYERS)
def test_imports_run_down(package: str) -> None:
    for path in sources(package):
        allowed = LAYERS[package] | COMMON
        if (
            path.stem == "cli"
            or path.stem.startswith("cli_")
            or path.parent.name == "cli"
            or package in MAY_USE_SETTINGS
        ):
            allowed = allowed | COMMAND_LINE
        for level, module in imports(path):
            assert level > 0 or module.split(".")[0] != "vicmae", f"{path.name} names vicmae; import relatively"
        for target in known(path):
            assert target[0] in allowed | {package}, f"{path.relative_to(ROOT)} must not know {'.'.join(target)}"


def test_imports_run_down_inside_index_too() -> None:
    upwards = set()
    for path in sources("index"):
        part = path.relative_to(ROOT / "index").parts[0].removesuffix(".py")
        assert part in INDEX_LAYERS or part == "__init__", f"{part} has no place among the layers"
        for module in known(path):
            if module[0] == "index" and module[1] != part and INDEX_LAYERS.index(module[1]) < INDEX_LAYERS.index(part):
                upwards.add((part, module[1]))
    assert upwards == set()


@pytest.mark.parametrize("face", FACES, ids=".".join)
def test_others_know_a_sub_package_by_its_face(face: tuple[str, ...]) -> None:
    for path in (each for package in LAYERS for each in sources(package)):
        if path.is_relative_to(ROOT.joinpath(*face)):
            continue
        for module in known(path):
            assert module == face or module[: len(face)] != face, f"{path.relative_to(ROOT)}: {'.'.join(module)}"


@pytest.mark.parametrize("package", LAYERS)
def test_sql_stands_in_the_catalog_only(package: str) -> None:
    for path in sources(package):
        if path.is_relative_to(ROOT / "index" / "catalog"):
            continue
        assert not any(module.split(".")[0] == "sqlite3" for level, module in imports(path) if not level), path
        calls = [node.func for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
        names = {call.attr for call in calls if isinstance(call, ast.Attribute)}
        assert not names & {"execute", "executemany", "executescript", "fetchone", "fetchall", "fetchmany"}, path


def test_model_knows_only_the_spec_of_media() -> None:
    for path in sources("model"):
        for module in known(path):
            assert module[0] != "media" or module == ("media", "spec"), f"model/{path.name} knows {'.'.join(module)}"


def test_export_knows_the_model_only_to_export() -> None:
    for path in sources("export"):
        names = {module[0] for module in known(path)} | {m.split(".")[0] for level, m in imports(path) if not level}
        if path.relative_to(ROOT / "export").parts[0] not in MAY_KNOW_TORCH:
            assert not names & {"model", "torch", "timm"}, f"{path.relative_to(ROOT)} knows {names}"


def test_every_file_opens_with_its_purpose() -> None:
    for package in LAYERS:
        for path in sources(package):
            assert ast.get_docstring(parsed(path)), f"{path.relative_to(ROOT)} has no opening docstring"


def test_package_list_matches_the_disk() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    on_disk = {"vicmae"} | {
        f"vicmae.{p.parent.relative_to(ROOT).as_posix().replace('/', '.')}"
        for package in ROOT.glob("*/__init__.py")
        if not package.parent.name.startswith(".")
        for p in package.parent.rglob("__init__.py")
    }
    assert listed == on_disk
    checked = set(project["tool"]["mypy"]["packages"])  # each with all that is below it
    assert {".".join(name.split(".")[:2]) for name in listed - {"vicmae"}} <= checked


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
    for package in LAYERS:
        assert {f"vicmae/{p.relative_to(ROOT).as_posix()}" for p in sources(package)} <= inside
    for needed in (
        "vicmae/py.typed",
        "vicmae/server/page/index.html",
        "vicmae/index/duplicates/report.html",
        "vicmae/index/duplicates/report.js",
        "vicmae/training/presets/retrieval.toml",
        "vicmae/training/presets/image/small.toml",
        "vicmae/training/presets/video/kinetics.toml",
        "vicmae/export/bundles/vicmae-lite/model.onnx",
        "vicmae/export/bundles/vicmae-lite/model.int8-static.onnx",
        "vicmae/export/bundles/vicmae-lite/manifest.json",
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
import vicmae.__main__, vicmae.server.app, vicmae.index.cli, vicmae.export.embed, vicmae.export.engine
from vicmae.export.engine import open_engine
from vicmae.settings import SHIPPED_BUNDLE
import numpy as np
with open_engine(SHIPPED_BUNDLE, threads=1) as engine:
    size = engine.spec.size
    assert engine.embed(np.zeros((1, size, size, 3), np.uint8)).shape == (1, engine.spec.dim)
assert not any(name.split(".")[0] in ("torch", "timm") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("package", WITHOUT_TORCH)
def test_packages_that_serve_never_name_torch(package: str) -> None:
    for path in sources(package):
        assert not {m.split(".")[0] for level, m in imports(path) if level == 0} & {"torch", "timm"}, path.name
