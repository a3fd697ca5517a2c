"""vicmae.index.ingest.folder: one flow over folders, whose steps say how far it is."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from made_items import ENGINE
from made_media import write_image

from vicmae.index.collection import Collection
from vicmae.index.ingest import folder as ingest_folder
from vicmae.index.ingest.folder import Step, index_folder
from vicmae.index.ingest.options import IngestOptions
from vicmae.index.ingest.scan import walk
from vicmae.index.library import Library


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path / "data") as library:
        yield library.create("c", ENGINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures and a file that is none, all written some time ago."""
    folder = tmp_path / "media"
    folder.mkdir()
    paths = [write_image(folder / f"{seed}.png", seed) for seed in range(3)]
    (folder / "bad.jpg").write_bytes(b"no picture")
    for path in (*paths, folder / "bad.jpg"):
        os.utime(path, (1, 1))
    return folder


def steps(
    collection: Collection, folder: Path, retry: bool = False, prune: bool = False, watching: bool = False
) -> list[Step]:
    run = index_folder(collection, ENGINE, walk([folder]), IngestOptions(), retry=retry, prune=prune, watching=watching)
    return list(run)


def test_a_step_before_the_first_file_and_one_after_each(collection: Collection, folder: Path) -> None:
    told = steps(collection, folder)
    assert [(step.done, step.total) for step in told] == [(done, 4) for done in range(5)]
    assert told[0].outcome is None
    assert sorted(step.outcome.path.name for step in told[1:] if step.outcome) == ["0.png", "1.png", "2.png", "bad.jpg"]
    report = told[-1].report
    assert (report.added, [failure.path.name for failure in report.failed]) == (3, ["bad.jpg"])


def test_a_second_run_reads_nothing_and_knows_what_failed(collection: Collection, folder: Path) -> None:
    steps(collection, folder)
    (step,) = steps(collection, folder)
    assert (step.total, step.report.unchanged, len(step.report.failed)) == (0, 3, 1)
    (turn,) = steps(collection, folder, watching=True)
    assert turn.report.failed == []
    assert steps(collection, folder, retry=True)[-1].total == 1


def test_what_was_done_stays_when_a_run_is_stopped(collection: Collection, folder: Path) -> None:
    with closing(index_folder(collection, ENGINE, walk([folder]), IngestOptions())) as run:
        for step in run:
            if step.report.added == 1:
                break
    done = collection.count()
    assert done >= 1
    assert steps(collection, folder)[-1].report.added == 3 - done


def test_items_of_files_that_are_gone_go_by_pruning_only(collection: Collection, folder: Path) -> None:
    steps(collection, folder)
    (folder / "0.png").unlink()
    assert steps(collection, folder)[0].report.gone == 1 and collection.count() == 3
    assert steps(collection, folder, prune=True)[0].report.removed == 1 and collection.count() == 2


def test_a_file_that_is_being_written_waits_while_watching(
    collection: Collection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as written:
        written.setattr(ingest_folder, "is_being_written", lambda file: file.path.name == "0.png")
        first = steps(collection, folder, watching=True)[0]
        assert (first.total, first.waiting) == (3, 1)
    assert steps(collection, folder, watching=True)[0].total == 1
