"""The mean of a feature map inside each box, so that one pass over a picture serves all regions.

Cells of the map are areas of constant value. A box weights each cell by the area that it covers,
so the mean is exact and continuous in the corners of the box.

Page: "From photographs to features".
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def box_means(cells: Tensor, boxes: np.ndarray, width: float, height: float) -> Tensor:
    """Return the means ``[R, C]`` float32 of a map ``[C, h, w]`` inside boxes ``[R, 4]``.

    Boxes are in pixels of a picture of ``width`` x ``height``, over which the map is spread.
    A box without area gets the value of its cell.
    """
    corners = torch.as_tensor(np.asarray(boxes), dtype=torch.float64, device=cells.device)
    _, h, w = cells.shape
    across = _covered(corners[:, 0] * w / width, corners[:, 2] * w / width, w)
    down = _covered(corners[:, 1] * h / height, corners[:, 3] * h / height, h)
    weights = (down[:, :, None] * across[:, None, :]).float()  # [R, h, w], each sums to one
    return weights.flatten(1) @ cells.float().flatten(1).T


def _covered(start: Tensor, stop: Tensor, count: int) -> Tensor:
    """Return the fraction ``[R, count]`` of an interval in each cell; rows sum to one."""
    start = start.clamp(0, count - 1e-6)  # so that the widened interval below stays inside
    stop = torch.maximum(stop.clamp(0, count), start + 1e-6)
    edge = torch.arange(count, dtype=start.dtype, device=start.device)
    inside = torch.minimum(stop[:, None], edge + 1) - torch.maximum(start[:, None], edge)
    inside = inside.clamp(min=0)
    return inside / inside.sum(1, keepdim=True)
