"""The descriptor by hand: colours counted, and counted in the right boxes."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from itm_book.photographs.colours import COLOURS, PALE, WIDTH, colours, describe
from itm_book.regions.region_boxes import layout
from tests.photos import noise


def test_every_pixel_has_the_hue_that_colorsys_says() -> None:
    pixels = noise(0, 20, 50)
    found = colours(pixels)
    for pixel, colour in zip(pixels.reshape(-1, 3), found.ravel(), strict=True):
        hue, _, value = colorsys.rgb_to_hsv(*(pixel / 255.0))
        if int(pixel.max()) - int(pixel.min()) < PALE:
            assert colour == 24 + int(pixel.max()) // 64
            continue
        twelfth = hue * 12 + 0.5
        assert colour >= 12 if value * 255 >= 127.5 else colour < 12
        if abs(twelfth - round(twelfth)) > 1e-9:  # else it lies between two
            assert colour % 12 == int(twelfth) % 12


@pytest.mark.parametrize("side", [30, 400])
def test_halves_of_a_picture_have_their_own_colour(side: int) -> None:
    picture = np.zeros((side, side, 3), np.uint8)
    picture[:, : side // 2, 0] = 255  # red, and black
    boxes = np.array([[0, 0, side / 2, side], [side / 2, 0, side, side], [0, 0, side, side]])
    shares = describe(picture, boxes)[:, :COLOURS] ** 2
    red, black = shares[:, 12], shares[:, 24]
    np.testing.assert_allclose(red, [1, 0, 0.5], atol=0.02)
    np.testing.assert_allclose(black, [0, 1, 0.5], atol=0.02)


def test_shares_add_up_and_place_is_the_boxes() -> None:
    boxes = layout(40, 30)
    found = describe(noise(0), boxes)
    assert found.shape == (36, WIDTH)
    assert found.dtype == np.float32
    for start in (0, COLOURS):
        np.testing.assert_allclose((found[:, start : start + COLOURS] ** 2).sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(found[0, -4:], [0.5, 0.5, 1, 1])


def test_boxes_of_no_area_and_tiny_pictures_are_finite() -> None:
    boxes = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]])
    assert np.isfinite(describe(noise(0, 1, 1), boxes)).all()


def test_edges_tell_their_direction() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, 20:] = 255
    whole = np.array([[0, 0, 40, 40]])
    across, down = describe(picture, whole), describe(picture.transpose(1, 0, 2), whole)
    edges = slice(2 * COLOURS, 2 * COLOURS + 32)
    assert np.abs(across[:, edges] - down[:, edges]).max() > 0.5
