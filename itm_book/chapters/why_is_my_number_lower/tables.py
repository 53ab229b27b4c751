"""Differences between two evaluations on the same test images.

A difference is *what you have minus what you hoped for*. Between runs that were trained
differently it is tested over images and seeds, as in `comparison.gains`; where the same weights
are evaluated in two ways, over images alone. The column ``by`` says which.

Page: "Why is my number lower?".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML

from itm_book.records.grids import Grid
from itm_book.records.results import Results
from itm_book.tables import comparison, labels, sentences
from itm_book.tables.labels import GAIN, LOSS, NO_EFFECT, UNTESTABLE
from itm_book.tables.report import behind_switch
from itm_book.tables.run_links import linked
from itm_core.evaluation import retrieval, statistics

COLUMNS = [
    "name", "against", "group", "on", "seeds", "gain", "low", "high", "spread",
    "p", "by", "effect", "runs",
]  # fmt: skip
BOTH, IMAGES = "images and seeds", "images"  # what a difference was tested over
EFFECT_TITLES = {LOSS: "lower", GAIN: "higher", NO_EFFECT: NO_EFFECT, UNTESTABLE: UNTESTABLE}

Pair = tuple[np.ndarray, np.ndarray]  # hits [I, 7] of what you have and of what you hoped for


def row_differences(
    results: Results,
    grid: Grid,
    *,
    over: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    group: str = "",
    floor: float | None = None,
) -> pd.DataFrame:
    """Return the differences between rows of a grid and others, with the columns `COLUMNS`.

    Args:
        over: the row that each is compared with; by default its host.
        names: titles of rows; by default their names.
        group: of all rows; by default the grid's.
        floor: lower bound of the SD over seeds, see `comparison.gains`.
    """
    table = comparison.gains(results, grid, over=over, floor=floor)
    if table.empty:
        return pd.DataFrame(columns=COLUMNS)
    table["on"] = [results[name][0].dataset for name in table["name"]]
    table["name"] = [(names or {}).get(name, name) for name in table["name"]]
    if group:
        table["group"] = group
    return table.rename(columns={"host": "against"}).assign(by=BOTH)[COLUMNS]


def score_differences(
    pairs: Mapping[str, Sequence[Pair]],
    *,
    against: str,
    group: str,
    on: str,
    runs: Sequence[str] = (),
) -> pd.DataFrame:
    """Return differences between evaluations of the same weights, one pair of hits per seed.

    Columns: `COLUMNS`; ``low``, ``high`` and ``p`` are of the paired bootstrap over images.
    ``runs`` are those whose weights were evaluated.
    """
    rows = []
    for name, hits in pairs.items():
        have, hoped = (np.mean([pair[k] for pair in hits], axis=0) for k in (0, 1))
        images = retrieval.paired_bootstrap(have, hoped).to_dict("index")["rsum"]
        by_seed = [float((a - b)[:, -1].mean()) for a, b in hits]
        row = {"name": name, "against": against, "group": group, "on": on, "seeds": len(hits)}
        row |= {"gain": images["difference"], "spread": statistics.sd(by_seed), "by": IMAGES}
        row |= {key: images[key] for key in ("low", "high", "p")}
        row["effect"] = labels.effect(images["difference"], images["p"])
        rows.append(row | {"runs": list(runs)})
    return pd.DataFrame(rows, columns=COLUMNS)


def summary(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of several tables as one table, the largest loss first."""
    rows = [table[COLUMNS] for table in tables if len(table)]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(rows, ignore_index=True).sort_values("gain", ignore_index=True)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of differences as text; further columns are kept, with one decimal."""
    extra = [column for column in table if column not in COLUMNS]
    rows = []
    for r in table.to_dict("records"):
        row = {"what you have": r["name"], "effect": EFFECT_TITLES[r["effect"]]}
        row |= {"difference in rSum": comparison.gain_text(r), "what you hoped for": r["against"]}
        row |= {str(column): f"{r[column]:.1f}" for column in extra}
        test = {"p": comparison.p_value(r["p"]), "tested over": r["by"], "seeds": str(r["seeds"])}
        rows.append(row | test | {"on": r["on"]})
    shown = linked(pd.DataFrame(rows), {"difference in rSum": table.get("runs", ())})
    return behind_switch(shown, ["p", "tested over", "seeds", "on"])


def finding(table: pd.DataFrame) -> HTML:
    """Return the largest loss of `summary`, and how many causes lower the number significantly."""
    if table.empty:
        return sentences.finding("no cause is measured yet.")
    worst = table.head(1).to_dict("records")[0]
    lower = int((table["effect"] == LOSS).sum())
    return sentences.finding(
        f"of {len(table)} causes measured on Scenes, {lower} lower the number significantly. The "
        f"largest loss is <em>{escape(str(worst['name']))}</em>, {_shown(worst)} rSum against "
        f"<em>{escape(str(worst['against']))}</em>."
    )


def _shown(row: Mapping[Any, Any]) -> str:
    return f"{row['gain']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"
