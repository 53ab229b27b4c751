"""Attention quality of the rows of a table: precision, recall and F1, and gains in them.

The input is `results.Results`, as in `comparison`. The record has these measures as means over
queries, so there is no interval over images, and gains are tested over seeds alone.

Page: the chapters on CHAN and on the constraints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from itm_book.records.grids import Grid
from itm_book.records.results import Result, Results
from itm_book.tables.comparison import (
    gain_over_seeds,
    hard_and_soft,
    paired,
    spread,
    tests_behind_switch,
)
from itm_book.tables.labels import GAIN, LOSS
from itm_book.tables.report import behind_switch
from itm_book.tables.run_links import linked
from itm_core.evaluation.statistics import sd

SIDES = {"t2i": "words", "i2t": "regions"}
MEASURES = ("precision", "recall", "f1")
TITLES = {"precision": "precision", "recall": "recall", "f1": "F1"}


def quality(results: Results, name: str = "method") -> pd.DataFrame:
    """Return precision, recall and F1 of every row with attention, in percent, as text.

    ``mean ± SD over seeds``; columns of a direction without any row are left out.
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
    table = linked(table.drop(columns=empty).reset_index(drop=True), {name: runs})
    return behind_switch(table, ["seeds"])


def gains(results: Results, grid: Grid, *, over: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the gain of every row over its host in each measure, on the seeds that both have.

    ``over`` maps rows to others than the grid's hosts. Columns: ``name``, ``host``,
    ``seeds``, ``runs``, and for ``words`` and ``regions`` and every measure the gain in points as
    `comparison.gain_over_seeds` gives it, for example ``words_precision`` and
    ``words_precision_effect``; NaN where one of the two does not attend in that direction, and
    recall and F1 of hard over soft attention (`comparison.hard_and_soft`).
    `verdicts.judge` takes ``of="words_precision"``.

    Raises `InputError` where ``over`` has a name that the grid lacks.
    """
    rows, hosts = [], grid.hosts(over)
    for name, group in results.items():
        host = hosts.get(name, "")
        pairs = paired(group, results.get(host, ()))
        if host == name or not pairs:
            continue
        row_results, host_results = zip(*pairs, strict=True)
        row: dict[str, object] = {"name": name, "host": host, "seeds": len(pairs)}
        row["runs"] = [result.run for result in (*row_results, *host_results)]
        unlike = hard_and_soft(grid, name, host)
        for key in _columns():
            scale = np.nan if unlike and not key.endswith("precision") else 1
            differences = _values(row_results, key) - _values(host_results, key)
            row |= gain_over_seeds(_short(key), scale * differences)
        rows.append(row)
    return pd.DataFrame(rows)


def readable_gains(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `gains` as text; measures without any row are left out."""
    rows = []
    for row in table.to_dict("records"):
        shown = {"method": row["name"]}
        for key, title in _columns().items():
            value, effect = row[_short(key)], row[f"{_short(key)}_effect"]
            significant = f", {effect}" if effect in (GAIN, LOSS) else ""
            text = f"{value:+.1f}{spread(row[f'{_short(key)}_spread'])}{significant}"
            shown[title] = "" if np.isnan(value) else text
        rows.append(shown | {"over": row["host"], "seeds": str(row["seeds"])})
    shown_gains = linked(pd.DataFrame(rows), {"method": table.get("runs", ())})
    return tests_behind_switch(shown_gains, *_columns().values())


def _columns() -> dict[str, str]:
    """Return the name in the record and the title of every measure."""
    return {
        f"{side}_attention_{measure}": f"{TITLES[measure]}, {queries[:-1]} queries"
        for side, queries in SIDES.items()
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
