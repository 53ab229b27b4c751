"""Answers to the exercises of CHAN: each a text, a few lines, and their numbers.

The first paragraph of a docstring says what is returned; the rest is the answer that the page
shows, with the code below it (`method_code.answer`). V are regions ``[R, D]``, W words ``[L, D]``.

Page: "CHAN", "Exercises".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from itm_book.reference.chan import chan_score, hard, soft

Numbers = dict[str, float]


def limit(W: Tensor, V: Tensor) -> Numbers:
    """Return the largest difference of soft from hard relevance at four temperatures.

    Soft coding becomes hard coding as the temperature grows. At the temperature that is trained
    with, ten, it is far from it: cosines of different regions differ by tenths, so that the
    weights of the regions differ by a factor of a few.
    """
    gaps = {t: (soft(W, V, t) - hard(W, V)).abs().max() for t in (1.0, 10.0, 100.0, 1e6)}
    assert gaps[1e6] < 1e-3
    return {f"temperature {t:g}": float(gap) for t, gap in gaps.items()}


def twice(W: Tensor, V: Tensor) -> Numbers:
    r"""Return what a caption gains when every word is said twice: by LSE, and by the mean.

    Hard coding looks at each word by itself, so a repeated word has the same relevance. The sum
    inside the logarithm doubles, which adds $\ln 2 = 0.69$ to the released LSE (0.07 in cosines).
    The mean stays the same.
    """
    doubled = torch.cat([W, W])
    gains = {
        "LSE": chan_score(doubled, V) - chan_score(W, V),
        "mean": hard(doubled, V).mean() - hard(W, V).mean(),
    }
    assert torch.isclose(gains["LSE"], torch.tensor(math.log(2), dtype=W.dtype), atol=1e-4)
    return {pool: float(gain) for pool, gain in gains.items()}


def gradient(W: Tensor, V: Tensor) -> Numbers:
    """Return how many regions get a gradient under hard and under soft coding.

    Under hard coding at most one region a word: those that were chosen. Regions that no word
    chooses learn nothing from this pair. Under soft coding all regions get one.
    """
    counts = {"words": float(len(W)), "regions": float(len(V))}
    for name, code in {"hard": hard, "soft": soft}.items():
        regions = V.clone().requires_grad_()
        slope = torch.autograd.grad(chan_score(W, regions, code), regions)[0]  # [R, D]
        counts[name] = float((slope.abs().sum(1) > 0).sum())
    assert counts["hard"] <= len(W)
    return counts
