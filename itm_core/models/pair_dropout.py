"""Dropout that a pair remembers: the same mask wherever in a training step it is met again.

Training scores all pairs of a batch without a graph to find the hardest negatives, then the few
that matter once more with one. Ordinary dropout would draw anew, and the gradient would belong
to other scores than the ones that were ranked.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PairDropout(nn.Module):
    """Zero a share of the entries, chosen by hashing the pair's number with the step's seed.

    `resample_dropout` once for every training step; inactive in evaluation, as all dropout.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.seed = 0

    def resample_dropout(self) -> None:
        """Draw a new mask, from torch's own random state."""
        self.seed = int(torch.randint(1 << 62, ()))

    def forward(self, x: Tensor, names: Tensor) -> Tensor:
        """Return ``x [C, L, P, R, K]`` with a share zeroed and the rest scaled up.

        ``names [C, P]`` int64 are `Pairing.names`.
        """
        if not self.training or self.p == 0:
            return x
        entries = torch.arange(x.shape[1] * x.shape[3] * x.shape[4], device=x.device)
        of_entry = _mixed(entries ^ self.seed).view(1, x.shape[1], 1, x.shape[3], x.shape[4])
        of_pair = _mixed(names + self.seed)[:, None, :, None, None] | 1
        # the high bits of a product of two random numbers: one pass over the largest tensor
        dropped = (of_pair * of_entry) < int((2 * self.p - 1) * (1 << 62)) * 2
        return x.masked_fill(dropped, 0) * (1 / (1 - self.p))


def _mixed(x: Tensor) -> Tensor:
    """Return the 64-bit integers scrambled (the finaliser of SplitMix64, wrapping)."""
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def resample_dropout(module: nn.Module) -> None:
    """Draw new masks for every `PairDropout` inside a module."""
    for part in module.modules():
        if isinstance(part, PairDropout):
            part.resample_dropout()
