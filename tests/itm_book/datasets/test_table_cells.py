"""Cells of tables that are lists of captions, or start as one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from itm_book.datasets.table_cells import texts_of
from itm_core.errors import InputError

FILE = Path("captions.csv")


def seconds(cell: str) -> float:
    """The shortest of several times that a cell takes."""
    times = []
    for _ in range(5):
        start = time.process_time()
        assert texts_of(cell, FILE, 2) == [cell]
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize(
    ("start", "repeated", "end"),
    [
        ("['a'", " ", "x"),
        ("['a'", " 'b'", "x"),
        ("['a', '", "b", ""),
        ("['a", "\\\\", ""),
        ("('a", "',a", ")"),
    ],
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
        ("[2]", ["[2]"]),
        ("('Stop') says a sign", ["('Stop') says a sign"]),
        ("(a dog's bowl)", ["(a dog's bowl)"]),
        ("('Stop', says a sign)", ["('Stop', says a sign)"]),
        ("", [""]),
    ],
)
def test_lists_and_captions_that_start_as_one(cell: str, texts: list[str]) -> None:
    assert texts_of(cell, FILE, 2) == texts


@pytest.mark.parametrize(
    "cell",
    [
        "[b'A dog .', b'A cat .']",
        "[u'A dog .', u'A cat .']",
        "('A dog .', 'A cat .')",
        "[['A dog .'], ['A cat .']]",
        "array(['A dog .', 'A cat .'], dtype=object)",
    ],
)
def test_captions_in_another_form_are_not_one_caption(cell: str) -> None:
    with pytest.raises(InputError, match=r"row 2: a cell that looks like a list.*json\.dumps"):
        texts_of(cell, FILE, 2)


def test_an_empty_list_does_not_take_its_image_out() -> None:
    with pytest.raises(InputError, match="row 2: a list without captions"):
        texts_of(" [ ] ", FILE, 2)
