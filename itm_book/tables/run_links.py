"""Links from the tables of the book to their runs, on the page of all runs.

Tables have them as notes of their cells, which `report.html` shows. A recorded number made by
uncommitted code is marked.

Page: "All runs".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from itm_book.records.commits import is_committed
from itm_book.records.results import Uncommitted
from itm_book.tables.notes import Note, noted

PAGE = "../book/runs.html"  # relative to the other pages of the book


def run_anchor(folder: Path | str) -> str:
    """Return the name of a run's row on the page of all runs.

    ``folder`` is that of the run, or its last three parts as in `results.Result.run`.

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
    """Return a table with links to runs in the cells of some columns.

    ``runs`` maps a column to the run folders of each row, relative to the store; those of an
    ensemble are joined by ``" + "``. A cell with a run that is `results.Uncommitted` is marked.
    """
    return noted(shown, {name: [_note(row) for row in rows] for name, rows in runs.items()})


def marked(shown: pd.DataFrame, column: str, commits: Iterable[str | None]) -> pd.DataFrame:
    """Return a table with cells of a column marked where uncommitted code made the number.

    ``commits`` has for each row the commit of the record (`environment.current_commit`, or an
    empty text), None or NaN for a row without a record.
    """
    committed = [pd.isna(commit) or is_committed(commit) for commit in commits]
    return noted(shown, {column: [None if c else Note(uncommitted=True) for c in committed]})


def uncommitted(runs: Iterable[Sequence[str]]) -> bool:
    """Return whether any run of some rows is `results.Uncommitted`."""
    return any(isinstance(run, Uncommitted) for row in runs for run in row)


def of_run(shown: pd.DataFrame, place: str) -> pd.DataFrame:
    """Return a table of one run's numbers, with links to the run in its first column."""
    return linked(shown, {str(shown.columns[0]): [[place]] * len(shown)})


def _note(runs: Sequence[str]) -> Note | None:
    places = list(dict.fromkeys(place for run in runs for place in run.split(" + ")))
    if not places:
        return None
    kind = "runs, averaged" if any(" + " in run for run in runs) else "runs"
    return Note(f"{kind}: {', '.join(places)}", run_link(places[0]), uncommitted([runs]))
