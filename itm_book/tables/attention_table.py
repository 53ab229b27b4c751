"""How well the rows of a table look: attention precision, recall and F1, and gains in them.

Everything starts from `results.Results`, as in `comparison`. The record holds these measures as
means over queries, so there is no interval over images: seeds alone decide whether a gain is
significant.

Page: the CHAN chapter, "Where the words look"; the chapter on the constraints, "Do they look
better?".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from itm_book.records.grids import Grid
from itm_book.records.results import Result, Results
from itm_book.tables.comparison import measured, paired, spread
from itm_book.tables.run_links import linked
from itm_core.evaluation.statistics import GAIN, LOSS, sd

SIDES = {"t2i": "words", "i2t": "regions"}
MEASURES = ("precision", "recall", "f1")
TITLES = {"precision": "precision", "recall": "recall", "f1": "F1"}


def quality(results: Results, name: str = "method") -> pd.DataFrame:
    """Return precision, recall and F1 of every row that attends, in percent, as text.

    ``mean ± spread between seeds``; columns of a direction that no row attends in are left out.
    """
    rows = []
    for row, group in results.items():
        shown = {name: row}
        for key, title in _columns().items():
            shown[title] = _text(_values(group, key))
        rows.append(shown | {"seeds": str(len(group))})
    table = pd.DataFrame(rows)
    titles = list(_columns().values())
    table = table[(table[titles] != "").any(axis=1)]
    empty = [title for title in titles if not table[title].any()]
    runs = [[result.run for result in results[row]] for row in table[name]]
    return linked(table.drop(columns=empty).reset_index(drop=True), {name: runs})


def gains(results: Results, grid: Grid, *, over: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return what every row gains over its host in each measure, on the seeds that both have.

    ``over`` names other rows to compare with than the grid's hosts. Columns: ``name``, ``host``,
    ``seeds``, ``runs``, and for ``words`` and ``regions`` and every measure the gain in points as
    `comparison.measured` gives it, for example ``words_precision`` and ``words_precision_says``;
    NaN where one of the two does not look that way. `verdicts.claim` takes
    ``of="words_precision"``.
    """
    rows = []
    for name, group in results.items():
        host = grid.host(name) if over is None else over.get(name, "")
        pairs = paired(group, results.get(host, ()))
        if host == name or not pairs:
            continue
        ours, theirs = zip(*pairs, strict=True)
        row: dict[str, object] = {"name": name, "host": host, "seeds": len(pairs)}
        row["runs"] = [result.run for result in (*ours, *theirs)]
        for key in _columns():
            row |= measured(_short(key), _values(ours, key) - _values(theirs, key))
        rows.append(row)
    return pd.DataFrame(rows)


def readable_gains(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `gains` as text; measures that no row has are left out."""
    rows = []
    for row in table.to_dict("records"):
        shown = {"method": row["name"], "over": row["host"], "seeds": str(row["seeds"])}
        for key, title in _columns().items():
            value, said = row[_short(key)], row[f"{_short(key)}_says"]
            significant = f", {said}" if said in (GAIN, LOSS) else ""
            text = f"{value:+.1f}{spread(row[f'{_short(key)}_spread'])}{significant}"
            shown[title] = "" if np.isnan(value) else text
        rows.append(shown)
    found = pd.DataFrame(rows)
    empty = [t for t in _columns().values() if t in found and not found[t].any()]
    return linked(found.drop(columns=empty), {"method": table.get("runs", ())})


def _columns() -> dict[str, str]:
    """Return the name in the record and the title of every measure."""
    return {
        f"{side}_attention_{measure}": f"{TITLES[measure]}, {who}"
        for side, who in SIDES.items()
        for measure in MEASURES
    }


def _short(key: str) -> str:
    side, _, measure = key.split("_")
    return f"{SIDES[side]}_{measure}"


def _values(group: Sequence[Result], key: str) -> np.ndarray:
    return np.array([100 * result.metrics.get(key, np.nan) for result in group])


def _text(values: np.ndarray) -> str:
    mean = values.mean()
    return "" if np.isnan(mean) else f"{mean:.1f}{spread(sd(values))}"
