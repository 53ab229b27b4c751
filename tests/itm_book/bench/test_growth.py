"""Scaling with the number of images: separate processes, and the fitted exponent."""

from __future__ import annotations

import numpy as np
import pytest

from itm_book.bench import growth
from itm_core.errors import InputError


def test_the_exponent_is_that_of_a_power_law() -> None:
    sizes = np.array([100, 200, 400, 800])
    assert growth.exponent(sizes, 0.3 * sizes**1.5) == pytest.approx(1.5)
    assert growth.exponent(sizes, np.full(4, 7.0)) == pytest.approx(0)


def test_a_process_measures_one_size() -> None:
    (point,) = growth.time_growth(["CHAN"], [40], captions=3)
    assert (point.method, point.images, point.captions) == ("CHAN", 40, 3)
    assert point.seconds > 0
    assert point.peak >= point.before > 50
    assert "40 x 3" in point.line()


def test_a_process_that_fails_is_told() -> None:
    with pytest.raises(InputError, match="ended early.*SCAM"):
        list(growth.time_growth(["SCAM"], [10], captions=2))
