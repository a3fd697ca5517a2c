"""vicmae.index.catalog.ledger: one row a file, the last word counts."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from made_items import ENGINE

from vicmae.index.catalog.database import Catalog
from vicmae.index.catalog.ledger import LedgerRow, forget, read_ledger, record
from vicmae.index.library import Library

ROW = LedgerRow("file:///a", 1, 2, 2.0, "done", item_id="i")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Library(tmp_path) as library:
        yield library.create("c", ENGINE).catalog


def test_the_last_word_counts(catalog: Catalog) -> None:
    record(catalog, replace(ROW, state="failed", stage="probe", reason="It broke."))
    record(catalog, ROW)
    assert read_ledger(catalog) == {ROW.uri: ROW}


def test_failures_in_a_row_are_counted(catalog: Catalog) -> None:
    failed = replace(ROW, state="failed", stage="probe", reason="It broke.")
    for attempts in (1, 2, 3):
        record(catalog, failed)
        assert read_ledger(catalog)[ROW.uri].attempts == attempts
    record(catalog, ROW)
    assert read_ledger(catalog)[ROW.uri].attempts == 1


def test_forgotten_rows_are_gone(catalog: Catalog) -> None:
    record(catalog, ROW)
    forget(catalog, [ROW.uri, "file:///never"])
    assert read_ledger(catalog) == {}
