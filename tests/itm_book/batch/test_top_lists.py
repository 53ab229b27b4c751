"""The best K: the order, the ties, merging, and recalls that are those of the whole matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itm_book.batch.top_lists import best, entries, places_of, recalls, scores_of
from itm_core.errors import InputError
from itm_core.evaluation import retrieval


def plain(scores: np.ndarray, right: np.ndarray, count: int) -> np.ndarray:
    """The places of the best, by sorting: larger first, wrong before right, smaller first."""
    rows = []
    for row, of_row in zip(scores.tolist(), right.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda i: (-row[i], of_row[i], i))
        rows.append(order[:count])
    return np.array(rows)


def tied_scores(images: int, seed: int) -> np.ndarray:
    """Scores of which many are equal; negative ones, both zeros and infinities among them."""
    values = np.array([-np.inf, -1.5, -1e-30, -0.0, 0.0, 1e-30, 0.5, np.inf], np.float32)
    return np.random.default_rng(seed).choice(values, (images, 5 * images))


@given(images=st.integers(1, 9), count=st.integers(1, 12), seed=st.integers(0, 999))
@settings(deadline=None)
def test_lists_are_those_of_a_sort_and_merge_exactly(images: int, count: int, seed: int) -> None:
    scores = tied_scores(images, seed)
    places = np.arange(5 * images)
    right = places // 5 == np.arange(images)[:, None]
    found = entries(scores, places, right)
    lists = best(found, count)
    assert np.array_equal(places_of(lists), plain(scores, right, count))
    assert np.array_equal(
        scores_of(lists), np.take_along_axis(scores, places_of(lists), 1)
    )  # -0 == 0
    halves = [best(found[:, k::2], count) for k in (0, 1)]
    assert np.array_equal(best(np.concatenate(halves, 1), count), lists)


@given(images=st.integers(2, 9), seed=st.integers(0, 999))
@settings(deadline=None)
def test_recalls_are_those_of_the_matrix(images: int, seed: int) -> None:
    scores = tied_scores(images, seed)
    places, gallery = np.arange(5 * images), np.arange(images)
    right = places // 5 == gallery[:, None]
    i2t = best(entries(scores, places, right), 10)
    t2i = best(entries(scores.T, gallery, right.T), 10)
    expected = retrieval.metrics(scores).flat()
    found = recalls(places_of(i2t), places_of(t2i), places // 5)
    assert found
    for name, value in found.items():
        assert value == pytest.approx(expected[name]), name
    assert ("rsum" in found) == (images >= 10)
    assert set(recalls(places_of(i2t)[:, :5], places_of(t2i)[:, :1], places // 5)) == {
        "i2t_r1",
        "i2t_r5",
        "t2i_r1",
    }


def test_no_number_is_refused() -> None:
    scores = np.array([[0.0, np.nan]], np.float32)
    with pytest.raises(InputError, match="not a number"):
        entries(scores, np.arange(2), np.zeros((1, 2), bool))
