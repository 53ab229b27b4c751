"""Published numbers of a grid's rows, as an order of methods.

One published row for each row of the grid that is the same method as a single model: its paper's
own number where that could be read. Rows without one are left out, and so are ensembles. Orders
are compared by the sum of both R@1, which every source prints; many do not print rSum.

Page: "Real photographs".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from itm_book.records.grids import Grid
from itm_book.records.results import Results
from itm_book.tables import published
from itm_core.evaluation import retrieval, statistics

DATASET = "Flickr30K"
BUTD_GRU, BUTD_BERT = "BUTD regions + BiGRU", "BUTD regions + BERT-base"
# row of the grid ``flickr8k``: file, method, host and variant of the published row; an empty text
# stands for an empty cell, None for any
ROWS: Mapping[str, tuple[str, str, str | None, str | None]] = {
    "SCAN t2i": ("hosts", "SCAN", BUTD_GRU, "t-i AVG"),
    "SCAN i2t": ("hosts", "SCAN", BUTD_GRU, "i-t AVG"),
    "BFAN": ("hosts", "BFAN", BUTD_GRU, "prob (single)"),
    "PFAN": ("hosts", "PFAN", BUTD_GRU, "t-i"),
    "SAF": ("hosts", "SGRAF", BUTD_GRU, "SAF"),
    "SGR": ("hosts", "SGRAF", BUTD_GRU, "SGR"),
    "VSE-GPO": ("chan", "VSE-infinity", BUTD_GRU, ""),
    "CHAN": ("chan", "CHAN", BUTD_GRU, "hard coding, single model"),
    "CHAN, BERT": ("chan", "CHAN", BUTD_BERT, "hard coding, single model"),
    "RCAR t2i": ("rcar", "RCAR", None, "t2i"),
    "RCAR i2t": ("rcar", "RCAR", None, "i2t"),
}
MEASURE = "R@1 in both directions, summed"
R1 = ("i2t_r1", "t2i_r1")


def dots(grid: Grid) -> pd.DataFrame:
    """Return the published number of every row in `ROWS`, as `comparison.dots`, without intervals.

    Of several published rows the first counts: the paper's own, before a later re-run.
    """
    table = published.rows(dataset=DATASET)
    rows = []
    for name, (file, method, host, variant) in ROWS.items():
        of_row = table[(table["file"] == file) & (table["method"] == method)]
        for column, wanted in (("host", host), ("direction_or_module", variant)):
            if wanted is not None:
                of_row = of_row[of_row[column].fillna("") == wanted]
        value = float(of_row.iloc[0][list(R1)].sum())
        unknown = dict.fromkeys(("low", "high", "spread"), np.nan)
        rows.append({"name": name, "group": grid.group(name), "value": value} | unknown)
    return pd.DataFrame(rows)


def recorded_dots(results: Results, grid: Grid) -> pd.DataFrame:
    """Return `MEASURE` of every recorded row that is no ensemble, as `comparison.dots`.

    The mean over seeds, with its 95 % interval over test images.
    """
    columns = [retrieval.NUMBERS.index(name) for name in R1]
    rows = []
    for name, group in results.items():
        if name in grid.rows:
            hits = np.mean([result.hits[:, columns].sum(1) for result in group], axis=0)
            low, high = statistics.interval(statistics.bootstrap_means(hits[:, None]))
            row = {"name": name, "group": grid.group(name), "value": float(hits.mean())}
            limits = {"low": float(low[0]), "high": float(high[0]), "spread": np.nan}
            rows.append(row | limits)
    return pd.DataFrame(rows, columns=["name", "group", "value", "low", "high", "spread"])
