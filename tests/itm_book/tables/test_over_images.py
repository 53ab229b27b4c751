"""Means over images and bootstraps of other statistics: by hand, and with resamples written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from itm_book.tables.over_images import (
    UNKNOWN,
    Estimate,
    mean_over_images,
    over_drawn_images,
)
from itm_core.evaluation.statistics import Ranked, bootstrap_means, image_counts


def test_images_count_the_same_however_many_values_they_have() -> None:
    values = np.array([1.0, 1.0, 1.0, 0.0, np.nan, np.nan])
    found = mean_over_images(values, np.array([4, 4, 4, 9, 9, 2]))
    assert found.value == 0.5
    assert (found.low, found.high) == (0, 1)  # two images: both may be drawn twice
    assert mean_over_images(np.full(4, 0.25), np.arange(4)) == (0.25, 0.25, 0.25)


@pytest.mark.filterwarnings("error")
def test_nothing_known_is_unknown() -> None:
    for values in (np.full(2, np.nan), np.empty(0)):
        assert np.isnan(mean_over_images(values, np.arange(len(values)))).all()
    assert np.isnan(UNKNOWN).all()


def test_the_interval_is_that_of_images_drawn_with_all_their_values() -> None:
    draw = np.random.default_rng(0)
    image, values = draw.integers(0, 12, 80), draw.normal(size=80)
    values[draw.random(80) < 0.2] = np.nan
    means = [np.nanmean(values[image == k]) for k in range(12)]
    slow = [np.mean(np.repeat(means, count)) for count in image_counts(12)]
    found = mean_over_images(values, image)
    assert found == pytest.approx((np.mean(means), *np.percentile(slow, [2.5, 97.5])))


def test_ids_of_images_and_the_order_of_values_do_not_matter() -> None:
    draw = np.random.default_rng(1)
    image, values = draw.integers(0, 9, 50), draw.normal(size=50)
    order = draw.permutation(50)
    found = mean_over_images(values[order], 100 + 7 * image[order])
    assert found == pytest.approx(mean_over_images(values, image))


def test_an_interval_of_means_is_near_that_of_a_normal_mean() -> None:
    """300 images: within a tenth of 1.96 standard errors."""
    values = np.random.default_rng(2).normal(size=300)
    found = mean_over_images(values, np.arange(300))
    expected = 1.96 * values.std(ddof=1) / np.sqrt(300)
    assert found.value - found.low == pytest.approx(expected, rel=0.1)
    assert found.high - found.value == pytest.approx(expected, rel=0.1)


def test_another_statistic_sees_each_observation_as_often_as_its_image() -> None:
    """Spearman's rho of resamples that are written out and ranked anew."""
    draw = np.random.default_rng(3)
    image = np.array([5, 5, 2, 2, 2, 8, 8, 8, 8, 3])
    x, y = draw.integers(0, 5, (2, 10)).astype(float)
    found = over_drawn_images(Ranked.of(x, y).spearman, image, resamples=60, seed=4)
    counts = np.random.default_rng(4).multinomial(4, np.full(4, 1 / 4), size=60)
    for one, count in zip(found, counts, strict=True):
        rows = np.concatenate(
            [np.flatnonzero(image == k).repeat(c) for k, c in zip((2, 3, 5, 8), count, strict=True)]
        )
        flat = np.ptp(x[rows]) == 0 or np.ptp(y[rows]) == 0
        slow = np.nan if flat else stats.spearmanr(x[rows], y[rows]).statistic
        assert one == pytest.approx(slow, nan_ok=True)


def test_means_of_weights_are_the_bootstrap_of_means() -> None:
    """One value an image: both ways to resample draw the same images."""
    values = np.random.default_rng(5).normal(size=20)
    drawn = over_drawn_images(lambda w: (w @ values, w.sum()), np.arange(20), resamples=30, seed=6)
    np.testing.assert_allclose(drawn[:, 0] / 20, bootstrap_means(values[:, None], 30, 6)[:, 0])
    np.testing.assert_array_equal(drawn[:, 1], 20)


def test_an_estimate_as_text() -> None:
    found = Estimate(0.5, -0.25, 1.0)
    assert (str(found), f"{found}", f"{found:+.1f}") == (
        "0.50 [-0.25, 1.00]", "0.50 [-0.25, 1.00]", "+0.5 [-0.2, +1.0]",
    )  # fmt: skip
    assert (str(UNKNOWN), f"{UNKNOWN:+.3f}") == ("", "")
