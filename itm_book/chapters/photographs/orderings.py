"""Do two measures rank methods in the same order? Rank correlation over methods.

Page: "Real photographs".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy import stats

from itm_book.figures.style import FAINT, colour_of_row, finished, styled
from itm_book.tables.comparison import p_value
from itm_core.evaluation.statistics import interval, kendall, kendall_of_rows, spearman

ORDERS = 10_000  # of a permutation test
RESAMPLES = 2000  # of methods, for an interval
FEWEST = 4  # methods; three have six orders, and no p below a third
APART = 0.052  # of the height, between two names


def paired(across: pd.DataFrame, up: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that two tables share, each a dot of `scatter`.

    Both are tables as `comparison.dots` gives them (``name``, ``group``, ``value``, ``low``,
    ``high``); the columns of the first become ``x``, ``x_low``, ``x_high``, of the second ``y``.
    """
    ends = {"value": "", "low": "_low", "high": "_high"}
    left, right = (
        table.set_index("name")[list(ends)].rename(
            columns={k: f"{axis}{v}" for k, v in ends.items()}
        )
        for axis, table in (("x", across), ("y", up))
    )
    groups = up.set_index("name")["group"]
    return left.join(right, how="inner").join(groups).reset_index()


def agreement(pairs: pd.DataFrame, *, orders: int = ORDERS, seed: int = 0) -> dict[str, float]:
    """Return the rank correlation of both measures of `paired` over methods.

    ``tau_b`` with its 95 % interval ``tau_low`` to ``tau_high``, from resamples of the methods;
    ``spearman``; ``p`` of a permutation test: the share of orders with a Spearman correlation at
    least as far from zero, of all orders where there are no more than ``orders``, else of that
    many random ones, the observed order included. Both say how far other methods would be
    ordered alike, and ignore the uncertainty of each dot.
    """
    x, y = pairs["x"].to_numpy(float), pairs["y"].to_numpy(float)
    ranks = stats.rankdata(x) - (len(x) + 1) / 2
    test = stats.permutation_test(
        (stats.rankdata(y),),
        lambda order, axis: np.abs(np.sum(ranks * order, axis=axis)),
        permutation_type="pairings",
        vectorized=True,
        alternative="greater",
        n_resamples=orders,
        rng=seed,
    )
    low, high = interval(_tau_of_resamples(x, y, seed))
    taus = {"tau_b": kendall(x, y), "tau_low": float(low), "tau_high": float(high)}
    return {**taus, "spearman": spearman(x, y), "p": float(test.pvalue)}


def _tau_of_resamples(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Return tau-b of ``[N]`` methods drawn with replacement, ``[RESAMPLES]``."""
    drawn = np.random.default_rng(seed).integers(len(x), size=(RESAMPLES, len(x)))
    return kendall_of_rows(x[drawn], y[drawn])


def agreement_table(orders: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """Return `agreement` as a table, one row for each pair of orders.

    ``orders`` maps the names of two measures to the methods that both have (`paired`). Fewer than
    `FEWEST` methods have no correlation.
    """
    rows = []
    for (across, up), pairs in orders.items():
        row = {"order": across, "and order": up, "methods": str(len(pairs))}
        if len(pairs) >= FEWEST:
            values = agreement(pairs)
            limits = f"[{values['tau_low']:.2f}, {values['tau_high']:.2f}]"
            row |= {"Kendall's tau-b": f"{values['tau_b']:.2f} {limits}"}
            row |= {"Spearman's rho": f"{values['spearman']:.2f}", "p": p_value(values["p"])}
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def scatter(pairs: pd.DataFrame, *, title: str, across: str, up: str) -> Figure:
    """Return a dot with both 95 % intervals for every row of `paired`.

    Names are in a column at the right, in the order of ``y``, so that they do not overlap.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, max(3.6, 1.0 + 0.3 * len(pairs))))
        groups = list(dict.fromkeys(pairs["group"]))
        rows = pairs.sort_values("y").to_dict("records")
        colours = [colour_of_row(row, groups) for row in rows]
        for row, colour in zip(rows, colours, strict=True):  # published numbers have no interval
            axes.plot([row["x_low"], row["x_high"]], [row["y"]] * 2, color=colour, lw=1, alpha=0.6)
            axes.plot([row["x"]] * 2, [row["y_low"], row["y_high"]], color=colour, lw=1, alpha=0.6)
            axes.plot(row["x"], row["y"], "o", color=colour, ms=6)
        bottom, top = axes.get_ylim()
        heights = _spaced((np.array([row["y"] for row in rows]) - bottom) / (top - bottom))
        for row, colour, height in zip(rows, colours, heights, strict=True):
            axes.annotate(
                row["name"], (row["x"], row["y"]), xytext=(1.03, height),
                textcoords="axes fraction", va="center", fontsize=8, color=colour,
                arrowprops={"arrowstyle": "-", "lw": 0.5, "color": FAINT, "relpos": (0, 0.5)},
            )  # fmt: skip
        axes.set(xlabel=f"{across}\nlines: 95 % intervals over test images", ylabel=up, title=title)
        axes.grid(color=FAINT, alpha=0.2)
        return finished(figure)


def _spaced(wanted: np.ndarray) -> np.ndarray:
    """Return ascending heights at least `APART`, near the wanted ones, in [0, 1] if they fit."""
    step = min(APART, 1 / max(len(wanted) - 1, 1))
    heights = wanted.copy()
    for k in range(1, len(heights)):
        heights[k] = max(heights[k], heights[k - 1] + step)
    for k in range(len(heights) - 1, -1, -1):
        limit = 1.0 if k == len(heights) - 1 else heights[k + 1] - step
        heights[k] = min(heights[k], limit)
    return heights
