"""One score per pair from the relevance of its queries.

Page: the SCAN chapter, "Aggregate"; the CHAN chapter, "Pool".
"""

from __future__ import annotations

import torch
from torch import Tensor

AGGREGATIONS = ("mean", "LSE", "max", "sum", "softmax")


def aggregate(
    relevance: Tensor, axis: int, *, kind: str, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """Return one score per pair from the relevance of the queries along ``axis``.

    ``mean`` and ``LSE`` are SCAN equations 4-5 and 9-10: LSE is
    ``log(sum(exp(temperature R))) / temperature``, a sum, so that longer captions score higher.
    ``softmax`` is the mean weighted by ``softmax(temperature R)`` (a variant in CHAN's code).

    Shapes: ``relevance`` ``[C, L, P, 1]`` or ``[C, 1, P, R]``; result ``[C, P]``.

    Page: the CHAN chapter, "Pool".
    """
    if kind == "LSE":
        scaled = relevance * temperature
        if mask is not None:
            scaled = scaled.masked_fill(~mask, -torch.inf)
        score = torch.logsumexp(scaled, axis, keepdim=True) / temperature
    elif kind == "max":
        shown = relevance if mask is None else relevance.masked_fill(~mask, -torch.inf)
        score = shown.max(axis, keepdim=True).values
    elif kind == "softmax":
        score = contributions(relevance, axis, kind=kind, temperature=temperature, mask=mask).sum(
            axis, keepdim=True
        )
    else:
        shown = relevance if mask is None else relevance * mask
        score = shown.sum(axis, keepdim=True)
        if kind == "mean":
            score = score / (
                relevance.shape[axis] if mask is None else mask.sum(axis, keepdim=True)
            )
    return score[:, 0, :, 0]


def contributions(
    relevance: Tensor, axis: int, *, kind: str, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """Return each query's share of the score; along ``axis`` the shares add up to the score.

    For mean, sum and softmax a share is the query's own term; for max the winner's; for LSE the
    score is divided by the softmax of ``temperature * relevance``, its derivative with respect to
    the relevance.
    """
    real = torch.ones_like(relevance) if mask is None else mask.expand_as(relevance).to(relevance)
    if kind in ("mean", "sum"):
        count = real.sum(axis, keepdim=True) if kind == "mean" else 1.0
        return relevance * real / count
    hidden = relevance.masked_fill(real == 0, -torch.inf)
    if kind == "max":
        winner = torch.zeros_like(real).scatter_(axis, hidden.argmax(axis, keepdim=True), 1.0)
        return torch.where(winner == 1, relevance, 0.0)
    weights = (hidden * temperature).softmax(axis)
    if kind == "softmax":
        return weights * relevance
    return weights * (torch.logsumexp(hidden * temperature, axis, keepdim=True) / temperature)
