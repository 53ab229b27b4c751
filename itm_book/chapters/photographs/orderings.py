"""Do two ways of measuring put methods in the same order? Rank correlation over methods.

Page: "Real photographs".
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from IPython.display import Markdown
from scipy import stats

from itm_core.evaluation.rank_correlation import kendall, spearman
from itm_core.evaluation.statistics import ALPHA

ORDERS = 10_000  # of a permutation test


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
    """Return how far both measures of `paired` order the methods alike.

    ``tau_b`` and ``spearman``, see `rank_correlation`; ``p`` of a permutation test: the share of
    orders whose Spearman correlation is as far from zero, of all orders where there are no more
    than ``orders``, else of so many random ones, the found order counted as one. It asks whether
    the orders have to do with each other, and knows nothing of the uncertainty of a dot.
    """
    x, y = pairs["x"].to_numpy(float), pairs["y"].to_numpy(float)
    ranks = stats.rankdata(x) - (len(x) + 1) / 2
    found = stats.permutation_test(
        (stats.rankdata(y),),
        lambda order, axis: np.abs(np.sum(ranks * order, axis=axis)),
        permutation_type="pairings",
        vectorized=True,
        alternative="greater",
        n_resamples=orders,
        rng=seed,
    )
    return {"tau_b": kendall(x, y), "spearman": spearman(x, y), "p": float(found.pvalue)}


def in_words(pairs: pd.DataFrame, across: str, up: str) -> Markdown:
    """Return the agreement of two orders in words made from its numbers alone."""
    if len(pairs) < 3:
        return Markdown(f"{len(pairs)} methods have both: too few to speak of an order.")
    found = agreement(pairs)
    best = [pairs["name"].iloc[int(pairs[axis].argmax())] for axis in ("x", "y")]
    first = (
        f"Best by both is *{best[0]}*."
        if best[0] == best[1]
        else f"Best {across} is *{best[0]}*, best {up} *{best[1]}*."
    )
    said = "are significantly" if found["p"] < ALPHA else "are not significantly"
    share = "less than 0.1" if found["p"] < 0.001 else f"{100 * found['p']:.1f}"
    return Markdown(
        f"Over {len(pairs)} methods, Spearman's correlation of the two orders is "
        f"**{found['spearman']:.2f}** (Kendall's tau-b {found['tau_b']:.2f}). A random order comes "
        f"as far from zero in {share} % of cases, so the two {said} related. {first}"
    )
