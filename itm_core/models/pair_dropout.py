"""Dropout with the same mask for a pair whenever it is scored within one training step.

A step scores all pairs of a batch without a graph to find the hardest negatives, then scores
those again with a graph. Ordinary dropout would draw another mask, and the gradient would be
that of other scores than the ranked ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PairDropout(nn.Module):
    """Zero a fraction p of the entries, chosen by hashing the pair's id with the step's seed.

    Call `resample_dropout` once in every training step. Inactive in evaluation.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p, self.seed = p, 0

    def forward(self, x: Tensor, pair_ids: Tensor) -> Tensor:
        """Return ``x [C, L, P, R, K]`` with a fraction zeroed and the others scaled up.

        ``pair_ids [C, P]`` int64 are those of `Pairing.pair_ids`.
        """
        if not self.training or self.p == 0:
            return x
        entries = torch.arange(x.shape[1] * x.shape[3] * x.shape[4], device=x.device)
        of_entry = _mixed(entries ^ self.seed).view(1, x.shape[1], 1, x.shape[3], x.shape[4])
        of_pair = _mixed(pair_ids + self.seed)[:, None, :, None, None] | 1
        # the high bits of a product of two random numbers: one pass over the largest tensor
        kept = (of_pair * of_entry) >= int((2 * self.p - 1) * (1 << 62)) * 2
        # on a CPU a product with zeros and ones takes a sixth of the time of `masked_fill`
        return x * kept * (1 / (1 - self.p))


def _mixed(x: Tensor) -> Tensor:
    """Return a hash of 64-bit integers (the finaliser of SplitMix64, wrapping)."""
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def resample_dropout(module: nn.Module) -> None:
    """Draw a new seed from torch's random state for every `PairDropout` inside a module."""
    for submodule in module.modules():
        if isinstance(submodule, PairDropout):
            submodule.seed = int(torch.randint(1 << 62, ()))
