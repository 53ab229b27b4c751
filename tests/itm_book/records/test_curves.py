"""Recorded learning curves: of every run its epochs, the newest of a run, nothing of ensembles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from itm_book.records import curves
from itm_book.records.results import Result
from itm_core.errors import InputError
from tests.itm_book.tables.test_comparison import fake


def finished(root: Path, place: str, losses: list[float]) -> Result:
    """Return the result of a run whose folder has a configuration and a curve."""
    folder = root / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"recipe": {}}))
    curve = {"epoch": range(1, len(losses) + 1), "loss": losses, "i2t_r1": 0.5, "rsum": 20.0}
    pd.DataFrame(curve | {"seconds": 1.0}).to_csv(folder / "curve.csv", index=False)
    return replace(fake(0, 1.0), run=place)


def as_recorded(result: Result) -> Result:
    return replace(result, recorded=True, where={**result.where, "commit": "0123456789ab"})


def test_a_recorded_curve_is_that_of_the_run(tmp_path: Path) -> None:
    record = tmp_path / "curves.csv"
    run = finished(tmp_path, "d/r/0-a", [12.5, 3.25])
    curves.write(curves.of_runs([run], tmp_path), record)
    (tmp_path / "d/r/0-a/curve.csv").unlink()
    curve = curves.curves_of([as_recorded(run)], tmp_path / "elsewhere", record)["d/r/0-a"]
    assert curve.to_dict("list") == {"epoch": [1, 2], "loss": [12.5, 3.25], "rsum": [20.0, 20.0]}


def test_a_run_of_the_store_needs_no_record(tmp_path: Path) -> None:
    run = finished(tmp_path, "d/r/0-a", [7.0])
    found = curves.curves_of([run], tmp_path, tmp_path / "absent.csv")
    assert found["d/r/0-a"]["loss"].tolist() == [7.0]
    assert curves.curves_of([as_recorded(run)], tmp_path, tmp_path / "absent.csv") == {}


def test_a_new_curve_replaces_that_of_its_run_alone(tmp_path: Path) -> None:
    record = tmp_path / "curves.csv"
    first = finished(tmp_path, "d/r/0-a", [9.0, 8.0, 7.0])
    other = finished(tmp_path, "d/r/1-b", [5.0])
    curves.write(curves.of_runs([other, first], tmp_path), record)
    assert len(pd.read_csv(record)) == 4
    again = finished(tmp_path, "d/r/0-a", [4.0])
    curves.write(curves.of_runs([again], tmp_path), record)
    table = pd.read_csv(record)
    assert table["run"].tolist() == ["d/r/0-a", "d/r/1-b"]
    assert table["loss"].tolist() == [4.0, 5.0]


def test_ensembles_have_no_curve(tmp_path: Path) -> None:
    both = replace(fake(0, 1.0), run="d/r/0-a + d/r/0-b")
    curves.write(curves.of_runs([both], tmp_path), tmp_path / "curves.csv")
    assert not (tmp_path / "curves.csv").exists()
    assert curves.curves_of([both], tmp_path, tmp_path / "curves.csv") == {}


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "curves.csv").write_text("run,epoch\nd/r/0-a,1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"curves\.csv.*wrong columns"):
        curves.curves_of([], tmp_path, tmp_path / "curves.csv")
