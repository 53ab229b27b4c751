"""Cells of tables that are lists of captions, or start as one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from itm_book.datasets.table_cells import texts_of

FILE = Path("captions.csv")


def seconds(cell: str) -> float:
    """The shortest of several times that a cell takes."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert texts_of(cell, FILE, 2) == [cell]
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.parametrize(
    ("start", "repeated", "end"),
    [("['a'", " ", "x"), ("['a'", " 'b'", "x"), ("['a', '", "b", ""), ("['a", "\\\\", "")],
)
def test_the_time_grows_with_the_length_of_a_cell(start: str, repeated: str, end: str) -> None:
    """Ten times the length takes ten times as long; in the square of the length it were 100."""
    small, large = (
        seconds(start + repeated * (size // len(repeated)) + end) for size in (10_000, 100_000)
    )
    assert large < 40 * small


@pytest.mark.parametrize(
    ("cell", "texts"),
    [
        ("[ 'A dog .' ,\n \"It's red .\" , ]", ["A dog .", "It's red ."]),
        ("['A dog .'\n 'A cat .']", ["A dog .", "A cat ."]),
        ("['Stop'] says a sign", ["['Stop'] says a sign"]),
        ("[red] dog", ["[red] dog"]),
        ("[]", []),
    ],
)
def test_lists_and_captions_that_start_as_one(cell: str, texts: list[str]) -> None:
    assert texts_of(cell, FILE, 2) == texts
