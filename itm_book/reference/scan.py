"""SCAN (ECCV 2018), one pair at a time; and the hinge loss of all methods.

``query [L, D]`` and ``keys [R, D]`` are the words and the regions of a pair (t2i), or the regions
and the words (i2t). With ``keys [I, R, D]`` and ``query [I, L, D]`` the same lines score I images.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from itm_book.reference.plain import Function, cosine, query_and_keys
from itm_core.settings import registered


def mean(relevance: Tensor) -> Tensor:
    """Return the mean of the queries' relevance: SCAN's AVG."""
    return relevance.mean(-1)


def log_sum_exp(relevance: Tensor, temperature: float = 6.0) -> Tensor:
    """Return a soft maximum of the queries' relevance: SCAN's LSE."""
    return (temperature * relevance).exp().sum(-1).log() / temperature


def clipped_l2norm(S: Tensor) -> Tensor:
    """Return the dot products, damped below zero, at unit length over the queries."""
    S = torch.where(S > 0, S, 0.1 * S)  # [L, R]  the paper has max(S, 0)
    return S / (S.pow(2).sum(-2, keepdim=True).sqrt() + 1e-8)  # [L, R]


def attention(
    query: Tensor,
    keys: Tensor,
    normalise: Function = clipped_l2norm,
    temperature: float | Tensor = 9.0,
) -> Tensor:
    """Return the weights of the keys for each query, which sum to one."""
    S = query @ keys.mT  # [L, R]  dot products of every query with every key
    return torch.softmax(temperature * normalise(S), dim=-1)  # [L, R]


def scan_score(
    query: Tensor,
    keys: Tensor,
    normalise: Function = clipped_l2norm,
    temperature: float = 9.0,
    pool: Function = mean,
) -> Tensor:
    """Return the score of one pair: words are queries and regions keys, or reversed."""
    A = attention(query, keys, normalise, temperature)  # [L, R]
    attended = A @ keys  # [L, D]  each query's mixture of the keys
    relevance = cosine(query, attended)  # [L]
    return pool(relevance)  # a number


def scan_scores(
    regions: Tensor,
    words: Tensor,
    lens: list[int],
    *,
    direction: str,
    normalisation: str = "clipped_l2norm",
    attention_temperature: float = 9.0,
    aggregation: str = "mean",
    lse_temperature: float = 6.0,
) -> Tensor:
    """Return SCAN's scores ``[I, C]`` of ``regions [I, R, D]`` and ``words [C, L, D]``.

    A caption has ``lens`` real words. Raises `InputError` for an unknown name.
    """
    normalise = registered("normalisation", normalisation, NORMALISATIONS)
    pool = pooling(aggregation, lse_temperature)
    columns = []
    for caption, length in zip(words, lens, strict=True):
        query, keys = query_and_keys(regions, caption[:length], direction)
        columns.append(scan_score(query, keys, normalise, attention_temperature, pool))
    return torch.stack(columns, 1)


def pooling(kind: str, lse_temperature: float) -> Function:
    """Return the function from the queries' relevance ``[..., L]`` to one score."""
    poolings: dict[str, Function] = {
        "mean": mean,
        "sum": lambda relevance: relevance.sum(-1),
        "max": lambda relevance: relevance.amax(-1),
        "LSE": partial(log_sum_exp, temperature=lse_temperature),
    }
    return registered("aggregation", kind, poolings)


def _l2norm(S: Tensor) -> Tensor:
    return S / (S.pow(2).sum(-2, keepdim=True).sqrt() + 1e-8)


def _l1norm(S: Tensor) -> Tensor:
    return S / (S.abs().sum(-2, keepdim=True) + 1e-8)


def _clipped(S: Tensor) -> Tensor:
    return torch.where(S > 0, S, 0.1 * S)


NORMALISATIONS: dict[str, Function] = {
    "softmax": lambda S: torch.softmax(S, dim=-2),
    "no_norm": lambda S: S,
    "l2norm": _l2norm,
    "l1norm": _l1norm,
    "clipped": _clipped,
    "clipped_l2norm": clipped_l2norm,
    "clipped_l1norm": lambda S: _l1norm(_clipped(S)),
}
KINDS = tuple(NORMALISATIONS)


def hinge(scores: Tensor, margin: float, hardest: bool) -> float:
    """Return the hinge loss of a square score matrix, term by term."""
    n = len(scores)
    total = 0.0
    for i in range(n):
        of_row = [max(0.0, margin + float(scores[i, j] - scores[i, i])) for j in range(n) if j != i]
        of_col = [max(0.0, margin + float(scores[j, i] - scores[i, i])) for j in range(n) if j != i]
        total += max(of_row) + max(of_col) if hardest else sum(of_row) + sum(of_col)
    return total
