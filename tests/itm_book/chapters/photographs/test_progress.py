"""The budget is that of the recipes; missing runs are named; convergence by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from itm_book.chapters.photographs import progress
from itm_book.records.grids import Grid, Row, Size
from tests.itm_book.tables.test_comparison import three

GRID = Grid(
    name="table",
    title="a table",
    sizes={"small": Size(dataset="fake", profile="f8k", seeds=(0, 1, 2))},
    rows={
        "SCAN": Row(recipe="scan-t2i-mean"),
        "SCAN + CCS": Row(recipe="scan-t2i-mean+ccs", host="SCAN"),
        "CHAN": Row(recipe="chan", seeds=(0, 1)),
    },
    ensembles={"both": ("SCAN", "CHAN")},
)


def test_missing_rows_and_seeds_are_named() -> None:
    group = three(2.0)
    assert progress.not_run(GRID, "small", {}) == (
        "**Not run** (3 of 3 rows): SCAN; SCAN + CCS; CHAN."
    )
    assert progress.not_run(GRID, "small", {"SCAN": group, "CHAN": group[:1]}) == (
        "**Not run** (1 of 3 rows): SCAN + CCS. With fewer seeds than planned: CHAN (1 of 2)."
    )
    every = {"SCAN": group, "SCAN + CCS": group, "CHAN": group[:2]}
    assert progress.not_run(GRID, "small", every) == ""


def test_the_budget_has_what_differs_in_a_table_and_the_rest_in_a_text() -> None:
    table, same = progress.budget(GRID, "small")
    assert table["methods"].tolist() == ["SCAN", "CHAN"]  # the plug-in has its host's
    scan, chan = (GRID.rows[name].at("f8k") for name in ("SCAN", "CHAN"))
    assert table["optimiser"].tolist() == [scan.training.optimiser, chan.training.optimiser]
    assert table["margin"].tolist() == [f"{scan.loss.margin:g}", f"{chan.loss.margin:g}"]
    assert "D" not in table
    assert f"D {scan.encoder.embedding}" in same.split(", ")
    assert f"epochs {scan.training.epochs}" in same.split(", ")


def curve(*rsums: float, seed: int = 0) -> pd.DataFrame:
    epochs = range(1, len(rsums) + 1)
    return pd.DataFrame({"seed": seed, "epoch": epochs, "loss": 1.0, "rsum": rsums})


def test_a_curve_that_is_flat_at_its_end_has_converged() -> None:
    two = pd.concat([curve(10, 20, 30, 30, 40, 40, 41, 38), curve(*[5] * 7, 8, seed=1)])
    row = progress.convergence({"SCAN": two, "flat": curve(1, 9, 3, 4)}).to_dict("records")
    assert row[0] == {
        "method": "SCAN",
        "seeds": "2",
        "epochs": "8",
        "best epoch": "7.5",  # of epochs 7 and 8
        "rSum": "24.5",
        "gained in the last quarter": "+2.0",  # 41 - 40 and 8 - 5
    }
    assert row[1]["gained in the last quarter"] == "+0.0"  # 9 was reached long before


def test_curves_of_a_row_are_those_of_its_recorded_runs(tmp_path: Path) -> None:
    group = [replace(result, recorded=True) for result in three(2.0)]
    ensemble = [replace(result, run=f"{result.run} + {result.run}") for result in group]
    lines = [curve(10, 20 + seed).assign(run=group[seed].run) for seed in (2, 0)]
    pd.concat(lines)[["run", "epoch", "loss", "rsum"]].to_csv(tmp_path / "curves.csv", index=False)
    rows = {"SCAN": group, "both": ensemble, "CHAN": group[1:2]}
    curves = progress.by_row(rows, tmp_path / "curves.csv")
    assert list(curves) == ["SCAN"]  # the others have no curve in the record
    assert curves["SCAN"]["seed"].tolist() == [0, 0, 2, 2]
    assert curves["SCAN"]["rsum"].tolist() == [10, 20, 10, 22]
    assert progress.by_row(rows, tmp_path / "none.csv") == {}


def test_curves_are_means_over_seeds() -> None:
    both = pd.concat([curve(10, 20), curve(30, 50, seed=1)])
    means = progress.mean_curves({"SCAN": both, "CHAN": curve(1)}, ["SCAN"])
    assert list(means) == ["SCAN"]
    assert means["SCAN"]["rsum"].tolist() == pytest.approx([20, 35])
    assert list(progress.mean_curves({"SCAN": both})) == ["SCAN"]
