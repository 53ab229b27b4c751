"""Means inside boxes, against a slow reference that cuts every cell by itself."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from itm_book.regions.box_means import box_means


def slow(cells: np.ndarray, box: np.ndarray, width: float, height: float) -> np.ndarray:
    """Add up each cell by the area that it shares with the box."""
    _, h, w = cells.shape
    left, top, right, bottom = box
    total, area = np.zeros(len(cells)), 0.0
    for row in range(h):
        for column in range(w):
            x0, x1 = column * width / w, (column + 1) * width / w
            y0, y1 = row * height / h, (row + 1) * height / h
            wide = max(0.0, min(right, x1) - max(left, x0))
            high = max(0.0, min(bottom, y1) - max(top, y0))
            total += cells[:, row, column] * wide * high
            area += wide * high
    return total / area


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 6))
def test_means_agree_with_the_slow_twin(seed: int, h: int, w: int) -> None:
    draw = np.random.default_rng(seed)
    cells = draw.normal(size=(3, h, w)).astype(np.float32)
    corner = draw.uniform(0, [80, 40], (5, 2))
    boxes = np.concatenate([corner, corner + draw.uniform(1, [10, 10], (5, 2))], 1)
    found = box_means(torch.from_numpy(cells), boxes, 90, 50).numpy()
    expected = np.stack([slow(cells, box, 90, 50) for box in boxes])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_box_without_area_takes_its_cell() -> None:
    cells = torch.arange(6.0).reshape(1, 2, 3)
    boxes = np.array([[0, 0, 0, 0], [45, 25, 45, 25], [90, 50, 90, 50]])
    assert box_means(cells, boxes, 90, 50)[:, 0].tolist() == [0, 4, 5]


def test_the_whole_picture_is_the_mean() -> None:
    cells = torch.arange(6.0).reshape(1, 2, 3)
    assert box_means(cells, np.array([[0, 0, 90, 50]]), 90, 50).item() == 2.5
