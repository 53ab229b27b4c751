"""Synthetic distractors: the sources of their regions; any slice gives the same ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itm_book.search.distractors import SyntheticDistractors
from itm_core.errors import InputError

PICTURES, REGIONS = 7, 6


def some_pictures() -> tuple[np.ndarray, np.ndarray]:
    """Features that say where they are from, and boxes in a picture of 100 x 80."""
    draw = np.random.default_rng(0)
    corner = draw.uniform(0, [70, 50], (PICTURES, REGIONS, 2))
    boxes = np.concatenate([corner, corner + draw.uniform(5, 30, corner.shape)], -1)
    boxes[:, 0] = [0, 0, 100, 80]  # one region is the whole picture
    place = np.stack(np.meshgrid(np.arange(PICTURES), np.arange(REGIONS), indexing="ij"), -1)
    return place.astype(np.float32), boxes.astype(np.float32)


@given(start=st.integers(0, 49), length=st.integers(1, 9), seed=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_a_slice_is_a_part_of_the_whole(start: int, length: int, seed: int) -> None:
    distractors = SyntheticDistractors(*some_pictures(), 50, seed)
    whole = distractors[0:50]
    assert whole.shape == distractors.shape == (len(distractors), REGIONS, 2)
    np.testing.assert_array_equal(
        distractors[start : start + length], whole[start : start + length]
    )


@pytest.mark.parametrize("boxed", [True, False])
def test_each_is_of_two_pictures_with_no_region_twice(boxed: bool) -> None:
    features, boxes = some_pictures()
    distractors = SyntheticDistractors(features, boxes if boxed else None, 200)[0:200]
    for picture in distractors.astype(int):
        assert len({tuple(region) for region in picture}) == REGIONS
        assert len(set(picture[:, 0])) <= 2
    there_can_be = PICTURES * (PICTURES - 1) * (2 if boxed else 1)
    assert len({tuple(p.ravel()) for p in distractors}) > 0.8 * there_can_be


def test_the_regions_that_lie_deepest_in_their_half_are_kept() -> None:
    features, boxes = some_pictures()
    offset = (boxes[..., :2] + boxes[..., 2:]) / 2 - np.array([50, 40])
    mixed = 0
    for picture in SyntheticDistractors(features, boxes, 100)[0:100].astype(int):
        one, other = picture[0, 0], picture[-1, 0]
        if one == other:  # all regions of one lie deeper than those of the other: who was it?
            continue
        mixed += 1
        kept = {tuple(region) for region in picture.tolist()}
        fits = []
        for axis in (0, 1):
            depth = {(one, r): -offset[one, r, axis] for r in range(REGIONS)}
            depth |= {(other, r): offset[other, r, axis] for r in range(REGIONS)}
            dropped = [value for region, value in depth.items() if region not in kept]
            fits.append(min(depth[region] for region in kept) >= max(dropped))
        assert any(fits)
    assert mixed > 50


def test_another_seed_combines_other_images() -> None:
    one, other = (SyntheticDistractors(*some_pictures(), 20, seed)[0:20] for seed in (0, 1))
    assert (one != other).any()


def test_one_image_is_not_enough() -> None:
    features, boxes = some_pictures()
    with pytest.raises(InputError, match="2 or more"):
        SyntheticDistractors(features[:1], boxes[:1], 5)
