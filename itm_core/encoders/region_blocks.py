"""What stands beside or behind the linear region layer: blocks that let regions change.

A block is called with the projected regions ``[I, R, D]``, the features ``[I, R, F]`` they came
from and a mask ``[I, R]`` of the real ones (or None), and returns regions ``[I, R, D]``.

==============================  ======================================================
``linear``                      no block (SCAN and its family)
``mlp``                         a two-layer branch beside the linear layer (VSE-infinity, RCAR)
``self_attention``              regions attend to one another (CHAN with BiGRU)
``transformer``                 and a feed-forward layer behind (an option of CHAN's code)
``transformer_over_images``     the same as released: it attends across the images of a batch
``graph``, ``graph_coco``       graph reasoning (VSRN on Flickr30K, on MSCOCO)
==============================  ======================================================

Page: "The hosts".
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from itm_core.encoders.region_graph import RegionGraph
from itm_core.errors import InputError
from itm_core.settings import registered

BlockFactory = Callable[[int, int], nn.Module | None]
ATTENDING_BLOCKS = ("self_attention", "transformer", "transformer_over_images")
HEADS = 8


def make_block(kind: str, feature_width: int, width: int) -> nn.Module | None:
    """Return the block called ``kind``; ``linear`` is none.

    Raises `InputError` for an unknown kind, or a width that heads cannot share.
    """
    make = registered("encoder.region_encoder", kind, REGION_BLOCKS)
    if kind in ATTENDING_BLOCKS and width % HEADS:
        raise InputError(
            f"encoder.region_encoder={kind} splits the embedding among {HEADS} heads",
            expected=f"encoder.embedding a multiple of {HEADS}",
            found=width,
        )
    return make(feature_width, width)


class Mlp(nn.Module):
    """``y + W2 relu(BN(W1 x + b1)) + b2``: the branch beside the linear layer (VSE-infinity, RCAR).

    Hidden width D / 2; the batch norm runs over all regions of the batch. torch's own start.
    """

    def __init__(self, feature_width: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(feature_width, width // 2), nn.Linear(width // 2, width)]
        )
        self.bns = nn.ModuleList([nn.BatchNorm1d(width // 2)])

    def forward(self, vectors: Tensor, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the regions with the branch added."""
        hidden = self.layers[0](features)
        hidden = self.bns[0](hidden.flatten(0, -2)).view_as(hidden).relu()
        return vectors + self.layers[1](hidden)


class SelfAttention(nn.Module):
    """``y + MHA(LN(y))`` with 8 heads (CHAN).

    With a mask padded regions are no keys; without one they are, as in the released code, where
    zero-padded rows move the real ones when regions are dropped in training.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, HEADS, batch_first=True)

    def forward(self, vectors: Tensor, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return regions that know of one another."""
        y = self.ln(vectors)
        hidden = None if mask is None else ~mask
        return vectors + self.attn(y, y, y, key_padding_mask=hidden, need_weights=False)[0]


class Transformer(nn.Module):
    """``y + MHA(LN y)``, then ``y + P2(q(P1(LN y)))`` with ``q(x) = x sigmoid(1.702 x)``.

    ``over_images`` takes the batch for the sequence, as the released code does: then a region
    attends to the regions of the same place in the other images of the batch.
    """

    def __init__(self, width: int, *, over_images: bool = False) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, HEADS, batch_first=not over_images)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.over_images = over_images

    def forward(self, vectors: Tensor, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return regions that know of one another (or of other images')."""
        y = self.ln_1(vectors)
        hidden = None if mask is None or self.over_images else ~mask
        vectors = vectors + self.attn(y, y, y, key_padding_mask=hidden, need_weights=False)[0]
        inner = self.wide(self.ln_2(vectors))
        return vectors + self.narrow(inner * torch.sigmoid(1.702 * inner))


REGION_BLOCKS: dict[str, BlockFactory] = {
    "linear": lambda feature_width, width: None,
    "mlp": Mlp,
    "self_attention": lambda feature_width, width: SelfAttention(width),
    "transformer": lambda feature_width, width: Transformer(width),
    "transformer_over_images": lambda feature_width, width: Transformer(width, over_images=True),
    "graph": lambda feature_width, width: RegionGraph(width, before=False),
    "graph_coco": lambda feature_width, width: RegionGraph(width, before=True),
}
