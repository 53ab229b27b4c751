"""BFAN (ACM MM 2019), caption by caption, with the n x n comparisons of its paper."""

from __future__ import annotations

import torch
from torch import Tensor

from itm_book.reference.plain import cosine, query_and_keys
from itm_book.reference.scan import attention
from itm_core.settings import registered


def bfan_scores(
    regions: Tensor,
    words: Tensor,
    lens: list[int],
    *,
    gate: str,
    attention_temperature: float = 20.0,
) -> Tensor:
    """Return BFAN's scores ``[I, C]``: both directions, each the mean of its cosines."""
    columns = []
    for caption, length in zip(words, lens, strict=True):
        score = torch.zeros(len(regions), dtype=regions.dtype)
        for direction in ("t2i", "i2t"):
            query, keys = query_and_keys(regions, caption[:length], direction)
            weights = attention(query, keys, temperature=attention_temperature)
            attended = focal(weights, gate) @ keys
            score = score + cosine(query, attended).mean(1)
        columns.append(score)
    return torch.stack(columns, 1)


def focal(weights: Tensor, gate: str) -> Tensor:
    """Return ``[..., n]`` weights without the fragments of ``F_i <= 0``, normalised to sum 1.

    ``F_i = sum_t (w_i - w_t) g(w_t)``, g is 1 (equal) or the square root (prob). If no
    fragment remains, all are kept.
    """
    confidences = {"equal": torch.ones_like(weights), "prob": weights.sqrt()}
    confidence = registered("gate", gate, confidences)
    against = weights[..., :, None] - weights[..., None, :]
    F = (against * confidence[..., None, :]).sum(-1)
    focused = torch.where(F > 0, weights, torch.zeros_like(weights))
    total = focused.sum(-1, keepdim=True)
    return torch.where(total > 0, focused / total, weights)
