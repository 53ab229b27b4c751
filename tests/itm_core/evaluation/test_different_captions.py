"""Retrieval numbers of images with different numbers of captions, against a loop and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.evaluation.statistics import image_counts

COUNTS = st.lists(st.integers(1, 6), min_size=2, max_size=12)

# two images: the first has three captions, the second one
SCORES = np.array([[0.1, 0.9, 0.2, 0.3], [0.4, 0.5, 0.1, 0.2]])
IMAGES = np.array([0, 0, 0, 1])


def test_a_case_by_hand() -> None:
    found = retrieval.ranks(SCORES, IMAGES)
    assert found.i2t.tolist() == [0, 2]  # 0.9 is first of its row; 0.2 comes after 0.4 and 0.5
    assert found.t2i.tolist() == [1, 0, 0, 1]
    numbers = retrieval.metrics(SCORES, IMAGES)
    assert (numbers.i2t.r1, numbers.t2i.r1) == (50.0, 50.0)  # of two images; of four captions
    hits = retrieval.hits(SCORES, IMAGES)
    assert hits.mean(0)[[0, 3]].tolist() == [50.0, 50.0]
    # R = 1/2, two captions an image: 1/2 + (2 - 3/2) / 2 and 1/2 + (0 - 1/2) / 2
    assert hits[:, 3].tolist() == [75.0, 25.0]
    np.testing.assert_array_equal(retrieval.hits_of(found), hits)


def looped(scores: np.ndarray, images: np.ndarray, cut: int) -> tuple[float, float]:
    """Return R@K of both directions, one query after the other; no two scores are equal."""
    found = [set(images[np.argsort(-row)[:cut]]) & {i} for i, row in enumerate(scores)]
    hit = [i in np.argsort(-scores[:, c])[:cut] for c, i in enumerate(images)]
    return 100 * float(np.mean([bool(some) for some in found])), 100 * float(np.mean(hit))


@given(counts=COUNTS, seed=st.integers(0, 99))
@settings(deadline=None)
def test_recalls_agree_with_a_loop(counts: list[int], seed: int) -> None:
    images = np.repeat(np.arange(len(counts)), counts)
    scores = np.random.default_rng(seed).normal(size=(len(counts), len(images)))
    numbers = retrieval.metrics(scores, images)
    for cut in retrieval.CUTS:
        i2t, t2i = looped(scores, images, cut)
        assert getattr(numbers.i2t, f"r{cut}") == pytest.approx(i2t)
        assert getattr(numbers.t2i, f"r{cut}") == pytest.approx(t2i)
    expected = [*numbers.i2t.values()[:3], *numbers.t2i.values()[:3], numbers.rsum]
    np.testing.assert_allclose(retrieval.hits(scores, images).mean(0), expected, atol=1e-9)


@given(images=st.integers(1, 8), each=st.integers(1, 5), seed=st.integers(0, 99))
@settings(deadline=None)
def test_equal_counts_give_the_same_bits(images: int, each: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 4, (images, images * each)) / 4
    given_images = np.repeat(np.arange(images), each)
    for ties in retrieval.TIES:
        plain, explicit = (retrieval.hits(scores, x, ties=ties) for x in (None, given_images))
        np.testing.assert_array_equal(plain, explicit)
        assert retrieval.metrics(scores, ties=ties) == retrieval.metrics(
            scores, given_images, ties=ties
        )
    assert retrieval.report(scores) == retrieval.report(scores, given_images)


def test_the_interval_is_that_of_images_drawn_with_all_their_captions() -> None:
    draw = np.random.default_rng(0)
    counts = draw.integers(1, 11, 300)
    images = np.repeat(np.arange(300), counts)
    scores = draw.normal(size=(300, len(images)))
    scores[images, np.arange(len(images))] += draw.normal(2.0, 1.0, 300)[images]
    hit = retrieval.ranks(scores, images).t2i < 1
    sums, drawn = np.bincount(images, hit), image_counts(300)
    ratios = 100 * (drawn @ sums) / (drawn @ counts)  # hits by captions of each resample
    low, high = np.percentile(ratios, [2.5, 97.5])
    found = retrieval.interval(retrieval.hits(scores, images))["t2i_r1"]
    assert found == pytest.approx((low, high), abs=0.1 * (high - low))


def test_a_recall_of_one_hundred_has_no_width() -> None:
    images = np.array([0, 1, 1, 1, 2])
    scores = np.where(images == np.arange(3)[:, None], 1.0, 0.0)
    assert retrieval.interval(retrieval.hits(scores, images))["rsum"] == (600.0, 600.0)


def test_folds_take_whole_images() -> None:
    images = np.array([0, 1, 1, 2, 2, 2, 3])
    scores = np.random.default_rng(1).normal(size=(4, 7))
    parts = [
        retrieval.metrics(scores[:2, :3], np.array([0, 1, 1])),
        retrieval.metrics(scores[2:, 3:], np.array([0, 0, 0, 1])),
    ]
    found = retrieval.five_folds(scores, images, folds=2)
    assert found.rsum == pytest.approx(np.mean([part.rsum for part in parts]))


@pytest.mark.parametrize(
    "images", [[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1], [0, 0, 1, 2]]
)
def test_images_that_do_not_fit_are_refused(images: list[int]) -> None:
    with pytest.raises(InputError, match="caption_image does not fit"):
        retrieval.ranks(SCORES, np.array(images))


def test_a_matrix_that_needs_the_images_says_so() -> None:
    with pytest.raises(InputError, match="give caption_image"):
        retrieval.metrics(np.zeros((2, 3)))
