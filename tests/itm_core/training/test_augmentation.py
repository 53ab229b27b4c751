"""Size augmentation: fates by hand, what must never happen, and how often what does."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm_core.evaluation.scoring import pad
from itm_core.training.augmentation import (
    drop_regions,
    drop_tokens,
    drop_words,
    keep_regions,
)

MASK = 9
RATE = 0.2
KEEP, MASKED, EXCHANGED, DELETED = 0.2, 0.0999, 0.1199, 0.1999  # around 0.1, 0.12 and 0.2


class Scripted(Random):
    """A generator that says what it was told to; choices come from a script of their own."""

    def __init__(self, numbers: Iterable[float], choices: Iterable[int] = ()) -> None:
        super().__init__(0)
        self.numbers, self.choices_ = iter(numbers), iter(choices)
        self.offered: list[object] = []

    def random(self) -> float:
        return next(self.numbers)

    def choice(self, seq: object) -> int:
        self.offered.append(seq)
        return next(self.choices_)


def test_the_four_fates_by_hand() -> None:
    draw = Scripted([KEEP, MASKED, EXCHANGED, DELETED], [7])
    assert drop_words([[1], [2], [3], [4]], RATE, MASK, range(10), draw) == [1, MASK, 7]
    draw = Scripted([0.1, 0.12], [7])  # the lower ends of exchange and of deletion
    assert drop_words([[1], [2]], RATE, MASK, range(10), draw) == [7]


def test_pieces_share_their_word_s_fate() -> None:
    draw = Scripted([MASKED, EXCHANGED, DELETED, KEEP], [6, 7])
    units = [[1, 2, 3], [4, 5], [6, 7], [8, 8]]
    assert drop_words(units, RATE, MASK, range(10), draw) == [MASK, MASK, MASK, 6, 7, 8, 8]


def test_ends_are_spared_or_not() -> None:
    tokens = [1, 5, 6, 2]
    script = Scripted([MASKED, KEEP])
    assert drop_tokens(tokens, RATE, MASK, script, keep_special_tokens=True) == [1, MASK, 6, 2]
    script = Scripted([DELETED, KEEP, MASKED, MASKED])
    assert drop_tokens(tokens, RATE, MASK, script, keep_special_tokens=False) == [5, MASK, MASK]


def test_a_caption_that_would_go_keeps_its_first_id() -> None:
    tokens = [1, 5, 6, 2]
    assert drop_tokens(tokens, RATE, MASK, Scripted([DELETED] * 4), keep_special_tokens=False) == [
        1
    ]
    assert drop_tokens(tokens, RATE, MASK, Scripted([DELETED] * 2), keep_special_tokens=True) == [
        1,
        5,
        2,
    ]
    assert drop_words([[4, 5], [6]], RATE, MASK, range(10), Scripted([DELETED] * 2)) == [4]


def test_where_nothing_is_nothing_is_dropped() -> None:
    assert drop_words([], RATE, MASK, range(10), Scripted([])) == []
    assert drop_tokens([1, 2], RATE, MASK, Scripted([]), keep_special_tokens=True) == [1, 2]


@given(
    inner=st.lists(st.integers(3, 8), max_size=12),
    rate=st.floats(0, 0.99),
    seed=st.integers(0, 9999),
    spare=st.booleans(),
)
def test_captions_stay_captions(inner: list[int], rate: float, seed: int, spare: bool) -> None:
    tokens = [1, *inner, 2]
    found = drop_tokens(tokens, rate, MASK, Random(seed), keep_special_tokens=spare)
    assert 1 <= len(found) <= len(tokens)
    assert set(found) <= set(range(MASK + 1))
    assert found == drop_tokens(tokens, rate, MASK, Random(seed), keep_special_tokens=spare)
    if spare:
        assert (found[0], found[-1]) == (1, 2)
        assert len(found) > 2 or not inner
    if rate == 0:
        assert found == tokens


def test_each_fate_comes_as_often_as_the_papers_say() -> None:
    count = 40_000
    draw = Random(0)
    masked, exchanged = 100, 200
    fates = [
        drop_words([[0], [1]], RATE, masked, [exchanged], Scripted([draw.random(), KEEP], [200]))[0]
        for _ in range(count)
    ]
    share = {fate: fates.count(fate) / count for fate in (0, masked, exchanged, 1)}
    assert share[0] == pytest.approx(0.8, abs=0.01)
    assert share[masked] == pytest.approx(0.1, abs=0.005)
    assert share[exchanged] == pytest.approx(0.02, abs=0.003)
    assert share[1] == pytest.approx(0.08, abs=0.005)  # deleted: the next one comes first


def test_random_ids_are_any_id_the_mask_included() -> None:
    draw = Scripted([EXCHANGED, KEEP], [7])
    assert drop_tokens([1, 2], RATE, MASK, draw, keep_special_tokens=False) == [7, 2]
    assert draw.offered == [range(MASK + 1)]


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_regions_stay_in_their_order_and_as_often_as_they_should(make: object) -> None:
    draw = make(3)
    kept = [keep_regions(36, RATE, draw) for _ in range(400)]
    assert all((np.diff(places) > 0).all() for places in kept)
    assert np.mean([len(places) for places in kept]) / 36 == pytest.approx(0.8, abs=0.01)
    every = np.bincount(np.concatenate(kept), minlength=36) / len(kept)
    assert every == pytest.approx(np.full(36, 0.8), abs=0.08)


def test_regions_are_drawn_as_the_release_draws() -> None:
    expected = np.flatnonzero(np.random.RandomState(5).rand(36) > RATE)  # its expression
    assert keep_regions(36, RATE, np.random.RandomState(5)).tolist() == expected.tolist()


def test_an_image_keeps_a_region() -> None:
    draw = np.random.RandomState(0)
    sizes = {len(keep_regions(2, 0.99, draw)) for _ in range(200)}
    assert min(sizes) == 1


def test_dropped_regions_leave_rows_of_zeros_at_the_end() -> None:
    features = np.arange(1, 49, dtype=np.float32).reshape(2, 8, 3)
    padded, lens = drop_regions(features, 0.5, np.random.RandomState(1))
    draw = np.random.RandomState(1)
    for image, row, size in zip(features, padded, lens, strict=True):
        kept = image[draw.rand(8) > 0.5]
        assert row[:size].tolist() == kept.tolist()
        assert not row[size:].any()
    assert padded.shape[1] == lens.max() < 8
    assert padded.numpy().dtype == features.dtype


def test_the_padding_of_an_image_is_never_kept() -> None:
    features = np.arange(1, 49, dtype=np.float32).reshape(2, 8, 3)
    padded, lens = drop_regions(features, 0.5, np.random.RandomState(1), np.array([8, 3]))
    draw = np.random.RandomState(1)
    for image, row, size, count in zip(features, padded, lens, (8, 3), strict=True):
        assert row[:size].tolist() == image[:count][draw.rand(count) > 0.5].tolist()


def test_images_of_different_sizes_are_padded() -> None:
    padded, lens = pad([np.ones((1, 2)), np.ones((3, 2))], float)
    assert lens.tolist() == [1, 3]
    assert padded.sum((1, 2)).tolist() == [2, 6]
    assert padded[0, 1:].sum() == 0
