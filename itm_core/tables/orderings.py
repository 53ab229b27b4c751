"""Do two ways of measuring put methods in the same order? Rank correlation over methods.

Page: "Real photographs".
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from IPython.display import Markdown

from itm_core.statistics import ALPHA
from itm_core.studies.judgements import rank_correlations

ORDERS = 10_000  # random orders, for the chance of agreeing by accident


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

    ``tau_b`` and ``spearman``, see `judgements.rank_correlations`; ``p`` is the share of random
    orders whose Spearman correlation is as far from zero, the found order counted as one. It asks
    whether the orders have to do with each other, and knows nothing of the uncertainty of a dot.
    """
    x, y = pairs["x"].to_numpy(float), pairs["y"].to_numpy(float)
    found = rank_correlations(x, y)
    draw = np.random.default_rng(seed)
    ranks = [pd.Series(side).rank().to_numpy() for side in (x, y)]
    shuffled = draw.permuted(np.tile(ranks[1], (orders, 1)), axis=1)
    centred = ranks[0] - ranks[0].mean()
    products = np.abs(shuffled @ centred)
    # the sums are exact: ranks are halves of whole numbers, and far below 2**52
    beyond = int((products >= abs(ranks[1] @ centred)).sum())
    return {
        "tau_b": found["tau_b"],
        "spearman": found["spearman"],
        "p": (beyond + 1) / (orders + 1),
    }


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
