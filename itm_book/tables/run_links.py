"""Links from the tables of the book to the runs behind them, on the page of all runs.

Functions that make a table for a page put them into its cells as notes, which `report.html`
shows; so no number of ours stands on a page without the way to its run. A recorded number that
code with uncommitted changes has made is marked there until its run is made again.

Page: "All runs".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from itm_book.records.results import Uncommitted
from itm_book.tables.report import Note, noted
from itm_core.environment import is_committed

PAGE = "../book/runs.html"  # as the other pages of the book see it


def run_anchor(folder: Path | str) -> str:
    """Return the name of a run's row on the page of all runs.

    ``folder`` is the run's, or its last three parts as `results.Result.run` gives them.

    >>> run_anchor("data/runs/scenes-small/scan-t2i-mean+rcr-smoke/0-69202e34ea44")
    'run-scenes-small-scan-t2i-mean-rcr-smoke-0-69202e34ea44'
    """
    parts = "-".join(["run", *Path(folder).parts[-3:]])
    return re.sub(r"[^a-z0-9]+", "-", parts.lower()).strip("-")


def run_link(folder: Path | str) -> str:
    """Return the link from a page of the book to a run's row.

    >>> run_link("tiny/sgr/0-4c5ed5c8fed8")
    '../book/runs.html#run-tiny-sgr-0-4c5ed5c8fed8'
    """
    return f"{PAGE}#{run_anchor(folder)}"


def linked(shown: pd.DataFrame, runs: Mapping[str, Iterable[Sequence[str]]]) -> pd.DataFrame:
    """Return a table whose cells of some columns lead to the runs behind them.

    ``runs`` holds for a column the folders below the store, several for a row; an ensemble's are
    joined by ``" + "``. A cell with a run that is `results.Uncommitted` is marked.
    """
    return noted(shown, {name: [_note(row) for row in rows] for name, rows in runs.items()})


def marked(shown: pd.DataFrame, column: str, commits: Iterable[str | None]) -> pd.DataFrame:
    """Return a table whose cells of a column are marked where code in no commit made the number.

    ``commits`` holds for each row what a record says (`environment.current_commit`, or an empty
    text), None or NaN where the row has no number of a record.
    """
    right = [pd.isna(commit) or is_committed(commit) for commit in commits]
    return noted(shown, {column: [None if one else Note(uncommitted=True) for one in right]})


def uncommitted(runs: Iterable[Sequence[str]]) -> bool:
    """Return whether one of the runs behind some rows is `results.Uncommitted`."""
    return any(isinstance(run, Uncommitted) for row in runs for run in row)


def of_run(shown: pd.DataFrame, place: str) -> pd.DataFrame:
    """Return a table of one run's numbers, its first column leading to that run."""
    return linked(shown, {str(shown.columns[0]): [[place]] * len(shown)})


def _note(runs: Sequence[str]) -> Note | None:
    places = list(dict.fromkeys(place for run in runs for place in run.split(" + ")))
    if not places:
        return None
    kind = "runs, averaged" if any(" + " in run for run in runs) else "runs"
    return Note(f"{kind}: {', '.join(places)}", run_link(places[0]), uncommitted([runs]))
