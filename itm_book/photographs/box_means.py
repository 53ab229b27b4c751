"""The mean of a map of features inside each box: one pass over a picture serves all its regions.

A map's cells are taken as areas of one value. A box that cuts through cells takes of each as
much as it covers, so the mean is exact, and moving a box a little changes it a little.

Page: "The data".
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def box_means(cells: Tensor, boxes: np.ndarray, width: float, height: float) -> Tensor:
    """Return the means ``[R, C]`` float32 of a map ``[C, h, w]`` inside boxes ``[R, 4]``.

    Boxes are in pixels of a picture of ``width`` x ``height``, over which the map is spread.
    A box without area takes the cell that it lies in.
    """
    wanted = torch.as_tensor(np.asarray(boxes), dtype=torch.float64, device=cells.device)
    _, h, w = cells.shape
    across = _covered(wanted[:, 0] * w / width, wanted[:, 2] * w / width, w)
    down = _covered(wanted[:, 1] * h / height, wanted[:, 3] * h / height, h)
    weights = (down[:, :, None] * across[:, None, :]).float()  # [R, h, w], each sums to one
    return weights.flatten(1) @ cells.float().flatten(1).T


def _covered(start: Tensor, stop: Tensor, count: int) -> Tensor:
    """Return the share ``[R, count]`` of each cell in an interval; a row sums to one."""
    start = start.clamp(0, count - 1e-6)  # the widening below keeps it inside
    stop = torch.maximum(stop.clamp(0, count), start + 1e-6)
    edge = torch.arange(count, dtype=start.dtype, device=start.device)
    inside = torch.minimum(stop[:, None], edge + 1) - torch.maximum(start[:, None], edge)
    inside = inside.clamp(min=0)
    return inside / inside.sum(1, keepdim=True)
