"""What a shorter precision moves: counted by hand on a few scores."""

from __future__ import annotations

import numpy as np
import pytest

from itm_core.bench.precision import _moved


def test_moved_ranks_are_counted_in_both_directions() -> None:
    plain = np.kron(np.eye(2), np.ones(5)).astype(np.float32)  # all right answers first
    short = plain.copy()
    short[1, 0] = 1.5  # the first caption now finds the wrong image, and the second image it
    found = _moved(plain, short)
    assert found["ranks moved"] == pytest.approx(100 * 2 / 12)  # of two images and ten captions
    assert found["largest difference"] == "1.5000"
    assert found["R@1 t2i"] == pytest.approx(-10)
    assert found["R@1 i2t"] == pytest.approx(-50)
    same = _moved(plain, plain)
    assert same["ranks moved"] == same["rSum"] == 0
