"""vicmae.index.catalog.database: transactions that hold, threads that share, refusals in words."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from vicmae.errors import NotFound, StorageError
from vicmae.index.catalog.database import Catalog, now
from vicmae.index.catalog.ledger import read_ledger
from vicmae.index.catalog.migrations import MIGRATIONS


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(tmp_path / "catalog.sqlite", create=True)
    yield opened
    opened.close()


def count(catalog: Catalog) -> int:
    with catalog.read() as db:
        return int(db.execute("SELECT count(*) FROM removed").fetchone()[0])


def put(catalog: Catalog, value: int) -> None:
    with catalog.write() as db:
        db.execute("INSERT INTO removed (vector_id) VALUES (?)", (value,))


def test_a_written_row_is_there_after_reopening(tmp_path: Path, catalog: Catalog) -> None:
    put(catalog, 1)
    catalog.close()
    again = Catalog(tmp_path / "catalog.sqlite")
    assert count(again) == 1
    again.close()


def test_an_exception_undoes_the_whole_transaction(catalog: Catalog) -> None:
    with pytest.raises(KeyError), catalog.write() as db:
        db.execute("INSERT INTO removed (vector_id) VALUES (1)")
        raise KeyError
    assert count(catalog) == 0


def test_it_is_durable_and_keeps_references(catalog: Catalog) -> None:
    with catalog.read() as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
        assert db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)


def test_a_catalog_of_the_first_release_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as db:
        MIGRATIONS[0](db)
        db.execute(
            "INSERT INTO ledger VALUES ('file:///a.mp4', 1, 2, 2.0, 'done', NULL, NULL, 1, 'a', '2026-01-01T00:00:00Z')"
        )
        db.execute("PRAGMA user_version = 1")
        db.commit()
    catalog = Catalog(path)
    assert read_ledger(catalog)["file:///a.mp4"].sampling == "rate"
    catalog.close()


def test_many_threads_write_and_read_at_once(catalog: Catalog) -> None:
    faults: list[Exception] = []

    def work(start: int) -> None:
        try:
            for value in range(start, start + 5):
                put(catalog, value)
                count(catalog)
        except Exception as fault:  # whatever it is, the test must see it
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(100 * i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert count(catalog) == 30


def test_a_read_sees_one_moment(catalog: Catalog) -> None:
    put(catalog, 1)
    with catalog.read() as db:
        before = db.execute("SELECT count(*) FROM removed").fetchone()[0]
        put(catalog, 2)
        assert db.execute("SELECT count(*) FROM removed").fetchone()[0] == before
    assert count(catalog) == 2


def test_a_missing_file_is_not_found_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Catalog(tmp_path / "none.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_a_closed_catalog_says_so(catalog: Catalog) -> None:
    catalog.close()
    with pytest.raises(NotFound, match="closed"):
        count(catalog)


def test_a_transaction_under_way_survives_close(catalog: Catalog) -> None:
    with catalog.write() as db:
        catalog.close()
        db.execute("INSERT INTO removed (vector_id) VALUES (1)")


def test_a_write_to_a_dropped_file_is_refused(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="dropped"), catalog.write() as db:
        db.execute("INSERT INTO removed (vector_id) VALUES (1)")
        (tmp_path / "catalog.sqlite").rename(tmp_path / "aside")


def test_a_newer_catalog_is_refused(tmp_path: Path, catalog: Catalog) -> None:
    with catalog.write() as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StorageError, match="newer vicmae"):
        Catalog(tmp_path / "catalog.sqlite")


def test_a_file_that_is_no_database_is_told_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"this is not a database at all " * 100)
    with pytest.raises(StorageError, match="damaged"):
        Catalog(path)


def test_a_full_disk_is_told_and_leaves_nothing_behind(catalog: Catalog) -> None:
    with catalog.read() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    with pytest.raises(StorageError, match="full"), catalog.write() as db:
        db.execute(f"PRAGMA max_page_count = {pages}")
        db.executemany("INSERT INTO removed (vector_id) VALUES (?)", ((i,) for i in range(20_000)))
    assert count(catalog) == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be written"):
        Catalog(tmp_path / "catalog.sqlite", create=True)
    tmp_path.chmod(0o700)


def test_a_wrong_statement_stays_a_bug(catalog: Catalog) -> None:
    with pytest.raises(sqlite3.IntegrityError), catalog.write() as db:
        db.execute("INSERT INTO frames VALUES (1, 'nobody', 0, 0, 0, x'')")


def test_moments_sort_as_text() -> None:
    moments = [now() for _ in range(50)]
    assert moments == sorted(moments)
    assert len({len(moment) for moment in moments}) == 1
