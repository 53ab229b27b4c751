"""CCR and CCS as this project reads them (WACV 2023, body unread), one matching pair at a time.

``query [L, D]`` are the constrained words of a pair (without ``<start>`` and ``<end>``),
``keys [R, D]`` its regions, ``A [L, R]`` the attention; for i2t regions and words are exchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from itm_book.reference.plain import cosine, unit


def ccr_loss(query: Tensor, keys: Tensor, A: Tensor, margin: float = 0.2) -> Tensor:
    """Return content re-sourcing: attended content against what was passed over."""
    attended = A @ keys  # [L, D]
    passed_over = (1 - A) @ keys / (len(keys) - 1)  # [L, D]
    gap = cosine(query, attended) - cosine(query, passed_over)  # [L]
    return torch.relu(margin - gap).mean()  # a number


def ccs_loss(
    query: Tensor, keys: Tensor, A: Tensor, swapped: Tensor, margin: float = 0.2
) -> Tensor:
    """Return content swapping: each query against one of another pair, in ``swapped``."""
    attended = A @ keys  # [L, D]
    gap = cosine(query, attended) - cosine(swapped, attended)  # [L]
    return torch.relu(margin - gap).mean()  # a number


def hardest(attended: Tensor, others: Tensor, same: Tensor) -> Tensor:
    """Return for each attended vector the most similar query of another pair.

    ``others [N, D]``; ``same [L, N]`` is true for equal words, which are never taken.
    """
    S = unit(attended) @ unit(others).mT  # [L, N]
    return others[S.masked_fill(same, -torch.inf).argmax(-1)]
