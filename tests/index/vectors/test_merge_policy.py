"""vicmae.index.vectors.merge_policy: what is sealed, merged and made anew, and when."""

from vicmae.index.vectors.merge_policy import Sealed, next_span


def test_the_plan_of_upkeep() -> None:
    def sealed(first: int, last: int, alive: int | None = None) -> Sealed:
        rows = last - first + 1
        return Sealed((first, last), rows, rows if alive is None else alive)

    large = sealed(1, 900_000)
    assert next_span([], [], (1, 10), 10, False) is None
    assert next_span([], [], (1, 10), 10, True) == (1, 10)
    assert next_span([], [], (1, 30_000), 30_000, False) == (1, 30_000)
    assert next_span([large], [], (900_001, 930_000), 30_000, False) == (900_001, 930_000)
    middle, small = sealed(900_001, 920_000), sealed(920_001, 925_000)
    assert next_span([large, middle, small], [], (925_001, 940_000), 15_000, False) == (920_001, 940_000)
    assert next_span([large, middle], [], (920_001, 945_000), 25_000, False) == (920_001, 945_000), "too long"
    assert next_span([large, middle, sealed(920_001, 945_000)], [], (1, 1), 0, False) == (900_001, 945_000)
    assert next_span([large, middle], [], (920_001, 920_010), 10, False) is None
    worn = sealed(1, 900_000, alive=600_000)
    assert next_span([worn, middle], [], (920_001, 920_010), 10, False) == worn.span
    assert next_span([worn, middle], [], (920_001, 920_010), 10, False, [worn.span]) is None
    assert next_span([worn, middle], [], (920_001, 950_000), 20_000, False, [worn.span]) == (920_001, 950_000)
    assert next_span([large], [(5, 9)], (1, 1), 0, False) == (5, 9)
    assert next_span([sealed(1, 100, alive=60), middle], [], (1, 1), 0, False) == (1, 100)
