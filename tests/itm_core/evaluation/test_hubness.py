"""Hubness and its normalisations: slow loops, hand-worked cases, and what no method may change."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.evaluation.hubness import (
    ITERATIONS,
    TEMPERATURE,
    csls,
    hubness,
    k_occurrence,
    querybank,
    sinkhorn,
)

few = settings(max_examples=25, deadline=None)
Normalisation = Callable[[np.ndarray], np.ndarray]
METHODS: dict[str, Normalisation] = {
    "sinkhorn": sinkhorn,
    "querybank": querybank,
    "csls": lambda scores: csls(scores, neighbours=2),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@st.composite
def matrices(draw: st.DrawFn, *, levels: int = 0) -> np.ndarray:
    images, captions = draw(st.integers(2, 6)), draw(st.integers(2, 9))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    if levels:  # few values, so that there are ties
        return generator.integers(0, levels, (images, captions)).astype(float)
    return generator.normal(size=(images, captions))


def with_a_hub(*, images: int = 60, hubs: int = 3, seed: int = 0) -> np.ndarray:
    """Scores of which some images add a constant that has nothing to do with the captions."""
    scores = np.random.default_rng(seed).normal(size=(images, 5 * images))
    scores[np.arange(5 * images) // 5, np.arange(5 * images)] += 3
    scores[:hubs] += 2
    return scores


# --- k-occurrence and hubness ------------------------------------------------------------------


@given(matrices(levels=4), st.data())
@few
def test_the_k_occurrence_is_the_mean_over_all_orders_of_ties(
    scores: np.ndarray, data: st.DataObject
) -> None:
    """Against draws at random: every tie is broken by adding noise that is smaller than a step."""
    k = data.draw(st.integers(1, len(scores)))
    counts = k_occurrence(scores, k)
    assert counts.sum() == pytest.approx(k * scores.shape[1])
    slow = np.zeros(len(scores))
    for column in scores.T:
        last = sorted(column)[-k]
        sure, tied = (column > last), (column == last)
        for item in range(len(column)):
            slow[item] += sure[item] or (tied[item] and (k - sure.sum()) / tied.sum())
    np.testing.assert_allclose(counts, slow)
    draw = np.random.default_rng(0)
    broken = [k_occurrence(scores + draw.uniform(0, 0.5, scores.shape), k) for _ in range(60)]
    np.testing.assert_allclose(np.mean(broken, axis=0), counts, atol=1.2)


def test_hubness_by_hand() -> None:
    """Image 0 is first for all three captions, so the others never are."""
    found = hubness(np.array([[9.0, 9, 9], [1, 2, 3], [2, 1, 1]]), 1)
    assert found["t2i"].never == pytest.approx(200 / 3)
    assert found["t2i"].largest == 3
    assert found["t2i"].skewness == pytest.approx(stats.skew([3, 0, 0]))
    assert found["t2i"].skewness == pytest.approx(1 / math.sqrt(2))
    # captions of the images: all tie in the first row, caption 2 and caption 0 are first below
    assert found["i2t"].largest == pytest.approx(4 / 3)
    assert found["i2t"].never == 0


def test_large_matrices_are_counted_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(1).integers(0, 5, (7, 23))
    whole = k_occurrence(scores, 3)
    monkeypatch.setattr("itm_core.evaluation.hubness.ROWS_AT_ONCE", 4)
    np.testing.assert_array_equal(k_occurrence(scores, 3), whole)
    for method in METHODS.values():
        np.testing.assert_allclose(method(scores), method(scores.astype(float)), rtol=1e-12)


# --- each normalisation against its definition -------------------------------------------------


def test_sinkhorn_is_the_alternating_division() -> None:
    scores = np.random.default_rng(2).normal(size=(4, 6))
    t = TEMPERATURE * scores.std()
    plan = np.exp(scores / t)
    for _ in range(ITERATIONS):
        plan = plan * (6 / 4) / plan.sum(1, keepdims=True)
        plan = plan / plan.sum(0)
    np.testing.assert_allclose(sinkhorn(scores), t * np.log(plan), atol=1e-12)


@given(st.integers(2, 6), st.integers(0, 10_000))
@few
def test_sinkhorn_ends_doubly_stochastic(images: int, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(images, images))
    plan = np.exp(sinkhorn(scores, temperature=1.0, iterations=500) / scores.std())
    np.testing.assert_allclose(plan.sum(0), 1, atol=1e-9)
    np.testing.assert_allclose(plan.sum(1), 1, atol=1e-6)


def test_a_cold_sinkhorn_is_the_best_assignment() -> None:
    """At temperature zero optimal transport assigns; the assignment is that of scipy."""
    scores = np.random.default_rng(3).normal(size=(5, 5))
    rows, columns = optimize.linear_sum_assignment(scores, maximize=True)
    cold = sinkhorn(scores, temperature=0.02, iterations=3000)
    np.testing.assert_array_equal(cold.argmax(1)[rows], columns)
    np.testing.assert_array_equal(cold.argmax(0)[columns], rows)
    assert not np.array_equal(scores.argmax(1), columns), "the plain scores would do as well"


def test_a_querybank_is_the_softmax_over_its_queries() -> None:
    draw = np.random.default_rng(4)
    scores, captions, images = (draw.normal(size=size) for size in ((3, 4), (3, 7), (5, 4)))
    found = querybank(scores, captions, images, temperature=0.7)
    for i in range(3):
        for c in range(4):
            t, other = 0.7 * captions.std(), 0.7 * images.std()
            of_image = t * math.log(sum(math.exp(captions[i, b] / t) for b in range(7)))
            of_caption = other * math.log(sum(math.exp(images[b, c] / other) for b in range(5)))
            assert found[i, c] == pytest.approx(scores[i, c] - of_image - of_caption)
    np.testing.assert_array_equal(querybank(scores), querybank(scores, scores, scores))


def test_one_side_of_a_querybank_ranks_one_direction() -> None:
    """The bank of captions re-ranks images alone, as the images' value is constant in a row."""
    draw = np.random.default_rng(5)
    scores, bank = draw.normal(size=(4, 20)), draw.normal(size=(4, 9))
    plain, banked = querybank(scores), querybank(scores, bank)
    for matrix, other in ((plain, banked), (banked, plain)):
        np.testing.assert_array_equal(np.argsort(matrix, 1), np.argsort(other, 1))
    assert (np.argsort(plain, 0) != np.argsort(banked, 0)).any()


