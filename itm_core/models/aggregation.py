"""One score per pair from the relevance of its queries.

Page: the SCAN chapter, "Aggregate"; the CHAN chapter, "Pool".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from itm_core.settings import registered

Rule = Callable[[Tensor, int, float, Tensor | None], Tensor]  # relevance, axis, temperature, mask


class Aggregation(NamedTuple):
    """How queries make a score: the score, and each query's share of it."""

    score: Rule
    shares: Rule


def aggregate(
    relevance: Tensor, axis: int, *, kind: str, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """Return one score per pair from the relevance of the queries along ``axis``.

    ``mean`` and ``LSE`` are SCAN equations 4-5 and 9-10: LSE is
    ``log(sum(exp(temperature R))) / temperature``, a sum, so that longer captions score higher.
    ``softmax`` is the mean weighted by ``softmax(temperature R)`` (a variant in CHAN's code).

    Shapes: ``relevance`` ``[C, L, P, 1]`` or ``[C, 1, P, R]``; result ``[C, P]``. Raises
    `InputError` for a kind that is not in `AGGREGATIONS`.

    Page: the CHAN chapter, "Pool".
    """
    rule = registered("aggregation", kind, AGGREGATIONS)
    return rule.score(relevance, axis, temperature, mask)[:, 0, :, 0]


def contributions(
    relevance: Tensor, axis: int, *, kind: str, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """Return each query's share of the score; along ``axis`` the shares add up to the score.

    For mean, sum and softmax a share is the query's own term; for max the winner's; for LSE the
    score times the softmax of ``temperature * relevance``, its derivative with respect to the
    relevance. Raises `InputError` for a kind that is not in `AGGREGATIONS`.
    """
    rule = registered("aggregation", kind, AGGREGATIONS)
    return rule.shares(relevance, axis, temperature, mask)


def _hidden(relevance: Tensor, mask: Tensor | None) -> Tensor:
    """Return the relevance with padded queries below every real one."""
    return relevance if mask is None else relevance.masked_fill(~mask, -torch.inf)


def _sum(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    return (relevance if mask is None else relevance * mask).sum(axis, keepdim=True)


def _sum_shares(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    return relevance if mask is None else relevance * mask.expand_as(relevance).to(relevance)


def _count(relevance: Tensor, axis: int, mask: Tensor | None) -> Tensor | int:
    return relevance.shape[axis] if mask is None else mask.sum(axis, keepdim=True)


def _mean(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    return _sum(relevance, axis, temperature, mask) / _count(relevance, axis, mask)


def _mean_shares(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    return _sum_shares(relevance, axis, temperature, mask) / _count(relevance, axis, mask)


def _max(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    return _hidden(relevance, mask).max(axis, keepdim=True).values


def _max_shares(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    hidden = _hidden(relevance, mask)
    winner = torch.zeros_like(relevance)
    winner.scatter_(axis, hidden.argmax(axis, keepdim=True), 1.0)
    return torch.where(winner == 1, relevance, 0.0)


def _lse(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    scaled = _hidden(relevance * temperature, mask)
    return torch.logsumexp(scaled, axis, keepdim=True) / temperature


def _lse_shares(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    weights = (_hidden(relevance, mask) * temperature).softmax(axis)
    return weights * _lse(relevance, axis, temperature, mask)


def _softmax(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    return _softmax_shares(relevance, axis, temperature, mask).sum(axis, keepdim=True)


def _softmax_shares(
    relevance: Tensor, axis: int, temperature: float, mask: Tensor | None
) -> Tensor:
    return (_hidden(relevance, mask) * temperature).softmax(axis) * relevance


AGGREGATIONS: dict[str, Aggregation] = {
    "mean": Aggregation(_mean, _mean_shares),
    "LSE": Aggregation(_lse, _lse_shares),
    "max": Aggregation(_max, _max_shares),
    "sum": Aggregation(_sum, _sum_shares),
    "softmax": Aggregation(_softmax, _softmax_shares),
}
