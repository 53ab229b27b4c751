"""The labels of differences and of claims: a gain, a loss, no effect; a claim holds, or not.

A difference is significant when the tests over images and over seeds both reject, see
`evaluation.statistics`; the rows under one claim are corrected by Holm's method.

Page: every chapter with a table; "How sure" in the chapter on the task.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from itm_core.evaluation.statistics import ALPHA, holm

GAIN, LOSS, NO_EFFECT = "gain", "loss", "not significant"
HOLDS, MIXED, NONE_FOUND, AGAINST, UNTESTABLE = (
    "holds",
    "mixed",
    "no effect found",
    "against",
    "not testable",
)
BELOW = "below the best"  # of a row against the best one of its table
EFFECTS = (GAIN, LOSS, NO_EFFECT, UNTESTABLE)  # of one difference
VERDICTS = (HOLDS, MIXED, NONE_FOUND, AGAINST, UNTESTABLE)  # on a claim


def combined_p(images: float, seeds: float) -> float:
    """Return the p value of a difference that must hold over images *and* over seeds.

    NaN where either is, as with a single seed.
    """
    return float(np.maximum(images, seeds))


def effect(difference: float, p: float) -> str:
    """Return one of `EFFECTS` for a difference, significant where ``p < ALPHA``.

    >>> effect(-3.0, 0.01), effect(3.0, 0.05), effect(3.0, math.nan)
    ('loss', 'not significant', 'not testable')
    """
    if math.isnan(p) or math.isnan(difference):
        return UNTESTABLE
    if p >= ALPHA or not difference:
        return NO_EFFECT
    return GAIN if difference > 0 else LOSS


def effects(differences: Sequence[float], p: Sequence[float]) -> list[str]:
    """Return the `effect` of each row under one claim, corrected by `holm`."""
    return [effect(d, q) for d, q in zip(differences, holm(p), strict=True)]


def verdict(differences: Sequence[float], p: Sequence[float]) -> str:
    """Return one of `VERDICTS` on the claim that every row is a gain.

    ``p`` are uncorrected p values, see `effects`. Rows that cannot be tested, such as those with
    one seed, are left out: `verdicts.judge` then says that the verdict is that *so far*.

    ==================  =============================================================
    not testable        no row can be tested
    holds               every tested row is a significant gain
    against             every tested row is a significant loss
    no effect found     no tested row is significant
    mixed               any other combination
    ==================  =============================================================

    >>> verdict([3.0, 4.0], [0.01, 0.02]), verdict([3.0, -4.0], [0.01, 0.02])
    ('holds', 'mixed')
    """
    return on_effects(effects(differences, p))


def on_effects(seen: Sequence[str]) -> str:
    """Return the `verdict` on rows of which the `effects` are known."""
    distinct = set(seen) - {UNTESTABLE}
    if not distinct:
        return UNTESTABLE
    if len(distinct) > 1:
        return MIXED
    return {GAIN: HOLDS, LOSS: AGAINST, NO_EFFECT: NONE_FOUND}[distinct.pop()]
