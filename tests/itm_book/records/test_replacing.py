"""Which numbers of the record an export may replace: cases worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from itm_book.commands import results as commands
from itm_book.records import results
from itm_book.records.replacing import replaced
from itm_core.errors import InputError
from tests.itm_book.tables.test_published import ours


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    results.export([ours(seed) for seed in range(3)], path)
    return path


def other(seed: int) -> results.Result:
    """A run in the place of one of the record, with one image less found."""
    result = ours(seed)
    ranks = replace(result.ranks, i2t=result.ranks.i2t + 1)
    return replace(result, ranks=ranks, metrics={**result.metrics, "rsum": 12.5})


def test_new_rows_and_the_same_numbers_replace_nothing(record: Path, tmp_path: Path) -> None:
    assert replaced([ours(seed) for seed in range(5)], record) == []
    assert replaced([ours(0, dataset="another")], record) == []
    assert replaced([other(0)], tmp_path / "no record yet.csv") == []


def test_every_number_that_changes_is_shown_with_its_successor(record: Path) -> None:
    lines = replaced([ours(0), other(1), other(2)], record)
    assert [line.partition(", seed ")[2] for line in lines] == [
        f"{seed}: rSum {ours(seed).metrics['rsum']:.2f} becomes 12.50" for seed in (1, 2)
    ]


def test_equal_sums_of_other_ranks_are_other_numbers(record: Path) -> None:
    result = ours(2)
    ranks = replace(result.ranks, t2i=result.ranks.t2i[::-1].copy())
    (line,) = replaced([ours(0), ours(1), replace(result, ranks=ranks)], record)
    rsum = f"{result.metrics['rsum']:.2f}"
    assert line.endswith(f"seed 2: rSum {rsum} becomes {rsum}")


def test_a_row_is_never_replaced_by_fewer_seeds(record: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"seeds that would not be replaced.*expected seeds 0, 1, 2, found seeds 0, 1",
    ):
        replaced([other(0), ours(1)], record)


def test_an_ensemble_never_keeps_a_member_that_is_replaced(tmp_path: Path) -> None:
    both = replace(ours(0), recipe="a + b", run=f"{ours(0).run} + flickr/b/0-x")
    path = tmp_path / "runs.csv"
    results.export([ours(0), both], path)
    with pytest.raises(InputError, match=r"a \+ b, seed 0: .*of which a member would be replaced"):
        replaced([other(0)], path)
    assert len(replaced([other(0), both], path)) == 1


def test_the_command_replaces_only_when_asked(record: Path) -> None:
    new = [other(seed) for seed in range(3)]
    with pytest.raises(InputError, match=r"3 recorded runs have other numbers; .*--replace"):
        commands._replaced(new, record, replace=False)
    assert len(commands._replaced(new, record, replace=True)) == 3
