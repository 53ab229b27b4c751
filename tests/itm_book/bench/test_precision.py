"""What a shorter precision moves: counted by hand on a few scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from itm_book.bench import precision
from itm_book.bench.precision import _moved
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments import recipes
from tests.itm_core.evaluation.test_scoring import some_data


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


def test_tf32_keeps_ten_bits_of_the_factors() -> None:
    x = torch.tensor([1 + 2**-10, 1 + 2**-10 + 2**-11, -3 - 2**-12])
    assert precision.cut(x).tolist() == [1 + 2**-10, 1 + 2**-10, -3]
    whole = torch.tensor([1, 2])
    assert precision.cut(whole) is whole


@pytest.mark.parametrize("product", [torch.mm, torch.nn.functional.linear])
def test_only_products_are_shortened(product: Callable[..., torch.Tensor]) -> None:
    torch.manual_seed(0)
    x, y, b = torch.randn(5, 5), torch.randn(5, 5), torch.randn(5)
    given = (x, y, b) if product is torch.nn.functional.linear else (x, y)
    with precision.CutToTF32():
        short, sums = product(*given), x + y
    shortened = (precision.cut(x), precision.cut(y), *given[2:])
    torch.testing.assert_close(short, product(*shortened), rtol=0, atol=0)
    assert (short - product(*given)).abs().max() > 0
    assert torch.equal(sums, x + y)


def test_the_shorter_scores_are_near_the_plain_ones() -> None:
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=32").build(5, 20, 4)
    features, captions = some_data(7, 9)
    plain = score_matrix(matcher, features, captions)
    short = precision._short(matcher, features, captions, "tf32")
    assert 0 < np.abs(short - plain).max() < 5e-3
