"""Statistics: against scipy's own tests, hand-worked tables, brute force and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from itm_core.evaluation import statistics
from tests.places import PROJECT

NAN = math.nan
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


# --- over seeds ---


def test_the_deviation_divides_by_one_less() -> None:
    assert statistics.sd([2.0, 4.0, 9.0]) == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert math.isnan(statistics.sd([2.0]))
    assert math.isnan(statistics.sd([]))


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_the_test_over_seeds_is_the_one_sample_t_test(count: int) -> None:
    values = np.random.default_rng(count).normal(1.0, 2.0, count)
    oracle = stats.ttest_1samp(values, 0.0)
    found = statistics.over_seeds(values)
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-7)
    assert statistics.seed_p(-found.mean, found.sd, count) == pytest.approx(found.p)  # two-sided
    low, high = oracle.confidence_interval(0.95)
    assert found.mean - found.half == pytest.approx(low)
    assert found.mean + found.half == pytest.approx(high)
    assert (found.count, found.sd) == (count, pytest.approx(values.std(ddof=1)))


@pytest.mark.parametrize(
    ("times", "seeds", "significant"),
    # critical values of t at 5 % two-sided, from a printed table: 12.706 with one degree of
    # freedom, 4.303 with two, 2.776 with four, 2.262 with nine
    [
        (12.6, 2, False), (12.8, 2, True), (4.2, 3, False), (4.4, 3, True),
        (2.7, 5, False), (2.8, 5, True), (2.2, 10, False), (2.3, 10, True),
    ],
)  # fmt: skip
def test_significance_needs_the_printed_critical_value(
    times: float, seeds: int, significant: bool
) -> None:
    """The mean is given in standard errors: twice one is not enough for a few seeds."""
    p = statistics.seed_p(times * 7.0 / math.sqrt(seeds), 7.0, seeds)
    assert (p < 0.05) == significant


def test_three_seeds_without_an_effect_are_significant_one_time_in_twenty() -> None:
    draws = np.random.default_rng(0).normal(size=(4000, 3))
    mean, deviation = draws.mean(1), draws.std(1, ddof=1)
    found = [statistics.seed_p(m, s, 3) < 0.05 for m, s in zip(mean, deviation, strict=True)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.012)


def test_one_seed_or_an_unknown_number_has_no_test() -> None:
    for p in (
        statistics.seed_p(1.0, 2.0, 1),
        statistics.seed_p(NAN, 2.0, 3),
        statistics.seed_p(1.0, NAN, 3),
        statistics.unpaired_p(1.0, 1.0, 3, 2.0, NAN, 1),
        statistics.unpaired_p(1.0, NAN, 1, 2.0, 1.0, 3),
        statistics.half_width(1.0, 1),
        statistics.detectable(1.0, 1),
        statistics.detectable(NAN, 3),
        statistics.one_more_p(1.0, [2.0]),
    ):
        assert math.isnan(p)
    alone = statistics.over_seeds([3.0])
    assert alone.mean == 3
    assert np.isnan([alone.sd, alone.deviation, alone.half, alone.p]).all()


def test_seeds_that_agree_exactly_are_decided_by_their_mean() -> None:
    assert statistics.seed_p(1.0, 0.0, 3) == 0
    assert statistics.seed_p(0.0, 0.0, 3) == 1
    assert statistics.unpaired_p(1.0, 0.0, 3, 1.0, 0.0, 3) == 1
    assert statistics.unpaired_p(1.0, 0.0, 3, 1.5, 0.0, 3) == 0


def test_a_floor_replaces_a_smaller_deviation_and_no_larger_one() -> None:
    values = [1.0, 1.1, 1.2]
    floored = statistics.over_seeds(values, floor=2.0)
    assert floored.sd == pytest.approx(0.1)  # as measured
    assert floored.p == pytest.approx(statistics.seed_p(1.1, 2.0, 3))
    assert floored.half == pytest.approx(statistics.half_width(2.0, 3))
    assert floored.deviation == 2.0
    assert statistics.over_seeds(values, floor=0.05) == statistics.over_seeds(values)
    assert math.isnan(statistics.over_seeds([1.0], floor=2.0).p)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 5), (6, 3)])
def test_unpaired_seeds_are_tested_by_welch(n: int, m: int) -> None:
    draw = np.random.default_rng(n * m)
    a, b = draw.normal(0, 1, n), draw.normal(1, 3, m)
    oracle = stats.ttest_ind(a, b, equal_var=False).pvalue
    sides = (a.mean(), a.std(ddof=1), n, b.mean(), b.std(ddof=1), m)
    assert statistics.unpaired_p(*sides) == pytest.approx(oracle)


def test_one_run_is_tested_as_a_second_group_of_one() -> None:
    """A pooled t test of n runs against one: the variance comes from the n alone."""
    others = np.array([3.0, 5.0, 4.0, 6.0])
    t = (7.0 - others.mean()) / (others.std(ddof=1) * math.sqrt(1 + 1 / 4))
    assert statistics.one_more_p(7.0, list(others)) == pytest.approx(2 * stats.t.sf(t, 3))
    assert statistics.one_more_p(4.5, list(others)) == 1


# --- power ---


@pytest.mark.parametrize(("seeds", "alpha"), [(2, 0.05), (3, 0.05), (3, 0.0125), (8, 0.05)])
def test_a_detectable_gain_is_found_in_eight_of_ten_simulated_trainings(
    seeds: int, alpha: float
) -> None:
    deviation = 5.0
    gain = statistics.detectable(deviation, seeds, alpha=alpha)
    draws = np.random.default_rng(seeds).normal(gain, deviation, size=(20_000, seeds))
    found = stats.ttest_1samp(draws, 0.0, axis=1).pvalue < alpha
    assert found.mean() == pytest.approx(statistics.POWER, abs=0.012)


def test_a_detectable_gain_is_in_the_unit_of_the_deviation_and_falls_with_seeds() -> None:
    assert statistics.detectable(6.0, 4) == pytest.approx(6 * statistics.detectable(1.0, 4))
    many = [statistics.detectable(1.0, n) for n in (2, 3, 4, 10, 100)]
    assert many == sorted(many, reverse=True)
    # with many seeds t is normal: (1.960 + 0.842) / sqrt(n)
    assert statistics.detectable(1.0, 900) == pytest.approx(2.802 / 30, rel=0.003)


@pytest.mark.parametrize(("gain", "deviation"), [(10.0, 10.0), (-3.0, 10.0), (200.0, 1.0)])
def test_the_seeds_needed_are_the_fewest_that_could_show_the_gain(
    gain: float, deviation: float
) -> None:
    found = statistics.seeds_needed(gain, deviation)
    first = next(n for n in itertools.count(2) if statistics.detectable(deviation, n) <= abs(gain))
    assert found == first
    exact = statistics.detectable(deviation, 5)
    assert statistics.seeds_needed(exact, deviation) == 5


def test_no_number_of_seeds_shows_nothing() -> None:
    assert statistics.seeds_needed(0.0, 1.0) is None
    assert statistics.seeds_needed(NAN, 1.0) is None
    assert statistics.seeds_needed(1.0, NAN) is None
    assert statistics.seeds_needed(1.0, 1.0, over_images=NAN) is None
    assert statistics.seeds_needed(1.0, 1.0, over_images=np.inf) is None
    assert statistics.detectable(np.inf, 3, over_images=1.0) == np.inf
    assert statistics.seeds_needed(1e-3, 1.0) is None  # more than anybody trains
    assert statistics.seeds_needed(1.0, 0.0) == 2
    edge = statistics.detectable(1.0, statistics.MAX_SEEDS)
    assert statistics.seeds_needed(edge, 1.0) == statistics.MAX_SEEDS


@pytest.mark.parametrize(
    ("deviation", "error"), [(5.0, 1.0), (5.0, 3.0), (2.0, 3.0), (0.0, 3.0), (5.0, 0.01)]
)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_gain_that_two_tests_must_see_is_found_in_eight_of_ten_simulated_comparisons(
    deviation: float, error: float, seeds: int
) -> None:
    """Seeds are drawn around a gain that the choice of images has moved for all of them."""
    gain = statistics.detectable(deviation, seeds, over_images=error)
    draw = np.random.default_rng(seeds)
    moved = draw.normal(gain, error, size=(40_000, 1))
    seen = moved + draw.normal(0.0, deviation + 1e-9, size=(40_000, seeds))
    by_seeds = stats.ttest_1samp(seen, 0.0, axis=1).pvalue < statistics.ALPHA
    by_images = np.abs(seen.mean(1)) > 1.959964 * error
    assert (by_seeds & by_images).mean() == pytest.approx(statistics.POWER, abs=0.01)
    assert gain >= max(statistics.detectable(deviation, seeds), 2.80 * error) * (1 - 1e-3)


def test_few_images_are_not_made_up_for_by_seeds() -> None:
    assert statistics.seeds_needed(10.0, 5.0, over_images=3.0) is not None
    assert statistics.seeds_needed(8.0, 5.0, over_images=3.0) is None  # below 2.8 times 3
    assert statistics.seeds_needed(10.0, 5.0, over_images=3.0) > statistics.seeds_needed(10.0, 5.0)
    exact = statistics.detectable(5.0, 6, over_images=1.0)
    assert statistics.seeds_needed(exact, 5.0, over_images=1.0) == 6


def test_the_page_prints_the_detectable_gains_of_the_code() -> None:
    page = PROJECT / "book" / "task.md"
    lines = page.read_text().splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("| Seeds |"))
    seeds, gains = (
        [float(cell) for cell in lines[k].strip("|").split("|")[1:]] for k in (at, at + 2)
    )
    assert seeds == [2, 3, 5, 10, 20]
    assert gains == [round(statistics.detectable(1.0, int(n)), 1) for n in seeds]
    for times, n in (("2.5 times", 3), ("9.0 times", 2)):
        assert times in page.read_text()
        assert statistics.half_width(1.0, n) == pytest.approx(float(times[:3]), abs=0.05)


# --- over images ---


def test_the_same_seed_draws_the_same_images_and_all_of_them() -> None:
    counts = statistics.image_counts(7, resamples=50)
    assert (counts.sum(1) == 7).all()
    np.testing.assert_array_equal(counts, statistics.image_counts(7, resamples=50))
    assert (counts != statistics.image_counts(7, resamples=50, seed=1)).any()
    assert counts.mean(0) == pytest.approx(1, abs=0.5)


def test_resampled_means_are_means_of_drawn_rows() -> None:
    values = np.random.default_rng(0).normal(size=(5, 3))
    counts = statistics.image_counts(5, resamples=20)
    for means, drawn in zip(statistics.bootstrap_means(values, 20), counts, strict=True):
        np.testing.assert_allclose(means, np.repeat(values, drawn, axis=0).mean(0))


def test_a_bootstrap_of_many_images_agrees_with_the_t_test() -> None:
    values = np.random.default_rng(3).normal(0.0, 1.0, size=(400, 1))
    means = statistics.bootstrap_means(values, resamples=8_000)
    oracle = stats.ttest_1samp(values[:, 0], 0.0)
    assert statistics.image_p(means)[0] == pytest.approx(oracle.pvalue, rel=0.25)
    low, high = statistics.interval(means)
    assert [low[0], high[0]] == pytest.approx(list(oracle.confidence_interval(0.95)), abs=0.01)


@pytest.mark.parametrize(
    ("bootstrap_means", "p"),
    [
        ([-1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 0.2),  # one of ten on the other side, twice
        ([1, -1, -1, -1, -1, -1, -1, -1, -1, -1], 0.2),
        ([-1, -1, 1, 1], 1.0),
        ([2, 3, 4, 5], 0.25),  # never less than one resample
        ([0, 0, 0, 0], 1.0),  # zero lies on both sides
        ([0, 1, 1, 1], 0.5),
        ([NAN, -1, 1, 1, 1, NAN], 0.5),  # one of the four that exist
        ([NAN, NAN], NAN),
    ],
)
def test_the_p_value_over_images_counts_both_tails(bootstrap_means: list[float], p: float) -> None:
    found = statistics.image_p(np.array(bootstrap_means, float)[:, None])
    np.testing.assert_allclose(found, [p])


def test_an_interval_leaves_out_resamples_without_a_number() -> None:
    low, high = statistics.interval(np.array([[0.0], [NAN], [1.0], [2.0]]))
    assert (low[0], high[0]) == pytest.approx((0.05, 1.95))


# --- several tests ---


def test_holm_by_hand() -> None:
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 are 0.04, 0.06, 0.06, 0.04, made monotone
    assert statistics.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert statistics.holm([0.04]) == [0.04]
    assert statistics.holm([]) == []
    found = statistics.holm([0.02, NAN, 0.03])  # two tests, not three
    assert found[::2] == pytest.approx([0.04, 0.04])
    assert math.isnan(found[1])


def test_holm_rejects_what_the_step_down_procedure_rejects() -> None:
    """Against the procedure as Holm states it: compare the k-th smallest with alpha / (m - k)."""
    draw = np.random.default_rng(0)
    for _ in range(200):
        p = list(draw.uniform(0, 0.1, size=draw.integers(1, 7)))
        rejected: set[int] = set()
        for step, k in enumerate(np.argsort(p)):
            if p[k] >= 0.05 / (len(p) - step):
                break
            rejected.add(int(k))
        assert {k for k, value in enumerate(statistics.holm(p)) if value < 0.05} == rejected


@given(P_VALUES, st.randoms(use_true_random=False))
def test_corrected_p_values_are_larger_and_know_no_order(p: list[float], random: object) -> None:
    corrected = statistics.holm(p)
    for raw, value in zip(p, corrected, strict=True):
        assert raw <= value <= min(1.0, len(p) * raw)
    ordered = [value for _, value in sorted(zip(p, corrected, strict=True))]
    assert ordered == sorted(ordered)
    places = list(range(len(p)))
    random.shuffle(places)  # type: ignore[attr-defined]
    assert statistics.holm([p[k] for k in places]) == [corrected[k] for k in places]


def test_no_number_is_no_certainty() -> None:
    assert math.isnan(statistics.t_p(math.nan, 0.0, 2))
    assert math.isnan(statistics.t_p(1.0, math.nan, 2))
    assert math.isnan(statistics.unpaired_p(math.nan, 0.0, 3, 1.0, 0.0, 3))


def test_what_a_subtraction_leaves_is_no_gain() -> None:
    found = statistics.over_seeds([0.1 + 0.2 - 0.3] * 3)
    assert (found.mean, found.p) == (0.0, 1.0)
    equal = statistics.over_seeds([66.1 - 66.0, 70.1 - 70.0, 50.1 - 50.0])
    assert equal.sd == pytest.approx(0, abs=1e-15)
