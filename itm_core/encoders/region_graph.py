"""VSRN's region graph: regions exchange what they know, four times (ICCV 2019, section 3.2).

Page: "The hosts".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itm_core.encoders.fragments import TINY, length


class GraphStep(nn.Module):
    """One step: ``v + BN(W (R g(v)))`` with the affinities ``R = theta(v) phi(v)' / K``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.g, self.theta, self.phi = (nn.Linear(width, width) for _ in range(3))
        self.out, self.norm = nn.Linear(width, width), nn.BatchNorm1d(width)
        nn.init.zeros_(self.norm.weight)  # a step starts as the identity, as in the release
        nn.init.zeros_(self.norm.bias)

    def forward(self, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the regions ``[I, R, D]`` after the step.

        With a mask ``[I, R]`` padding says nothing, K counts the real regions of each image, and
        the batch norm sees the real ones alone; without one every row is a region.
        """
        told = self.g(v)
        count: int | Tensor = v.shape[1]
        if mask is not None:
            told = told * mask[..., None]
            count = mask.sum(1).clamp_min(1)[:, None, None]  # an image may have lost them all
        affinity = self.theta(v) @ self.phi(v).mT / count
        y = self.out(affinity @ told)
        if mask is None:
            return v + self.norm(y.flatten(0, 1)).view_as(v)
        return v + torch.zeros_like(y).masked_scatter(mask[..., None], self.norm(y[mask]))


class RegionGraph(nn.Module):
    """Four steps, then each *channel* gets unit length over the regions, as the release does.

    Its models for MSCOCO do that before the first step too (``before``).
    """

    STEPS = 4

    def __init__(self, width: int, *, before: bool = False) -> None:
        super().__init__()
        self.steps = nn.ModuleList(GraphStep(width) for _ in range(self.STEPS))
        self.before = before

    def forward(self, vectors: Tensor, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return regions ``[I, R, D]`` that know of one another; zero where the mask is False."""
        if mask is not None:  # the length over the regions must not count padding
            vectors = vectors * mask[..., None]
        if self.before:
            vectors = _over_regions(vectors)
        for step in self.steps:
            vectors = step(vectors, mask)
        return _over_regions(vectors)


def _over_regions(vectors: Tensor) -> Tensor:
    return vectors / length(vectors, 1).clamp_min(TINY)  # the release has no guard here
