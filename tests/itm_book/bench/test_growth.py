"""Scaling with the number of images: separate processes, and the fitted exponent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from itm_book.bench import growth
from itm_core.cli import main
from itm_core.errors import InputError


def test_the_exponent_is_that_of_a_power_law() -> None:
    sizes = np.array([100, 200, 400, 800])
    assert growth.exponent(sizes, 0.3 * sizes**1.5) == pytest.approx(1.5)
    assert growth.exponent(sizes, np.full(4, 7.0)) == pytest.approx(0)


@pytest.mark.parametrize(("sizes", "lines"), [("5", 0), ("5 5", 0), ("5 10", 1)])
def test_one_size_has_no_exponent(
    sizes: str, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        growth,
        "time_growth",
        lambda names, images, *_: [
            growth.ScalingPoint(method=names[0], images=n, captions=2, seconds=n, peak=9, before=4)
            for n in images
        ],
    )
    words = ["--methods", "CHAN", "--threads", str(torch.get_num_threads())]
    assert main(["bench", "growth", *words, "--images", *sizes.split()]) == 0
    assert capsys.readouterr().out.count("CHAN: time grows as images ** 1.00") == lines


def test_a_process_measures_one_size() -> None:
    (point,) = growth.time_growth(["CHAN"], [40], captions=3)
    assert (point.method, point.images, point.captions) == ("CHAN", 40, 3)
    assert point.seconds > 0
    assert point.peak >= point.before > 50
    assert "40 x 3" in point.line()


def test_a_process_that_fails_is_told() -> None:
    with pytest.raises(InputError, match="ended early.*SCAM"):
        list(growth.time_growth(["SCAM"], [10], captions=2))
