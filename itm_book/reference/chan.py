"""CHAN (CVPR 2023), one pair at a time: hard coding, soft coding, and five poolings.

``query [L, D]`` and ``keys [R, D]`` are the words and the regions of a pair, or the reverse.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from itm_book.reference.plain import Function, query_and_keys, unit
from itm_book.reference.scan import mean
from itm_core.settings import one_of

POOLINGS = ("mean", "sum", "max", "LSE", "softmax")
# the release's VHACoding, THACoding and VSACoding; the chapter's soft coding of words
CODINGS = ("hard_word", "hard_region", "soft_region", "soft_word")


def hard(query: Tensor, keys: Tensor) -> Tensor:
    """Return the relevance of each query: its similarity with its best key alone."""
    S = query @ keys.mT  # [L, R]
    return S.amax(-1)  # [L]


def soft(query: Tensor, keys: Tensor, temperature: float = 10.0) -> Tensor:
    """Return the relevance of each query: its similarity with a mixture of all keys."""
    S = query @ keys.mT  # [L, R]
    A = torch.softmax(temperature * S, dim=-1)  # [L, R]  each row sums to one
    attended = unit(A @ keys)  # [L, D]  at unit length
    return (query * attended).sum(-1)  # [L]


def log_sum_exp(relevance: Tensor, temperature: float = 10.0) -> Tensor:
    """Return a soft maximum of the relevance, unscaled as in the released code."""
    return (temperature * relevance).exp().sum(-1).log()


def soft_mean(relevance: Tensor, temperature: float = 10.0) -> Tensor:
    """Return the mean of the relevance, weighted by a softmax of it."""
    return (torch.softmax(temperature * relevance, dim=-1) * relevance).sum(-1)


def chan_score(
    query: Tensor,
    keys: Tensor,
    code: Callable[[Tensor, Tensor], Tensor] = hard,
    pool: Function = log_sum_exp,
) -> Tensor:
    """Return the score of one pair, words as queries and regions as keys."""
    relevance = code(query, keys)  # [L]
    return pool(relevance)  # a number


def chan_scores(
    regions: Tensor,
    region_lens: list[int],
    words: Tensor,
    lens: list[int],
    *,
    coding: str,
    pooling: str,
    coding_temperature: float = 0.1,
    pooling_temperature: float = 0.1,
) -> Tensor:
    """Return CHAN's scores ``[I, C]``; temperatures divide, and LSE is not scaled, as released.

    ``coding`` is one of `CODINGS`, ``pooling`` one of `POOLINGS`; raises `InputError` for others.
    """
    one_of("coding", coding, CODINGS)
    one_of("pooling", pooling, POOLINGS)
    kind, side = coding.split("_")
    code = hard if kind == "hard" else partial(soft, temperature=1 / coding_temperature)
    pool = _pooling(pooling, 1 / pooling_temperature)
    direction = "t2i" if side == "word" else "i2t"
    padded = region_lens != [regions.shape[1]] * len(regions)
    images = [V[None, :n] for V, n in zip(regions, region_lens, strict=True)]
    columns = []
    for caption, length in zip(words, lens, strict=True):
        pairs = [
            query_and_keys(V, caption[:length], direction)
            for V in (images if padded else [regions])
        ]
        columns.append(torch.cat([chan_score(query, keys, code, pool) for query, keys in pairs]))
    return torch.stack(columns, 1)


def _pooling(kind: str, temperature: float) -> Function:
    poolings: dict[str, Function] = {
        "mean": mean,
        "sum": lambda relevance: relevance.sum(-1),
        "max": lambda relevance: relevance.amax(-1),
        "LSE": partial(log_sum_exp, temperature=temperature),
        "softmax": partial(soft_mean, temperature=temperature),
    }
    return poolings[kind]
