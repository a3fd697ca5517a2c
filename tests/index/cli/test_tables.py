"""vicmae.index.cli.tables: seconds as people read them, columns that line up."""

import pytest

from vicmae.index.cli.tables import clock, table


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00.00"), (3.5, "0:03.50"), (59.999, "1:00.00"), (75.5, "1:15.50"), (3675.5, "1:01:15.50")],
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_columns_line_up() -> None:
    assert table([("#", "name"), ("10", "a"), ("9", "long")]) == "#   name\n10  a\n9   long"
