"""index/answers/evaluate.py and the verb: the whole way in small, without torch; an index is used again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_library import bench, library_folder, write_distractors

from vicmae.errors import InvalidRequest, NotFound
from vicmae.index.answers import ASKED, PRODUCT, Wish, evaluate
from vicmae.index.library import Library
from vicmae.media.edits import EDITS

__all__ = ["library_folder"]


def test_the_whole_way(library_folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    others = [write_distractors(tmp_path / "others")]
    with Library(tmp_path / "data") as library:
        wish = Wish(queries=4, edits=["as it was", "mirrored"], clips=True)
        result = evaluate(library_folder, others, wish, bench(library, said))
        assert any("broken.jpg" in sentence for sentence in said)
        product = result["stills"][PRODUCT]
        assert product["as it was"]["item"] == 1 and list(product) == ["as it was", "mirrored", "all", "kinds"]
        assert product["kinds"]["photos"]["asked"] == product["kinds"]["frames"]["asked"] == 4
        assert result["strangers"][PRODUCT]["all"]["asked"] == 10
        assert set(result["clips"]) > {"compilation", "all"} or len(result["clips"]) == 7
        assert {answer["kind"] for answer in result["answers"]} == {"photo", "frame", "stranger", "clip"}
        assert result["library"]["distractors"] == 5 and "duplicates" not in result
        count = library.open(ASKED).count()
        again = evaluate(library_folder, others, Wish(queries=2, edits=["as it was"]), bench(library, said))
        assert library.open(ASKED).count() == count and again["library"] == result["library"]
        with pytest.raises(InvalidRequest, match="5 files that are not part of this evaluation"):
            evaluate(library_folder, [], Wish(queries=2, edits=["as it was"]), bench(library, said))


def test_the_verb_needs_no_torch(library_folder: Path, tmp_path: Path) -> None:
    """All of it in a process that refuses torch, with the shipped bundle."""
    words = ["evaluate", "answers", str(library_folder), "--queries", "2", "--edit", "as it was", "--json"]
    words += ["--data", str(tmp_path / "data"), "-o", str(tmp_path / "out.json")]
    script = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "timm", "torchvision", "safetensors", "onnx"):
            raise ImportError(f"{{name}} must not be needed")
sys.meta_path.insert(0, Refuse())
from vicmae.__main__ import main
sys.argv = ["vicmae", *{words!r}]
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["stills"][PRODUCT]["as it was"]["sure_item"] == 1 and told["strangers"][PRODUCT]["all"]["asked"] == 5
    whole = json.loads((tmp_path / "out.json").read_text())
    assert len(whole["answers"]) == 7 and whole["stills"] == told["stills"] and "answers" not in told


def test_a_server_that_is_not_there_is_told(library_folder: Path, tmp_path: Path) -> None:
    with Library(tmp_path) as library, pytest.raises(NotFound, match="No server answers at http://127.0.0.1:9"):
        wish = Wish(queries=2, edits=["as it was"], url="http://127.0.0.1:9")
        evaluate(library_folder, [], wish, bench(library, []))


def test_without_a_wish_every_edit_is_asked() -> None:
    assert Wish().edits == list(EDITS) and Wish().queries == 60
