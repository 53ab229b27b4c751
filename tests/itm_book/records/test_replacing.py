"""Which numbers of the record an export may replace, and that it replaces no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest

from itm_book.records import results
from itm_book.records.record_files import changing
from itm_book.records.replacing import export, replaced
from itm_core.errors import InputError
from tests.itm_book.records.test_curves import finished
from tests.itm_book.tables.test_published import ours


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    results.write([ours(seed) for seed in range(3)], path)
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
    results.write([ours(0), both], path)
    with pytest.raises(InputError, match=r"a \+ b, seed 0: .*of which a member would be replaced"):
        replaced([other(0)], path)
    assert len(replaced([other(0), both], path)) == 1


@pytest.fixture
def made_anew(tmp_path: Path) -> list[results.Result]:
    """Runs in the place of all of the record, with learning curves."""
    for seed in range(3):
        finished(tmp_path / "runs", ours(seed).run, [1.0])
    return [replace(ours(10 + seed), seed=seed, run=ours(seed).run) for seed in range(3)]


def sums(record: Path) -> list[float]:
    return [round(result.metrics["rsum"], 3) for result in results.every_recorded(record)]


def test_an_export_replaces_only_when_asked(
    record: Path, made_anew: list[results.Result], tmp_path: Path
) -> None:
    before = record.read_bytes()
    with pytest.raises(InputError, match=r"3 recorded runs have other numbers; .*--replace"):
        export(made_anew, tmp_path / "runs", record)
    assert record.read_bytes() == before
    assert len(export(made_anew, tmp_path / "runs", record, replace=True)) == 3
    assert sums(record) == [round(result.metrics["rsum"], 3) for result in made_anew]
    assert export(made_anew, tmp_path / "runs", record) == []
    assert pd.read_csv(record.with_name("curves.csv"))["run"].nunique() == 3


def test_of_two_exports_at_once_the_second_sees_the_numbers_of_the_first(
    made_anew: list[results.Result], tmp_path: Path
) -> None:
    """It begins while nothing is recorded yet, and waits for the one that writes."""
    path, refused = tmp_path / "record" / "runs.csv", []

    def second() -> None:
        try:
            export(made_anew, tmp_path / "runs", path)
        except InputError as error:
            refused.append(str(error))

    thread = Thread(target=second)
    with changing(path):
        thread.start()
        thread.join(0.5)
        results.write([ours(seed) for seed in range(3)], path)
    thread.join()
    assert ["3 recorded runs have other numbers" in text for text in refused] == [True]
    assert sums(path) == [round(ours(seed).metrics["rsum"], 3) for seed in range(3)]


def test_results_without_a_curve_are_not_written(
    record: Path, made_anew: list[results.Result], tmp_path: Path
) -> None:
    before = record.read_bytes()
    (tmp_path / "runs" / made_anew[1].run / "curve.csv").unlink()
    with pytest.raises(InputError, match="curve"):
        export(made_anew, tmp_path / "runs", record, replace=True)
    assert record.read_bytes() == before
    with pytest.raises(InputError, match="learning curves are written to this file"):
        export(made_anew, tmp_path / "runs", tmp_path / "curves.csv")
    assert not (tmp_path / "curves.csv").exists()
