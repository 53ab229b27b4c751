"""Learning curves of recorded runs: ``data/results/curves.csv``.

``itm results export`` writes the loss and the development rSum of every epoch beside the results,
by the folder of the run. They show whether a training had converged, or had collapsed.

Page: "How much training does a gain need?".
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from io import StringIO
from pathlib import Path

import pandas as pd

from itm_book.records.record_files import ANY, RSUM, Form, record_text, write_record
from itm_book.records.results import RECORD as RESULTS
from itm_book.records.results import Result
from itm_core.experiments.run import Run

RECORD = RESULTS.with_name("curves.csv")
NUMBERS = ["loss", "rsum"]
COLUMNS = ["run", "epoch", *NUMBERS]
KEY = ["run", "epoch"]
FORM = Form(columns=COLUMNS, key=KEY, ranges={"epoch": (1, 1e6), "loss": ANY, "rsum": RSUM})


def of_runs(results: Iterable[Result], root: Path) -> pd.DataFrame:
    """Return the curves of results as lines of the record; ensembles have none.

    ``root`` is the run store. Raises `InputError` for a run without a curve there.
    """
    curves = [
        _curve(root, result.run).assign(run=str(result.run))[COLUMNS]
        for result in results
        if " + " not in result.run
    ]
    return pd.concat(curves) if curves else pd.DataFrame(columns=COLUMNS)


def write(new: pd.DataFrame, path: Path = RECORD) -> None:
    """Write lines of `of_runs` to the record, inside `changing`; they replace those of their runs.

    The file is sorted and written atomically.
    """
    if new.empty:
        return
    old = _lines(path) if path.exists() else new.iloc[:0]
    old = old[~old["run"].isin(new["run"])]
    table = pd.concat([part for part in (old, new) if len(part)]).sort_values(KEY)
    write_record(table, path, FORM, digits=6)


def require_readable(path: Path = RECORD) -> None:
    """Raise `InputError` where the record of curves exists and cannot be read."""
    if path.exists():
        record_text(path, FORM)


def require_curve(result: Result, root: Path) -> None:
    """Raise `InputError` where the learning curve of a result cannot be read."""
    if " + " not in result.run:
        _curve(root, result.run)


def curves_of(
    results: Iterable[Result], root: Path | str, path: Path = RECORD
) -> dict[str, pd.DataFrame]:
    """Return epoch, loss and development rSum of runs, by the folder of the run.

    Recorded runs are read from the record, others from the run store ``root``. Runs without a
    recorded curve, and ensembles, are left out.
    """
    recorded = _recorded(path, path.stat().st_mtime_ns) if path.exists() else {}
    curves: dict[str, pd.DataFrame] = {}
    for result in results:
        place = str(result.run)
        if " + " in place or (result.recorded and place not in recorded):
            continue
        curves[place] = recorded[place] if result.recorded else _curve(Path(root), place)
    return curves


def _curve(root: Path, place: str) -> pd.DataFrame:
    return Run(root / place).curve[COLUMNS[1:]]


@lru_cache(maxsize=4)
def _recorded(path: Path, changed: int) -> dict[str, pd.DataFrame]:
    """Return the recorded curves by run; ``changed`` is the file's time of change."""
    return {
        str(place): curve[COLUMNS[1:]].reset_index(drop=True)
        for place, curve in _lines(path).groupby("run")
    }


def _lines(path: Path) -> pd.DataFrame:
    return pd.read_csv(StringIO(record_text(path, FORM)), dtype={"run": str})
