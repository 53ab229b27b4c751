"""SCAN (ECCV 2018), caption by caption; and the hinge loss of all methods."""

from __future__ import annotations

import torch
from torch import Tensor

from itm_book.reference.plain import cosine, query_and_key
from itm_core.settings import one_of

KINDS = ("softmax", "no_norm", "l2norm", "l1norm", "clipped", "clipped_l2norm", "clipped_l1norm")


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
    """Return SCAN's scores ``[I, C]``, caption by caption, forming every attended vector.

    ``regions [I, R, D]``, ``words [C, L, D]`` with ``lens`` real words each.
    """
    columns = []
    for caption, length in zip(words, lens, strict=True):
        query, context = query_and_key(regions, caption[:length], direction)
        weights = soft_weights(query, context, normalisation, attention_temperature)
        relevance = cosine(query, weights @ context)
        columns.append(pool(relevance, aggregation, lse_temperature))
    return torch.stack(columns, 1)


def soft_weights(
    query: Tensor, context: Tensor, kind: str = "clipped_l2norm", temperature: float = 9.0
) -> Tensor:
    """Return attention ``[I, Q, K]``; dot products are normalised over the queries."""
    raw = context @ query.transpose(1, 2)  # [I, K, Q]
    return torch.softmax(normalised(raw, kind).transpose(1, 2) * temperature, dim=2)


def normalised(raw: Tensor, kind: str) -> Tensor:
    """Return dot products ``[I, K, Q]`` normalised along the last axis."""
    one_of("normalisation", kind, KINDS)
    if kind == "softmax":
        return torch.softmax(raw, dim=2)
    if "clipped" in kind:
        raw = torch.where(raw > 0, raw, 0.1 * raw)
    if "l2norm" in kind:
        return raw / (raw.pow(2).sum(2, keepdim=True).sqrt() + 1e-8)
    if "l1norm" in kind:
        return raw / (raw.abs().sum(2, keepdim=True) + 1e-8)
    return raw


def pool(relevance: Tensor, kind: str, temperature: float) -> Tensor:
    """Return one score ``[I]`` from the relevance ``[I, Q]``."""
    one_of("aggregation", kind, ("LSE", "max", "sum", "mean"))
    if kind == "LSE":
        return (relevance * temperature).exp().sum(1).log() / temperature
    if kind == "max":
        return relevance.max(1).values
    return relevance.sum(1) if kind == "sum" else relevance.mean(1)


def hinge(scores: Tensor, margin: float, hardest: bool) -> float:
    """Return the hinge loss of a square score matrix, term by term."""
    n = len(scores)
    total = 0.0
    for i in range(n):
        of_row = [max(0.0, margin + float(scores[i, j] - scores[i, i])) for j in range(n) if j != i]
        of_col = [max(0.0, margin + float(scores[j, i] - scores[i, i])) for j in range(n) if j != i]
        total += max(of_row) + max(of_col) if hardest else sum(of_row) + sum(of_col)
    return total
