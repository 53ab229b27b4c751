"""Do two measures rank methods in the same order? Rank correlation over methods.

Page: "Real photographs".
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from itm_book.tables.comparison import p_value
from itm_book.tables.verdicts import equal_p
from itm_core.evaluation.statistics import ALPHA, interval, kendall, kendall_of_rows, spearman

ORDERS = 10_000  # of a permutation test
RESAMPLES = 2000  # of methods, for an interval
FEWEST = 4  # methods; three have six orders, and no p below a third
ROUNDING = 1e-9  # of a correlation
FOR_INTERVAL = 8  # methods; resamples of fewer are mostly ties, of a perfect order all alike


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

    ``methods``, their number; ``tau_b`` with its 95 % interval ``tau_low`` to ``tau_high``, from
    resamples of the methods: NaN with fewer than `FOR_INTERVAL`, and where all resamples agree;
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
    low, high = _limits(x, y, seed)
    taus = {"methods": len(x), "tau_b": kendall(x, y), "tau_low": low, "tau_high": high}
    return {**taus, "spearman": spearman(x, y), "p": float(test.pvalue)}


def _limits(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the interval of tau-b over methods; NaN where resamples say nothing."""
    if len(x) < FOR_INTERVAL:
        return math.nan, math.nan
    taus = _tau_of_resamples(x, y, seed)
    taus = taus[~np.isnan(taus)]  # of one method alone, or of equals
    if not len(taus) or np.ptp(taus) < ROUNDING:
        return math.nan, math.nan
    low, high = interval(taus)
    return float(low), float(high)


def _tau_of_resamples(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Return tau-b of ``[N]`` methods drawn with replacement, ``[RESAMPLES]``."""
    drawn = np.random.default_rng(seed).integers(len(x), size=(RESAMPLES, len(x)))
    return kendall_of_rows(x[drawn], y[drawn])


def agreement_table(orders: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """Return `agreement` as a table, one row for each pair of orders.

    ``orders`` maps the names of two measures to the methods that both have (`paired`). Fewer than
    `FEWEST` methods have no correlation, and fewer than `FOR_INTERVAL` no interval.
    """
    rows = []
    for (across, up), pairs in orders.items():
        row = {"order": across, "and order": up, "methods": str(len(pairs))}
        if len(pairs) >= FEWEST:
            values = agreement(pairs)
            row |= {"Kendall's tau-b": tau_text(values)}
            row |= {"Spearman's rho": f"{values['spearman']:.2f}", "p": p_value(values["p"])}
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def tau_text(order: Mapping[str, float]) -> str:
    """Return tau-b of `agreement` with its interval, if it has one.

    >>> tau_text({"tau_b": 0.5, "tau_low": 0.2, "tau_high": 0.75})
    '0.50 [0.20, 0.75]'
    >>> tau_text({"tau_b": 1.0, "tau_low": math.nan, "tau_high": math.nan})
    '1.00'
    """
    low, high = order["tau_low"], order["tau_high"]
    return f"{order['tau_b']:.2f}" + ("" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]")


def on_photographs(order: Mapping[str, float]) -> str:
    """Return whether the order of methods on Scenes is that on photographs, in words.

    Only where the permutation test rejects, and the interval, if there is one, is above zero.
    """
    alike = order["p"] < ALPHA and order["tau_b"] > 0 and not order["tau_low"] <= 0
    so = (
        "the order on Scenes carries over in part"
        if alike
        else "the order on Scenes cannot be taken for that on photographs"
    )
    return (
        f"Kendall's tau-b of {order['methods']:.0f} methods is {tau_text(order)}, Spearman's rho "
        f"{order['spearman']:.2f} with p {equal_p(order['p'])} (1: the same order, 0: unrelated): "
        f"{so}"
    )
