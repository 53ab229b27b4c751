"""Which row of a table is best by rSum, and which rows are significantly below it.

Page: the chapters on SCAN, on every method and on real photographs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from itm_book.records.results import Result, Results
from itm_book.tables import labels
from itm_book.tables.comparison import p_value, paired, spread_floor
from itm_book.tables.labels import BELOW, GAIN, LOSS, NO_EFFECT, UNTESTABLE
from itm_book.tables.report import behind_switch
from itm_book.tables.run_links import linked
from itm_core.evaluation import retrieval, statistics

# GAIN: the row is better than the best one on the seeds that both have
TITLES = {LOSS: BELOW, NO_EFFECT: NO_EFFECT, GAIN: NO_EFFECT, UNTESTABLE: UNTESTABLE}
TEST = ("p", "tested over")
BOTH, IMAGES = "images and seeds", "images (these models only)"
NEITHER = "nothing: too few seeds"
CAPTION = (
    "Every row against the best one by rSum; p values corrected by Holm's method, and optimistic, "
    "since the best row was chosen by the same numbers"
)


def against_best(
    results: Results, names: Sequence[str] | None = None, *, floor: float | None = None
) -> pd.DataFrame:
    """Return every row tested against the best one by mean rSum, as text, best first.

    The best is one of the rows with several seeds, if there are any: a row with one seed may be
    first by chance, and cannot be tested.

    Columns: ``method``, ``result``, ``rSum``, ``difference`` from the best, and behind the table's
    switch ``p`` (the larger of images and seeds, corrected by Holm's method for the number of
    rows) and ``tested over``.
    The difference is that of the seeds that both have. Where no row has several seeds, images
    decide alone, and the result holds for the trained models only.

    Args:
        names: rows to compare; by default all.
        floor: lower bound of the SD over seeds, see `comparison.gains`.
    """
    rows = {name: results[name] for name in (results if names is None else names)}
    means = {name: np.mean([r.metrics["rsum"] for r in group]) for name, group in rows.items()}
    one_seed = all(len(group) < 2 for group in rows.values())
    ordered = sorted(rows, key=lambda name: -means[name])
    best = next(name for name in ordered if one_seed or len(rows[name]) > 1)
    others = [name for name in ordered if name != best]
    shown = [{"method": best, "result": "best", "rSum": f"{means[best]:.1f}"}]
    if others:
        tests = np.array([_against(rows[name], rows[best], floor) for name in others])
        differences, images, seeds = tests.T
        p = (images if one_seed else np.maximum(images, seeds)).tolist()
        effects = labels.effects(differences.tolist(), p)
        for name, gap, value, effect in zip(
            others, differences, statistics.holm(p), effects, strict=True
        ):
            row = {"method": name, "rSum": f"{means[name]:.1f}", "difference": f"{gap:+.1f}"}
            row |= {"p": p_value(value), "result": TITLES[effect]}
            over = IMAGES if one_seed else NEITHER if effect == UNTESTABLE else BOTH
            shown.append(row | {"tested over": over})
    columns = [c for c in ("method", "result", "rSum", "difference", *TEST) if others]
    table = pd.DataFrame(shown, columns=columns or None).fillna("")
    runs = [[result.run for result in rows[name]] for name in table["method"]]
    return behind_switch(linked(table, {"rSum": runs}), TEST)


def _against(
    row: Sequence[Result], best: Sequence[Result], floor: float | None
) -> tuple[float, float, float]:
    """Return the difference in rSum of two rows, and its p values over images and over seeds.

    Paired by seed; Welch's test where both have several seeds and fewer than two in common.
    """
    pairs = paired(row, best)
    sides: Sequence[Sequence[Result]] = list(zip(*pairs, strict=True)) or [row, best]
    if len(pairs) < 2 <= min(len(row), len(best)):
        sides = [row, best]
    hits = [np.mean([result.hits for result in side], axis=0) for side in sides]
    images = retrieval.paired_bootstrap(hits[0], hits[1]).to_dict("index")["rsum"]
    values = [[result.metrics["rsum"] for result in side] for side in sides]
    if len(pairs) < 2:
        (a, b), (n, m) = values, map(len, values)
        p = statistics.unpaired_p(
            float(np.mean(a)), statistics.sd(a), n, float(np.mean(b)), statistics.sd(b), m
        )
    else:
        least = spread_floor(*pairs[0]) if floor is None else floor
        p = statistics.over_seeds(np.subtract(values[0], values[1]), floor=least).p
    return images["difference"], images["p"], p
