"""PFAN's position features: the image blocks of a region and the attention over them.

Wang, Yang, Qian, Ma, Lu, Li, Fan, *Position Focused Attention Network for Image-Text Matching*,
IJCAI 2019. The image is divided into 16 x 16 blocks; the position of a region is stored as 30
numbers: 15 block indices, ``16 * column + row`` as in the released files, then their overlaps.

Page: "Every method".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from itm_core.errors import InputError
from itm_core.settings import one_of

if TYPE_CHECKING:
    from itm_core.data.dataset import Split

POSITION_RULES = ("paper", "released")
BLOCKS_A_SIDE = 16
BLOCKS_KEPT = 15
POSITION_WIDTH = 2 * BLOCKS_KEPT
NO_BLOCK = BLOCKS_A_SIDE**2  # pads the lists of small regions; a row of the table like others
TABLE_WIDTH = 200


class BlockPositions(nn.Module):
    """Features followed by a position vector, ``[v; p]`` (PFAN section 3.2).

    With ``beta_j = tanh((W v + c) . b_j)``, b_j the embedding of block j and a_j its share of the
    overlap, the position is ``p = sum gamma_j b_j`` where, by rule,

    * ``paper``: ``gamma_j = softmax(beta)_j a_j``, divided by their sum: padding has weight zero;
    * ``released``: ``gamma = softmax(softmax(beta) * a)``, which is nearly uniform: half of the
      weight of a small region is on its padding.

    Neither paper nor README states the initialisation: torch's defaults are used.

    Shapes: features ``[I, R, F + 30]``, the positions of `with_positions` in the last 30 columns;
    result ``[I, R, F + 200]``. Raises `InputError` for an unknown rule, or features without
    position columns.

    >>> BlockPositions(2048, "paper")(torch.zeros(2, 36, 2078)).shape
    torch.Size([2, 36, 2248])
    """

    def __init__(self, feature_width: int, rule: str) -> None:
        super().__init__()
        one_of("encoder.positions", rule, POSITION_RULES)
        if feature_width < 1:
            raise InputError(
                "these features have no position columns",
                expected=f"features and {POSITION_WIDTH} columns of positions after them",
                found=f"{feature_width + POSITION_WIDTH} columns",
                remedy="join them with positions.with_positions(split)",
            )
        self.rule, self.feature_width = rule, feature_width
        self.joined_width = feature_width + TABLE_WIDTH
        self.table = nn.Embedding(NO_BLOCK + 1, TABLE_WIDTH)
        self.query = nn.Linear(feature_width, TABLE_WIDTH)

    def forward(self, features: Tensor) -> Tensor:
        """Return features and positions joined."""
        widths = [self.feature_width, BLOCKS_KEPT, BLOCKS_KEPT]
        plain, blocks, overlaps = features.split(widths, dim=-1)
        weights, vectors = self.weigh(plain, blocks, overlaps)
        return torch.cat([plain, (weights.unsqueeze(-2) @ vectors).squeeze(-2)], -1)

    def weigh(self, plain: Tensor, blocks: Tensor, overlaps: Tensor) -> tuple[Tensor, Tensor]:
        """Return gamma ``[I, R, 15]`` and the embeddings ``[I, R, 15, 200]`` of the blocks."""
        vectors = self.table(blocks.long())
        agreement = (vectors @ self.query(plain).unsqueeze(-1)).squeeze(-1).tanh().softmax(-1)
        if self.rule == "released":
            return (agreement * overlaps).softmax(-1), vectors
        weights = agreement * overlaps
        # a region outside the image overlaps no block: its position is zero
        return weights / weights.sum(-1, keepdim=True).clamp_min(1e-30), vectors


def block_positions(
    boxes: np.ndarray, width: float | np.ndarray, height: float | np.ndarray
) -> np.ndarray:
    """Return the positions ``[..., R, 30]`` float32 of boxes ``[..., R, 4]`` in pixels.

    The 15 blocks of largest overlap in descending order (ties by index; the release breaks them
    arbitrarily), then their overlaps divided by their sum. Entries without overlap have block 256
    and weight 0. ``width`` and ``height`` are those of each image.

    >>> block_positions(np.array([[0, 0, 10, 20]]), 160, 320)[0, [0, 1, 15]]
    array([  0., 256.,   1.], dtype=float32)
    """
    x1, y1, x2, y2 = np.moveaxis(np.asarray(boxes, np.float64), -1, 0)
    columns = _covered(x1, x2, np.asarray(width, np.float64)[..., None])  # [..., R, 16]
    rows = _covered(y1, y2, np.asarray(height, np.float64)[..., None])
    overlap = (columns[..., :, None] * rows[..., None, :]).reshape(*x1.shape, NO_BLOCK)
    blocks = np.argsort(-overlap, axis=-1, kind="stable")[..., :BLOCKS_KEPT]
    shares = np.take_along_axis(overlap, blocks, -1)
    blocks = np.where(shares > 0, blocks, NO_BLOCK)
    total = shares.sum(-1, keepdims=True)
    shares = shares / np.where(total > 0, total, 1)  # a box without area covers nothing
    return np.concatenate([blocks, shares], -1).astype(np.float32)


def _covered(start: np.ndarray, stop: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Return the fraction of each of the 16 stripes of an image side between start and stop.

    In units of stripes, not pixels, a fully covered stripe is exactly 1, so that ties are exact.
    """
    edge = np.arange(BLOCKS_A_SIDE)
    first, last = (x[..., None] * (BLOCKS_A_SIDE / side[..., None]) for x in (start, stop))
    return np.clip(np.minimum(last, edge + 1) - np.maximum(first, edge), 0, 1)


class PositionedRegions:
    """A split's features followed by positions, computed on access.

    Has the interface of a feature array: ``shape``, ``len`` and indexing over images by an
    integer, a slice or integers; the result is a float32 array in memory.
    """

    dtype = np.dtype(np.float32)
    ndim = 3

    def __init__(self, regions: np.ndarray, boxes: np.ndarray, sizes: np.ndarray) -> None:
        self.regions, self.boxes, self.sizes = regions, boxes, sizes
        images, count, width = regions.shape
        self.shape = (images, count, width + POSITION_WIDTH)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return the joined features ``[..., R, F + 30]`` of one image or several."""
        sizes = np.asarray(self.sizes[index])
        positions = block_positions(self.boxes[index], sizes[..., 0], sizes[..., 1])
        plain = np.asarray(self.regions[index], np.float32)
        return np.concatenate([plain, positions], -1)


def with_positions(split: Split) -> PositionedRegions:
    """Return the split's features joined with the positions of its boxes.

    Features stay memory-mapped until they are indexed. Raises `InputError` naming the file when
    the split has no boxes or no image sizes.
    """
    boxes = _present(split, split.boxes, "boxes", "[images, regions, 4], x1, y1, x2, y2 in pixels")
    sizes = _present(split, split.sizes, "img_sizes", "[images, 2], width and height in pixels")
    return PositionedRegions(split.regions, boxes, sizes)


def _present(split: Split, values: np.ndarray | None, name: str, shape: str) -> np.ndarray:
    if values is None:
        raise InputError(
            f"positions need the {name} of the {split.name} split",
            file=split.folder / f"{split.name}_{name}.npy",
            expected=shape,
            found="no such file",
            remedy="extract it with the features, or set encoder.positions=none",
        )
    return values
