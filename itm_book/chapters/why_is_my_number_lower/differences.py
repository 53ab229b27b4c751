"""Differences between two numbers of the same test images, as rows that are drawn and told.

A difference is *what you have minus what you hoped for*. Between runs that were trained
differently images and seeds decide, as in `comparison.gains`; where the same weights are only
evaluated otherwise, training has no part in it and images decide alone. Each row says which.

Page: "Why is my number lower?".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown

from itm_book.records.grids import Grid
from itm_book.records.results import Results
from itm_book.tables import comparison, verdicts
from itm_book.tables.run_links import linked
from itm_core.evaluation import retrieval, statistics
from itm_core.evaluation.statistics import GAIN, LOSS, NO_EFFECT, UNTESTABLE

COLUMNS = [
    "name", "against", "group", "on", "seeds", "gain", "low", "high", "spread",
    "p", "by", "says", "runs",
]  # fmt: skip
BOTH, IMAGES = "images and seeds", "images"  # what a difference was tested over
SAID = {LOSS: "lower", GAIN: "higher", NO_EFFECT: NO_EFFECT, UNTESTABLE: UNTESTABLE}

Pair = tuple[np.ndarray, np.ndarray]  # hits [I, 7] of what you have and of what you hoped for


def of_rows(
    results: Results,
    grid: Grid,
    *,
    over: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    group: str = "",
    floor: float | None = None,
) -> pd.DataFrame:
    """Return what rows of a grid differ from others, as `comparison.gains`, in `COLUMNS`.

    Args:
        over: the row that each is compared with; by default its host.
        names: what rows are called here.
        group: of all rows; by default the grid's.
        floor: the smallest spread between seeds that is believed, see `comparison.gains`.
    """
    found = comparison.gains(results, grid, over=over, floor=floor)
    if found.empty:
        return pd.DataFrame(columns=COLUMNS)
    found["on"] = [results[name][0].dataset for name in found["name"]]
    found["name"] = [(names or {}).get(name, name) for name in found["name"]]
    if group:
        found["group"] = group
    return found.rename(columns={"host": "against"}).assign(by=BOTH)[COLUMNS]


def of_scores(
    pairs: Mapping[str, Sequence[Pair]],
    *,
    against: str,
    group: str,
    on: str,
    runs: Sequence[str] = (),
) -> pd.DataFrame:
    """Return differences between evaluations of the same weights, one pair of hits a seed.

    Columns: `COLUMNS`; ``low``, ``high`` and ``p`` are of the paired bootstrap over images, which
    decides alone. ``runs`` are those whose weights were evaluated.
    """
    rows = []
    for name, every in pairs.items():
        ours, theirs = (np.mean([pair[k] for pair in every], axis=0) for k in (0, 1))
        found = retrieval.paired_bootstrap(ours, theirs).to_dict("index")["rsum"]
        each = [float((a - b)[:, -1].mean()) for a, b in every]
        row = {"name": name, "against": against, "group": group, "on": on, "seeds": len(every)}
        row |= {"gain": found["difference"], "spread": statistics.sd(each), "by": IMAGES}
        row |= {one: found[one] for one in ("low", "high", "p")}
        row["says"] = statistics.effect(found["difference"], found["p"])
        rows.append(row | {"runs": list(runs)})
    return pd.DataFrame(rows, columns=COLUMNS)


def summary(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of several tables in one, the largest loss first."""
    known = [table[COLUMNS] for table in tables if len(table)]
    if not known:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(known, ignore_index=True).sort_values("gain", ignore_index=True)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of differences as text; columns beyond `COLUMNS` come along as they are."""
    extra = [column for column in table if column not in COLUMNS]
    rows = []
    for r in table.to_dict("records"):
        row = {"what you have": r["name"], "what you hoped for": r["against"]}
        row["difference in rSum"] = _shown(r) + comparison.spread(r["spread"])
        row |= {str(column): f"{r[column]:.1f}" for column in extra}
        row |= {"p": comparison.p_value(r["p"]), "says": SAID[r["says"]], "tested over": r["by"]}
        rows.append(row | {"seeds": str(r["seeds"]), "on": r["on"]})
    return linked(pd.DataFrame(rows), {"difference in rSum": table.get("runs", ())})


def _shown(row: Mapping[Any, Any]) -> str:
    return f"{row['gain']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"


def said(table: pd.DataFrame) -> Markdown:
    """Return what a table of differences shows, in words made from its numbers alone."""
    if table.empty:
        return Markdown("Not measured here: no such runs are recorded yet.")
    ordered = table.sort_values("gain").to_dict("records")
    parts = []
    starts = {
        LOSS: "Lower", GAIN: "Higher", NO_EFFECT: "Not significant", UNTESTABLE: "Not testable"
    }  # fmt: skip
    for word, start in starts.items():
        those = [f"{escape(r['name'])} ({_shown(r)})" for r in ordered if r["says"] == word]
        if those:
            parts.append(f"**{start}:** {'; '.join(those)}.")
    tested = int((table["says"] != UNTESTABLE).sum())
    if tested > 1:
        parts.append(verdicts.by_chance(tested))
    return Markdown(" ".join(parts))
