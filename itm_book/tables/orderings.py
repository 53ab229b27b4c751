"""Do two measures rank methods in the same order? Rank correlation over methods.

Page: "Real photographs".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from itm_book.tables.comparison import p_value
from itm_core.evaluation.statistics import interval, kendall, kendall_of_rows, spearman

ORDERS = 10_000  # of a permutation test
RESAMPLES = 2000  # of methods, for an interval
FEWEST = 4  # methods; three have six orders, and no p below a third


def paired(across: pd.DataFrame, up: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that two tables share, each a dot of `figures.orderings.scatter`.

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
