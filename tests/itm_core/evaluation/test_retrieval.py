"""Ranks, recalls, folds, intervals and tests against slow references and hand-worked cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from itm_core.errors import InputError
from itm_core.evaluation.retrieval import (
    NUMBERS,
    TIES,
    Direction,
    Metrics,
    ensemble,
    five_folds,
    hits,
    interval,
    metrics,
    paired_bootstrap,
    ranks,
    report,
    text,
)
from tests.places import GOLDEN


def paired_test(ours: np.ndarray, theirs: np.ndarray) -> pd.DataFrame:
    return paired_bootstrap(hits(ours), hits(theirs))


def intervals(*scores: np.ndarray, ties: str = "pessimistic") -> dict[str, tuple[float, float]]:
    return interval(*(hits(run, ties=ties) for run in scores))


def slow_ranks(scores: np.ndarray, n: int) -> tuple[list[int], list[int]]:
    """Sort each query's items by hand, wrong ones first among equals."""
    i2t, t2i = [], []
    for image, row in enumerate(scores):
        mine = set(range(image * n, image * n + n))
        order = sorted(range(len(row)), key=lambda c: (-row[c], c in mine))
        i2t.append(next(place for place, caption in enumerate(order) if caption in mine))
    for caption in range(scores.shape[1]):
        column = scores[:, caption]
        order = sorted(range(len(column)), key=lambda i: (-column[i], i == caption // n))
        t2i.append(order.index(caption // n))
    return i2t, t2i


@given(
    images=st.integers(1, 7),
    n=st.integers(1, 5),
    levels=st.integers(1, 50),
    seed=st.integers(0, 999),
)
@settings(deadline=None)
def test_ranks_equal_sorting_by_hand(images: int, n: int, levels: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(levels, size=(images, n * images)).astype(float)
    found = ranks(scores)
    assert (found.i2t.tolist(), found.t2i.tolist()) == slow_ranks(scores, n)


@given(seed=st.integers(0, 999))
def test_only_the_order_of_scores_counts(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(6, 30))
    assert metrics(scores) == metrics(np.exp(scores) * 3 - 1)


@given(seed=st.integers(0, 999))
def test_ties_at_their_mean_lie_between_the_bounds(seed: int) -> None:
    scores = np.random.default_rng(seed).integers(3, size=(5, 25)).astype(float)
    low, mid, high = (ranks(scores, ties=t) for t in ("optimistic", "mean", "pessimistic"))
    for side in ("i2t", "t2i"):
        assert (getattr(low, side) <= getattr(mid, side)).all()
        assert (getattr(mid, side) <= getattr(high, side)).all()


def test_mean_ties_are_the_mean_over_orders() -> None:
    """Two wrong and five right captions tie: the first right one has 2 / 6 wrong before it."""
    scores = np.zeros((3, 15))
    scores[0, :7] = 1.0
    draw = np.random.default_rng(0)
    places = [min(np.flatnonzero(draw.permutation(7) < 5)) for _ in range(20000)]
    assert ranks(scores, ties="mean").i2t[0] == pytest.approx(np.mean(places), abs=0.02)


@given(seed=st.integers(0, 999), levels=st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_hits_at_mean_ties_are_the_mean_over_orders(seed: int, levels: int) -> None:
    """Breaking the ties by a small noise, many times, gives the same recalls in the mean."""
    draw = np.random.default_rng(seed)
    scores = draw.integers(levels, size=(8, 16)).astype(float)
    found = metrics(scores, ties="mean")
    tries = [metrics(scores + 0.5 * draw.random((8, 16))) for _ in range(400)]
    for side in ("i2t", "t2i"):
        mean = np.mean([getattr(one, side).values() for one in tries], axis=0)
        ours = getattr(found, side).values()
        np.testing.assert_allclose(ours[:3], mean[:3], atol=6)  # six standard errors or more
        assert ours[4] == pytest.approx(mean[4], abs=0.5)


def test_a_matcher_that_sees_nothing_is_at_chance() -> None:
    """Equal scores: one image of 40 is right; of 200 captions five are, drawn without return."""
    found = metrics(np.zeros((40, 200)), ties="mean")
    for cut, name in ((1, "r1"), (5, "r5"), (10, "r10")):
        assert getattr(found.t2i, name) == pytest.approx(100 * cut / 40)
        chance = 1 - comb(195, cut) / comb(200, cut)
        assert getattr(found.i2t, name) == pytest.approx(100 * chance)
    assert found.t2i.mean == 20.5
    low, high = intervals(np.zeros((40, 200)), ties="mean")["t2i_r10"]
    assert low == pytest.approx(high) == pytest.approx(25)


@given(seed=st.integers(0, 999))
def test_the_order_of_images_does_not_count(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = draw.integers(20, size=(6, 30)).astype(float)
    order = draw.permutation(6)
    captions = (5 * order[:, None] + draw.permutation(5)).ravel()
    for ties in ("pessimistic", "mean"):
        one, other = metrics(scores, ties=ties), metrics(scores[order][:, captions], ties=ties)
        assert one.flat() == pytest.approx(other.flat())


def test_a_nan_may_rank_first_as_in_the_release() -> None:
    scores = np.repeat(np.eye(3), 5, axis=1)
    scores[0, 14] = np.nan
    found = ranks(scores, nan="first")
    assert found.i2t.tolist() == [1, 0, 0]
    assert found.t2i.tolist() == [0] * 14 + [1]


def test_metrics_by_hand() -> None:
    scores = np.zeros((12, 60))
    scores[np.arange(60) // 5, np.arange(60)] = 1.0  # every pair right
    scores[:6, 0] = 2.0  # the first caption finds five other images first
    scores[0, 0] = 1.0
    found = metrics(scores)
    assert found.t2i.r1 == pytest.approx(100 * 59 / 60)
    assert found.t2i.r5 == pytest.approx(100 * 59 / 60)
    assert found.t2i.r10 == 100
    assert found.t2i.mean == pytest.approx(1 + 5 / 60)
    assert found.i2t.r1 == pytest.approx(100 * 7 / 12)  # images 1..5 find caption 0 first


def test_the_median_between_two_ranks_is_floored() -> None:
    """Ranks 1 and 2 of two queries: the field prints floor(0.5) + 1."""
    found = metrics(np.array([[2.0, 0.0], [3.0, 1.0]]))
    for side in (found.i2t, found.t2i):
        assert (side.r1, side.r5, side.median, side.mean) == (50, 100, 1, 1.5)


@given(seed=st.integers(0, 999), levels=st.integers(1, 4), ties=st.sampled_from(TIES))
@settings(deadline=None, max_examples=60)
def test_no_order_of_images_or_captions_counts(seed: int, levels: int, ties: str) -> None:
    """Few values, so that nearly everything ties; every number, whatever a tie means."""
    draw = np.random.default_rng(seed)
    scores = draw.integers(levels, size=(7, 21)).astype(float)
    order = draw.permutation(7)
    captions = (3 * order[:, None] + np.array([draw.permutation(3) for _ in order])).ravel()
    moved = scores[order][:, captions]
    one, other = (metrics(s, ties=ties).flat() for s in (scores, moved))
    assert one == pytest.approx(other, abs=1e-9)
    first, second = (ranks(s, ties=ties) for s in (scores, moved))
    np.testing.assert_array_equal(first.i2t[order], second.i2t)
    np.testing.assert_array_equal(first.t2i[captions], second.t2i)


def test_folds_are_scored_by_themselves() -> None:
    scores = np.random.default_rng(0).normal(size=(10, 50))
    parts = [metrics(scores[2 * k : 2 * k + 2, 10 * k : 10 * k + 10]) for k in range(5)]
    found = five_folds(scores)
    assert found.i2t.r1 == pytest.approx(np.mean([p.i2t.r1 for p in parts]))
    assert found.rsum == pytest.approx(np.mean([p.rsum for p in parts]))
    for side in ("i2t", "t2i"):
        every = [getattr(p, side).values() for p in parts]
        assert getattr(found, side).values() == pytest.approx(np.mean(every, axis=0).tolist())
    even = np.zeros((4, 8))  # where all is equal, what a tie means decides
    folds = {t: five_folds(even, folds=2, ties=t).t2i.r1 for t in TIES}
    assert folds == {"pessimistic": 0, "optimistic": 100, "mean": 50}
    with pytest.raises(InputError, match="multiple of 5"):
        five_folds(scores[:9, :45])
    for folds in (1, 0, -2):
        with pytest.raises(
            InputError, match=f"folds is too small; expected 2 or more, found {folds}"
        ):
            five_folds(scores, folds=folds)
    with pytest.raises(InputError, match="wrong shape"):
        five_folds(scores[:, :49])


def test_the_summary_of_folds_is_labelled_right() -> None:
    """What SCAN's release prints there under "rsum" is six times the mean image to text recall."""
    stored = json.loads((GOLDEN / "eval_fold5_printout.json").read_text(encoding="utf-8"))
    means = stored["means_of_the_five_folds"]
    ours = Metrics(Direction(*means["i2t"]), Direction(*means["t2i"]))
    assert ours.rsum == pytest.approx(means["rsum"])
    printed = float(stored["printed_by_the_official_code"][1].removeprefix("rsum: "))
    assert printed == pytest.approx(2 * sum(ours.i2t.values()[:3]), abs=0.05)
    assert ours.rsum != pytest.approx(printed, abs=100)


def test_ensembles_are_means() -> None:
    one, two = np.zeros((2, 10)), np.ones((2, 10))
    assert (ensemble([one, two]) == 0.5).all()
    assert (ensemble([one.astype(np.float16), two.astype(int)]) == 0.5).all()
    assert (ensemble([two, 2 * two, 6 * two]) == 3).all()


@pytest.mark.parametrize("together", [lambda a, b: ensemble([a, b]), intervals, paired_test])
def test_scores_of_other_pairs_are_not_set_together(together: Callable[..., object]) -> None:
    with pytest.raises(InputError, match="one shape"):
        together(np.zeros((2, 10)), np.zeros((3, 15)))


@pytest.mark.parametrize("shape", [(5, 24), (5, 4), (5, 0), (25,), (0, 0)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="wrong shape"):
        ranks(np.zeros(shape))


def test_nan_is_named_where_it_stands() -> None:
    scores = np.zeros((3, 15))
    scores[1, 7] = np.nan
    with pytest.raises(InputError, match="image 1, caption 7"):
        ranks(scores)


def signal(seed: int, images: int = 200, strength: float = 2.0) -> np.ndarray:
    scores = np.random.default_rng(seed).normal(size=(images, 5 * images))
    scores[np.arange(5 * images) // 5, np.arange(5 * images)] += strength
    return scores


def test_intervals_hold_the_number_and_shrink_with_images() -> None:
    few, many = signal(0, 50), signal(0, 400)
    for scores in (few, many):
        found = metrics(scores).flat()
        for name, (low, high) in intervals(scores).items():
            assert low <= found[name] <= high
    width = [np.ptp(intervals(scores)["t2i_r10"]) for scores in (few, many)]
    assert width[1] < width[0]


def test_intervals_cover_as_often_as_they_say() -> None:
    """Image to text queries are independent: the true R@10 lies in the interval 19 times of 20."""
    tries = [signal(seed, 100) for seed in range(120)]
    true = np.mean([metrics(s).i2t.r10 for s in tries])
    covered = [low <= true <= high for low, high in (intervals(s)["i2t_r10"] for s in tries)]
    assert 0.87 <= np.mean(covered) <= 1.0


def test_captions_of_an_image_are_drawn_together() -> None:
    """Half the images win all five captions: the error is that of 200 draws, not of 1,000."""
    images = np.arange(200)
    scores = np.zeros((200, 1000))
    scores[images.repeat(5), np.arange(1000)] = np.where(images < 100, 1.0, -1.0).repeat(5)
    low, high = intervals(scores)["t2i_r1"]
    assert high - low == pytest.approx(2 * 1.96 * 50 / np.sqrt(200), rel=0.06)


def test_intervals_are_the_same_every_time() -> None:
    assert intervals(signal(1)) == intervals(signal(1))


def test_paired_test_finds_a_difference_and_only_that() -> None:
    base = signal(3, strength=1.5)
    better = base.copy()
    better[np.arange(1000) // 5, np.arange(1000)] += 0.8
    table = paired_test(better, base)
    assert (table["difference"] > 0).all()
    assert table.loc["rsum", "p"] < 0.01
    assert table.loc["rsum", "low"] > 0
    same = paired_test(base, base)
    assert (same["difference"] == 0).all()
    assert (same["p"] == 1).all()
    reverse = paired_test(base, better)
    np.testing.assert_allclose(reverse["difference"], -table["difference"])


def test_p_values_count_the_resamples_on_both_sides_of_zero() -> None:
    """Four images of which three gain: the one that loses is drawn a binomial number of times."""
    gap = np.zeros((4, 7))
    gap[:, 0] = [1, 1, 1, -3]
    found = paired_bootstrap(gap, np.zeros((4, 7)), resamples=20_000)
    lost = stats.binom(4, 0.25)  # how often the image that loses is drawn: the sum is 4 - 4 lost
    below, above = 1 - lost.cdf(0), lost.cdf(1)
    assert found.loc["i2t_r1", "p"] == pytest.approx(min(1, 2 * min(below, above)), abs=0.02)
    gap[:, 0] = [1, 1, 1, -1]  # the sum is 4 - 2 lost
    found = paired_bootstrap(gap, np.zeros((4, 7)), resamples=20_000)
    assert found.loc["i2t_r1", "p"] == pytest.approx(2 * (1 - lost.cdf(1)), abs=0.02)
    assert found.loc["t2i_r1", "p"] == 1


def test_unrelated_runs_seldom_differ() -> None:
    p = [paired_test(signal(s, 60), signal(1000 + s, 60)).loc["i2t_r10", "p"] for s in range(60)]
    assert np.mean(np.array(p) < 0.05) < 0.15


def test_the_record_says_what_it_holds() -> None:
    recorded = report(signal(0, 50))
    assert recorded["images"] == 50
    assert recorded["captions"] == 250
    assert {k: recorded[k] for k in metrics(signal(0, 50)).flat()} == metrics(signal(0, 50)).flat()
    assert recorded["intervals"] == {k: list(v) for k, v in intervals(signal(0, 50)).items()}
    assert "R@10" in text(recorded)


def test_the_record_of_equal_scores_is_the_pessimistic_one() -> None:
    recorded = report(np.zeros((20, 40)))
    assert (recorded["rsum"], recorded["t2i_mean"], recorded["i2t_mean"]) == (0, 20, 39)
    assert recorded["intervals"]["rsum"] == [0, 0]


def test_the_printed_lines_by_hand() -> None:
    values = dict(zip(NUMBERS, (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 210.0), strict=True))
    intervals = {name: [value - 1, value + 2] for name, value in values.items()}
    recorded = {**values, "i2t_median": 3.0, "t2i_median": 4.0, "intervals": intervals}
    assert text(recorded).splitlines() == [
        "image to text:  R@1 10.0 [9.0, 12.0]  R@5 20.0 [19.0, 22.0]  R@10 30.0 [29.0, 32.0]"
        "  median rank 3",
        "text to image:  R@1 40.0 [39.0, 42.0]  R@5 50.0 [49.0, 52.0]  R@10 60.0 [59.0, 62.0]"
        "  median rank 4",
        "rSum 210.0 [209.0, 212.0]",
    ]