@given(matrices(), st.integers(1, 2))
@few
def test_csls_is_twice_the_score_less_the_neighbourhoods(scores: np.ndarray, k: int) -> None:
    found = csls(scores, neighbours=k)
    for i, row in enumerate(scores):
        for c, column in enumerate(scores.T):
            means = sum(sum(sorted(side)[-k:]) / k for side in (row, column))
            assert found[i, c] == pytest.approx(2 * row[c] - means)


# --- what every normalisation keeps ------------------------------------------------------------


@every_method
@given(matrices(), st.floats(0.05, 40), st.floats(-50, 50))
@few
def test_scale_and_shift_move_no_rank(
    method: Normalisation, scores: np.ndarray, scale: float, shift: float
) -> None:
    plain, moved = (method(matrix) for matrix in (scores, scale * scores + shift))
    for side in (0, 1):
        gap = (plain - np.take(plain, [0], side)) * scale
        np.testing.assert_allclose(moved - np.take(moved, [0], side), gap, atol=1e-7)


@every_method
@given(matrices(), st.data())
@few
def test_the_order_of_the_files_does_not_matter(
    method: Normalisation, scores: np.ndarray, data: st.DataObject
) -> None:
    rows = data.draw(st.permutations(range(len(scores))))
    columns = data.draw(st.permutations(range(scores.shape[1])))
    found = method(scores[rows][:, columns])
    np.testing.assert_allclose(found, method(scores)[rows][:, columns], atol=1e-9)


@every_method
@given(matrices())
@few
def test_only_values_of_images_and_of_captions_are_subtracted(
    method: Normalisation, scores: np.ndarray
) -> None:
    """Interactions [i, c] - [i, 0] - [0, c] + [0, 0] are those of the scores, or twice."""
    found, before = (m - m[:1] - m[:, :1] + m[0, 0] for m in (method(scores), scores))
    factor = 2 if method is METHODS["csls"] else 1
    np.testing.assert_allclose(found, factor * before, atol=1e-9)


@every_method
def test_float32_scores_are_accumulated_in_float64(method: Normalisation) -> None:
    scores = with_a_hub().astype(np.float32)
    before = scores.copy()
    found = method(scores)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, method(scores.astype(float)), atol=1e-12)
    np.testing.assert_array_equal(scores, before)


@every_method
def test_hubs_are_gone_and_recall_is_back(method: Normalisation) -> None:
    scores = with_a_hub()
    before, after = (hubness(matrix)["t2i"] for matrix in (scores, method(scores)))
    assert after.skewness < before.skewness - 1
    assert after.largest < before.largest
    first = retrieval.metrics(scores).t2i.r1, retrieval.metrics(method(scores)).t2i.r1
    assert first[1] > first[0] + 5


@every_method
def test_equal_scores_stay_equal(method: Normalisation) -> None:
    found = method(np.full((3, 7), 0.1))
    assert np.isfinite(found).all()
    assert np.ptp(found) < 1e-9


@every_method
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(method: Normalisation, value: float) -> None:
    scores = np.ones((3, 4))
    scores[1, 2] = value
    with pytest.raises(InputError, match=r"not finite.*row 1, column 2"):
        method(scores)
    with pytest.raises(InputError, match=r"wrong shape.*found \[4\]"):
        method(np.ones(4))


def test_numbers_that_do_not_fit_are_refused() -> None:
    scores = np.ones((3, 4))
    with pytest.raises(InputError, match=r"neighbours.*1 to 3.*found 10"):
        csls(scores)
    with pytest.raises(InputError, match=r"k does not fit.*1 to 3, found 4"):
        hubness(scores, 4)
    for temperature in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="temperature must be above zero"):
            sinkhorn(scores, temperature=temperature)
    with pytest.raises(InputError, match="iterations is too small"):
        sinkhorn(scores, iterations=0)
    with pytest.raises(InputError, match=r"querybank does not fit.*3 rows.*\[2, 9\]"):
        querybank(scores, np.ones((2, 9)))
    with pytest.raises(InputError, match=r"querybank does not fit.*4 columns.*\[9, 3\]"):
        querybank(scores, None, np.ones((9, 3)))
