"""Rank correlations: worked by hand, and against scipy with observations written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from itm_core.evaluation.statistics import Ranked, kendall, kendall_of_rows, spearman

# x, y of few values (ties) and how often the observation counts
OBSERVATIONS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 4), st.integers(0, 3)), min_size=2, max_size=25
)
ROWS = arrays(np.float64, (3, 6), elements=st.integers(-3, 3).map(float))


def columns(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(side, float) for side in zip(*rows, strict=True))


def by_scipy(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """tau-b, tau-c and rho; NaN where one side has one value alone."""
    if min(len(np.unique(x)), len(np.unique(y))) < 2:
        return (math.nan,) * 3
    taus = [stats.kendalltau(x, y, variant=variant).statistic for variant in "bc"]
    return (*taus, stats.spearmanr(x, y).statistic)


def test_four_things_by_hand() -> None:
    """Five of the six pairs in the same order, one the other way round."""
    x, y = np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 4, 3])
    assert kendall(x, y) == pytest.approx(4 / 6)
    assert kendall(x, y, "c") == pytest.approx(2 * 4 * 4 / (16 * 3))
    assert spearman(x, y) == pytest.approx(1 - 6 * 2 / (4 * 15))
    ones = np.ones(4)
    assert Ranked.of(x, y).kendall(ones) == pytest.approx((4 / 6, 2 / 3))
    assert Ranked.of(x, y).spearman(ones) == pytest.approx(0.8)


def test_ties_by_hand() -> None:
    """Two values for four: four of the six pairs have an order, all of them the same."""
    x, y = np.array([1.0, 2, 3, 4]), np.array([1.0, 1, 4, 4])
    # ranks of y are 1.5, 1.5, 3.5, 3.5: covariance 4 / 4, variances 5 / 4 and 1
    rho = 1 / np.sqrt(5 / 4)
    for found in (
        (kendall(x, y), kendall(x, y, "c"), spearman(x, y)),
        (*Ranked.of(x, y).kendall(np.ones(4)), Ranked.of(x, y).spearman(np.ones(4))),
    ):
        assert found == pytest.approx((4 / np.sqrt(6 * 4), 1.0, rho))


def test_a_weight_by_hand() -> None:
    """The third observation twice: of six pairs four agree, one disagrees, one is a copy."""
    ranked = Ranked.of(np.array([1.0, 2, 3]), np.array([1.0, 3, 2]))
    weight = np.array([1.0, 1, 2])
    assert ranked.kendall(weight) == pytest.approx(((3 - 2) / 5, 2 * 1 / (16 * 2 / 3)))
    # ranks 1, 2, 3.5, 3.5 and 1, 4, 2.5, 2.5, both of mean 2.5 and variance 4.5 / 4
    assert ranked.spearman(weight) == pytest.approx((2.25 - 0.75) / 4.5)


def test_lengths_do_not_hide_in_a_scale() -> None:
    """Correlations are of ranks: any rising change of either side leaves them as they are."""
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(2, 30))
    assert kendall(np.exp(x), y**3) == kendall(x, y)
    assert spearman(np.exp(x), y**3) == spearman(x, y)
    assert spearman(-x, y) == pytest.approx(-spearman(x, y))


@pytest.mark.parametrize(
    ("x", "y"),
    [([1.0, 1, 1], [1.0, 2, 3]), ([1.0, 2, 3], [2.0, 2, 2]), ([1.0], [2.0])],
)
@pytest.mark.filterwarnings("error")
def test_one_value_alone_has_no_order(x: list[float], y: list[float]) -> None:
    a, b = np.array(x), np.array(y)
    ones = np.ones(len(a))
    found = (kendall(a, b), kendall(a, b, "c"), spearman(a, b), *Ranked.of(a, b).kendall(ones))
    assert np.isnan([*found, Ranked.of(a, b).spearman(ones)]).all()


@settings(deadline=None, max_examples=200)
@given(OBSERVATIONS)
@example([(0, 1, 1), (1, 2, 0), (0, 2, 1)])  # a second x, never drawn
@example([(0, 1, 1), (1, 2, 1), (2, 3, 0), (0, 3, 1)])  # a third x, never drawn
@example([(0, 1, 1), (1, 2, 1), (2, 3, 0), (2, 1, 1)])  # a third y, never drawn
@example([(0, 1, 0), (1, 2, 0)])  # nothing drawn at all
def test_a_weight_is_as_good_as_copies(rows: list[tuple[int, int, int]]) -> None:
    """The oracle is scipy on the observations written out as often as they count."""
    x, y, weight = columns(rows)
    ranked, copies = Ranked.of(x, y), weight.astype(int)
    slow = by_scipy(x.repeat(copies), y.repeat(copies))
    fast = (*ranked.kendall(weight), ranked.spearman(weight))
    assert fast == pytest.approx(slow, abs=1e-12, nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(OBSERVATIONS, st.randoms(use_true_random=False))
def test_neither_their_order_nor_their_units_matter(
    rows: list[tuple[int, int, int]], random: Any
) -> None:
    x, y, weight = columns(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    one, other = Ranked.of(x, y), Ranked.of(np.exp(x[order]), 2 * y[order] - 7)
    assert other.kendall(weight[order]) == pytest.approx(one.kendall(weight), nan_ok=True)
    assert other.spearman(weight[order]) == pytest.approx(one.spearman(weight), nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(ROWS, ROWS, st.sampled_from("bc"))
def test_rows_are_correlated_one_by_one(x: np.ndarray, y: np.ndarray, variant: str) -> None:
    pairs = list(zip(x, y, strict=True))
    slow = [by_scipy(*pair)["bc".index(variant)] for pair in pairs]
    np.testing.assert_allclose(kendall_of_rows(x, y, variant), slow, atol=1e-12)
    assert [kendall(*pair, variant) for pair in pairs] == pytest.approx(slow, nan_ok=True)
    assert [spearman(*pair) for pair in pairs] == pytest.approx(
        [by_scipy(*pair)[2] for pair in pairs], nan_ok=True
    )


def test_what_is_not_known_has_no_order() -> None:
    x, y = np.array([1.0, 2, np.nan, 4]), np.array([1.0, 2, 3, 4])
    assert np.isnan([spearman(x, y), kendall(x, y), spearman(y, x), kendall(y, x)]).all()


def test_no_rows_have_no_correlations() -> None:
    assert kendall_of_rows(np.empty((0, 3)), np.empty((0, 3))).shape == (0,)
