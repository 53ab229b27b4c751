"""Blocks beside or after the linear region layer.

A block takes the projected regions ``[I, R, D]``, the features ``[I, R, F]`` that they were made
from and a mask ``[I, R]`` of the real ones (or None), and returns regions ``[I, R, D]``.

Page: "Every method".
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from itm_core.encoders.fragments import TINY, length
from itm_core.settings import registered

BlockFactory = Callable[[int, int], nn.Module | None]
ATTENDING_BLOCKS = ("self_attention", "transformer", "transformer_over_images")
HEADS = 8


def make_block(kind: str, feature_width: int, width: int) -> nn.Module | None:
    """Return the block ``kind``, None for ``linear``; raises `InputError` for an unknown kind."""
    return registered("encoder.region_encoder", kind, REGION_BLOCKS)(feature_width, width)


def _normed(norm: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``x [I, R, D]`` after a batch norm over its regions; zero where the mask is False."""
    if mask is None:
        return norm(x.flatten(0, -2)).view_as(x)
    return torch.zeros_like(x).masked_scatter(mask[..., None], norm(x[mask]))


class Mlp(nn.Module):
    """``y + W2 relu(BN(W1 x + b1)) + b2``: the branch beside the linear layer (VSE-infinity, RCAR).

    Hidden width D / 2; the batch norm is over all regions of the batch, with a mask over the real
    ones; torch's initialisation.
    """

    def __init__(self, feature_width: int, width: int) -> None:
        super().__init__()
        inner = width // 2
        self.layers = nn.ModuleList([nn.Linear(feature_width, inner), nn.Linear(inner, width)])
        self.bns = nn.ModuleList([nn.BatchNorm1d(inner)])

    def forward(self, vectors: Tensor, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the regions with the branch added."""
        hidden = _normed(self.bns[0], self.layers[0](features), mask).relu()
        return vectors + self.layers[1](hidden)


class SelfAttention(nn.Module):
    """``y + MHA(LN(y))`` with 8 heads (CHAN with BiGRU).

    With a mask padded regions are excluded from the keys. Without one they are keys, as in the
    released code, where zero-padded rows then change the real ones under region dropout.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, HEADS, batch_first=True)

    def forward(self, vectors: Tensor, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the regions after self-attention."""
        y = self.ln(vectors)
        hidden = None if mask is None else ~mask
        return vectors + self.attn(y, y, y, key_padding_mask=hidden, need_weights=False)[0]


class Transformer(nn.Module):
    """``y + MHA(LN y)``, then ``y + P2(q(P1(LN y)))`` with ``q(x) = x sigmoid(1.702 x)`` (CHAN).

    ``over_images`` treats the batch as the sequence, as the released code does: a region then
    attends to the regions of the same index in the other images of the batch.
    """

    def __init__(self, width: int, *, over_images: bool = False) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, HEADS, batch_first=not over_images)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.over_images = over_images

    def forward(self, vectors: Tensor, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the regions after self-attention and the feed-forward layer."""
        y = self.ln_1(vectors)
        hidden = None if mask is None else ~mask
        if hidden is not None and self.over_images:  # where no image has a region, none is hidden
            hidden = (hidden & ~hidden.all(0)).T
        vectors = vectors + self.attn(y, y, y, key_padding_mask=hidden, need_weights=False)[0]
        inner = self.wide(self.ln_2(vectors))
        return vectors + self.narrow(inner * torch.sigmoid(1.702 * inner))


class GraphStep(nn.Module):
    """One step: ``v + BN(W (R g(v)))`` with the affinities ``R = theta(v) phi(v)' / K``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.g, self.theta, self.phi = (nn.Linear(width, width) for _ in range(3))
        self.out, self.norm = nn.Linear(width, width), nn.BatchNorm1d(width)
        nn.init.zeros_(self.norm.weight)  # each step starts as the identity, as in the release
        nn.init.zeros_(self.norm.bias)

    def forward(self, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the regions ``[I, R, D]`` after the step.

        With a mask K counts the real regions of each image, and the batch norm is over them.
        """
        messages = self.g(v)
        count: int | Tensor = v.shape[1]
        if mask is not None:
            messages = messages * mask[..., None]
            count = mask.sum(1).clamp_min(1)[:, None, None]  # a mask may leave none
        affinity = self.theta(v) @ self.phi(v).mT / count
        return v + _normed(self.norm, self.out(affinity @ messages), mask)


class RegionGraph(nn.Module):
    """VSRN's region graph (ICCV 2019, section 3.2): four graph steps over the regions.

    Then each *channel* is normalised over the regions, as in the release, whose models for MSCOCO
    do so before the first step too (``before``).
    """

    STEPS = 4

    def __init__(self, width: int, *, before: bool = False) -> None:
        super().__init__()
        self.steps = nn.ModuleList(GraphStep(width) for _ in range(self.STEPS))
        self.before = before

    def forward(self, vectors: Tensor, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the regions ``[I, R, D]`` after the steps; zero where the mask is False."""
        if mask is not None:  # the length over the regions must not count padding
            vectors = vectors * mask[..., None]
        if self.before:
            vectors = vectors / length(vectors, 1).clamp_min(TINY)  # the release has no guard here
        for step in self.steps:
            vectors = step(vectors, mask)
        return vectors / length(vectors, 1).clamp_min(TINY)


REGION_BLOCKS: dict[str, BlockFactory] = {
    "linear": lambda feature_width, width: None,  # SCAN and its family
    "mlp": Mlp,
    "self_attention": lambda feature_width, width: SelfAttention(width),
    "transformer": lambda feature_width, width: Transformer(width),
    "transformer_over_images": lambda feature_width, width: Transformer(width, over_images=True),
    "graph": lambda feature_width, width: RegionGraph(width, before=False),  # on Flickr30K
    "graph_coco": lambda feature_width, width: RegionGraph(width, before=True),
}
