"""IMRAM (CVPR 2020), caption by caption, under the names that its release gives the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from itm_book.reference.plain import Weights, cosine, linear, query_and_keys, unit
from itm_book.reference.scan import attention


def imram_scores(
    regions: Tensor,
    words: Tensor,
    lens: list[int],
    weights: Weights,
    *,
    directions: tuple[str, ...],
    steps: int,
    normalise_memory: bool,
    attention_temperature: float = 9.0,
) -> Tensor:
    """Return the scores ``[I, C]``: cosines of all steps and directions, each averaged, added.

    The memory is the query; the attended vector is compared with the word or region itself, and
    enters the memory without normalisation.
    """
    columns = []
    for caption, length in zip(words, lens, strict=True):
        score = torch.zeros(len(regions), dtype=regions.dtype)
        for direction in directions:
            original, keys = query_and_keys(regions, caption[:length], direction)
            query = original
            for _ in range(steps):
                weights_of_keys = attention(query, keys, temperature=attention_temperature)
                attended = weights_of_keys @ keys
                score = score + cosine(original, attended).mean(1)
                query = memory(query, attended, weights, direction)
                if normalise_memory:
                    query = unit(query)
        columns.append(score)
    return torch.stack(columns, 1)


def memory(query: Tensor, attended: Tensor, weights: Weights, direction: str) -> Tensor:
    """Return ``g q + (1 - g) o``: g is a gate per channel."""
    both = torch.cat([query, attended], -1)
    gate = torch.sigmoid(linear(both, weights, f"gate_{direction}"))
    new = torch.tanh(linear(both, weights, f"linear_{direction}"))
    return gate * query + (1 - gate) * new
