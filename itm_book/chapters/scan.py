"""Answers to the exercises of SCAN: each a text, a few lines, and their numbers.

The first paragraph of a docstring says what is returned; the rest is the answer that the page
shows, with the code below it (`method_code.answer`). V are regions ``[R, D]``, W words ``[L, D]``.

Page: "SCAN", "Exercises".
"""

from __future__ import annotations

import torch
from torch import Tensor

from itm_book.reference.plain import cosine
from itm_book.reference.scan import attention, scan_score

Numbers = dict[str, float]


def temperature(W: Tensor, V: Tensor) -> Numbers:
    """Return the score at four temperatures.

    At temperature 0 every region has the same weight, so every word is compared with the mean
    region. The larger the temperature, the more weight the region with the largest *normalised*
    similarity has, until it has all of it. It need not be the region with the largest dot product:
    a region that is similar to every word was divided by a large number.
    """
    scores = {t: scan_score(W, V, temperature=t) for t in (0.0, 9.0, 100.0, 10_000.0)}
    to_the_mean = cosine(W, V.mean(0, keepdim=True)).mean()
    assert torch.isclose(scores[0.0], to_the_mean, atol=1e-5)
    return {f"temperature {t:g}": float(score) for t, score in scores.items()}


def order(W: Tensor, V: Tensor) -> Numbers:
    """Return the score, and the score with words and regions in another order.

    Nothing changes: attention, normalisation and mean do not know where a word stands. Word order
    reaches the score only through the GRU, whose vector for a word depends on its neighbours, and
    the position of a region only through its feature.
    """
    score, reversed_score = scan_score(W, V), scan_score(W.flip(0), V.flip(0))
    assert torch.isclose(score, reversed_score, atol=1e-5)
    return {"as it is": float(score), "both reversed": float(reversed_score)}


def without_mixtures(W: Tensor, V: Tensor) -> Numbers:
    r"""Return the largest difference between two ways to compute the cosines.

    With $\hat v_l = \sum_r a_{lr} v_r$ the numerator is $w_l^\top \hat v_l = \sum_r a_{lr} s_{lr}$,
    and $\lVert \hat v_l \rVert^2 = a_l^\top V V^\top a_l$. Both need only dot products. For one
    caption little is saved; $V V^\top$ is shared by all captions that are scored with the picture.
    """
    A, S, G = attention(W, V), W @ V.mT, V @ V.mT  # [L, R], [L, R], [R, R]
    lengths = W.norm(dim=-1) * ((A @ G) * A).sum(-1).sqrt()  # [L]
    difference = ((A * S).sum(-1) / lengths - cosine(W, A @ V)).abs().max()
    assert difference < 1e-5
    return {"largest difference": float(difference)}
