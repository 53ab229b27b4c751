"""CHAN (CVPR 2023), caption by caption: its three codings, its five poolings."""

from __future__ import annotations

import torch
from torch import Tensor

from itm_core.settings import one_of

POOLINGS = ("mean", "sum", "max", "LSE", "softmax")
CODINGS = ("hard_word", "hard_region", "soft_region")  # VHACoding, THACoding, VSACoding


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
    """Return CHAN's scores ``[I, C]``; LSE is not scaled, as in the release."""
    one_of("coding", coding, CODINGS)
    places = torch.arange(regions.shape[1])
    real = places < torch.tensor(region_lens)[:, None]  # [I, R]
    columns = []
    for caption, length in zip(words, lens, strict=True):
        S = regions @ caption[:length].T  # [I, R, l]
        if coding == "hard_word":
            codes = S.masked_fill(~real[:, :, None], -torch.inf).max(1).values
            columns.append(_pooled(codes, torch.ones_like(codes) > 0, pooling, pooling_temperature))
            continue
        if coding == "hard_region":
            codes = S.max(2).values
        else:
            attended = torch.softmax(S / coding_temperature, dim=2) @ caption[:length]
            length_of = attended.pow(2).sum(2).sqrt() + 1e-8
            codes = (regions * attended).sum(2) / length_of
        columns.append(_pooled(codes, real, pooling, pooling_temperature))
    return torch.stack(columns, 1)


def _pooled(codes: Tensor, real: Tensor, kind: str, temperature: float) -> Tensor:
    """Return ``[I]`` from codes ``[I, n]`` where ``real`` is true."""
    one_of("pooling", kind, POOLINGS)
    shown = torch.where(real, codes, torch.zeros_like(codes))
    if kind == "mean":
        return shown.sum(1) / real.sum(1)
    if kind == "sum":
        return shown.sum(1)
    hidden = codes.masked_fill(~real, -torch.inf)
    if kind == "max":
        return hidden.max(1).values
    if kind == "LSE":
        return torch.exp(hidden / temperature).sum(1).log()
    return (torch.softmax(hidden / temperature, dim=1) * shown).sum(1)
