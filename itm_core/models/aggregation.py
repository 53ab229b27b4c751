"""Aggregation: one score per pair from the relevance of its queries.

Page: the SCAN chapter, "Aggregate"; the CHAN chapter, "The method".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from itm_core.settings import registered

Rule = Callable[[Tensor, int, float, Tensor | None], Tensor]  # relevance, axis, temperature, mask


class Aggregation(NamedTuple):
    """The score, and each query's contribution to it."""

    score: Rule
    contributions: Rule


def aggregate(
    relevance: Tensor, axis: int, *, kind: str, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """Return one score per pair from the relevance of the queries along ``axis``.

    ``mean`` and ``LSE`` are SCAN equations 4-5 and 9-10: LSE is
    ``log(sum(exp(temperature R))) / temperature``, which grows with the number of queries.
    ``softmax`` is the mean weighted by ``softmax(temperature R)`` (a variant in CHAN's code).

    Shapes: ``relevance`` ``[C, L, P, 1]`` or ``[C, 1, P, R]``; result ``[C, P]``. Raises
    `InputError` for a kind that is not in `AGGREGATIONS`.
    """
    rule = registered("aggregation", kind, AGGREGATIONS)
    return rule.score(relevance, axis, temperature, mask)[:, 0, :, 0]


def contributions(
    relevance: Tensor, axis: int, *, kind: str, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """Return each query's contribution; along ``axis`` contributions add up to the score.

    For mean, sum and softmax it is the query's term; for max the score for the query of largest
    relevance, else zero; for LSE the score times the softmax of ``temperature * relevance``, the
    derivative of the score. Raises `InputError` for a kind that is not in `AGGREGATIONS`.
    """
    rule = registered("aggregation", kind, AGGREGATIONS)
    return rule.contributions(relevance, axis, temperature, mask)


def squashed_contributions(
    activation: str, parts: Tensor, constant: Tensor
) -> tuple[Tensor, Tensor]:
    """Return contributions to ``activation(parts.sum(1) + constant)`` from the parts of the logit.

    Each contribution is its part times the mean slope between the constant and the logit, as
    integrated gradients give; contributions and bias add up to the activation exactly.

    Shapes: ``parts`` and contributions ``[C, Q, P]``, ``constant`` and bias ``[C, P]``.
    """
    squash = getattr(torch, activation)
    total = parts.sum(1)
    bias = squash(constant)
    slope = bias * (1 - bias) if activation == "sigmoid" else 1 - bias.square()
    near = total.abs() < 1e-6  # too close for a difference quotient
    mean = torch.where(near, slope, (squash(constant + total) - bias) / total.masked_fill(near, 1))
    return parts * mean[:, None], bias


def _masked(relevance: Tensor, mask: Tensor | None) -> Tensor:
    """Return the relevance with minus infinity for padded queries."""
    return relevance if mask is None else relevance.masked_fill(~mask, -torch.inf)


def _sum(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    return _sum_parts(relevance, axis, temperature, mask).sum(axis, keepdim=True)


def _sum_parts(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    return relevance if mask is None else relevance * mask


def _count(relevance: Tensor, axis: int, mask: Tensor | None) -> Tensor | int:
    return relevance.shape[axis] if mask is None else mask.sum(axis, keepdim=True)


def _mean(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    return _sum(relevance, axis, temperature, mask) / _count(relevance, axis, mask)


def _mean_parts(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    return _sum_parts(relevance, axis, temperature, mask) / _count(relevance, axis, mask)


def _max(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    return _masked(relevance, mask).max(axis, keepdim=True).values


def _max_parts(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    best = _masked(relevance, mask).argmax(axis, keepdim=True)
    return torch.zeros_like(relevance).scatter_(axis, best, relevance.gather(axis, best))


def _lse(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    scaled = _masked(relevance * temperature, mask)
    return torch.logsumexp(scaled, axis, keepdim=True) / temperature


def _lse_parts(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    weights = (_masked(relevance, mask) * temperature).softmax(axis)
    return weights * _lse(relevance, axis, temperature, mask)


def _softmax(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    return _softmax_parts(relevance, axis, temperature, mask).sum(axis, keepdim=True)


def _softmax_parts(relevance: Tensor, axis: int, temperature: float, mask: Tensor | None) -> Tensor:
    return (_masked(relevance, mask) * temperature).softmax(axis) * relevance


AGGREGATIONS: dict[str, Aggregation] = {
    "mean": Aggregation(_mean, _mean_parts),
    "LSE": Aggregation(_lse, _lse_parts),
    "max": Aggregation(_max, _max_parts),
    "sum": Aggregation(_sum, _sum_parts),
    "softmax": Aggregation(_softmax, _softmax_parts),
}
