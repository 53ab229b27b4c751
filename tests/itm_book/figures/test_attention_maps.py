"""Small multiples and matrices: what they draw is what the records say."""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from itm_book.figures import attention_maps
from itm_book.figures.style import MAX_VEIL, VEIL
from itm_book.pairs.pair_records import DirectionRecord, Pair, PairRecord
from itm_core.errors import InputError

WEIGHTS = np.array([[0.05, 0.8, 0.15], [0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
BOXES = np.array([[0.0, 0, 100, 50], [10, 10, 30, 40], [60, 5, 90, 45]])


def made(name: str = "SCAN t2i", weights: np.ndarray = WEIGHTS, **of_pair: object) -> PairRecord:
    """Return a record of three words and three regions, worked out by hand."""
    named = [np.zeros((0, 4)), BOXES[1:2], BOXES[2:]]
    pair = Pair("7", "a red kite", ["a", "red", "kite"], 3, (100, 50), BOXES, None, named)
    quality = [None, (0.5, 1.0, 2 / 3), (1.0, 1.0, 1.0)]
    side = DirectionRecord(
        "t2i", [weights], [np.ones(3)], [], np.array([0.1, -0.2, 0.4]), [quality]
    )
    return PairRecord(name, replace(pair, **of_pair), [side], 0.05, 0.35)


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.patches]


def test_there_is_a_panel_for_each_word_and_a_row_for_each_record() -> None:
    figure = attention_maps.maps([made(), made("BFAN"), made("CHAN")])
    assert len(panels(figure)) == 2 * 3
    assert [axes.get_title() for axes in panels(figure)] == ["red", "kite", *[""] * 4]
    names = [text.get_text().split("\n") for axes in panels(figure)[::2] for text in axes.texts]
    assert names[::2] == [[name, "score 0.350"] for name in ("SCAN t2i", "BFAN", "CHAN")]
    assert [axes.get_title() for axes in panels(attention_maps.maps(made(), most=1))] == ["red"]


def test_a_picture_keeps_its_colours_and_is_dark_where_no_region_has_weight() -> None:
    boxes = np.array([[0.0, 0, 100, 50], [10, 10, 30, 40], [60, 5, 90, 45]])
    relative = np.array([0.0, 1.0, 0.25])
    red = Image.new("RGB", (100, 50), (200, 40, 40))
    pixels = attention_maps.lit(red, boxes, (100, 50), relative)
    own, veil = np.array([200, 40, 40]) / 255, np.array(to_rgb(VEIL))
    np.testing.assert_allclose(pixels[20, 20], own)  # the largest weight: its own colour
    np.testing.assert_allclose(pixels[20, 70], own + 0.75 * MAX_VEIL * (veil - own))
    np.testing.assert_allclose(pixels[2, 2], own + MAX_VEIL * (veil - own))
    half = attention_maps.lit(red.resize((50, 25)), boxes, (100, 50), relative)
    np.testing.assert_allclose(half[5:18], pixels[10:36:2, ::2])  # boxes are of the whole picture


def test_of_regions_one_over_another_the_brightest_counts() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    white = Image.new("RGB", (10, 10), "white")
    for relative in ([1.0, 0.2], [0.2, 1.0]):
        np.testing.assert_allclose(
            attention_maps.lit(white, boxes, (10, 10), np.array(relative)), 1
        )


def test_a_panel_shows_the_picture_under_the_weights_of_its_word() -> None:
    first, second = panels(attention_maps.maps(made()))
    shown = [axes.images[0].get_array()[2, 2].sum() for axes in (first, second)]
    assert shown[0] > shown[1]  # region 0 has the largest weight of "red", and none of "kite"


def test_the_best_region_is_framed_numbered_and_its_numbers_stand_below() -> None:
    kite = panels(attention_maps.maps(made(), truth=True))[1]
    assert [text.get_text() for text in kite.texts] == ["2"]
    assert kite.get_xlabel() == "region 2: 1.00\ncontribution +0.400\nF1 1.00"
    frames = [patch.get_bbox().extents for patch in kite.patches]
    np.testing.assert_allclose(frames, np.tile(BOXES[2], (4, 1)))  # the true box, the best region
    red = panels(attention_maps.maps(made()))[0]
    assert red.get_xlabel() == "region 0: 0.50\ncontribution \N{MINUS SIGN}0.200"
    assert len(red.patches) == 2  # without the truth the best region alone


def test_a_long_caption_takes_several_rows() -> None:
    words = [f"w{k}" for k in range(11)]
    pair = replace(made().pair, words=words, true_boxes=None)
    side = DirectionRecord("t2i", [np.full((11, 3), 1 / 3)], [np.ones(11)], [], np.zeros(11), [])
    record = PairRecord("SCAN", replace(pair, words=["word"] * 11), [side], 0.0, 0.0)
    found = panels(attention_maps.maps([record, record]))
    assert len(found) == 22
    heights = {round(axes.get_position().y0, 3) for axes in found}
    assert len(heights) == 2 * 3  # 4 + 4 + 3 words, twice
    assert all(0 <= axes.get_position().x0 < axes.get_position().x1 <= 1 for axes in found)


def test_every_panel_has_one_small_picture() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 960, 3), np.uint8)  # compresses badly
    with BytesIO() as file:
        Image.fromarray(noise).save(file, "jpeg")
        uri = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    figure = attention_maps.maps([made(picture=uri), made("BFAN", picture=uri)], truth=True)
    with BytesIO() as file:
        figure.savefig(file, format="svg")
        text = file.getvalue().decode()
    assert text.count("<image") == 2 + 2 * 2  # the picture on top, the legend, every panel
    assert len(text) < 5 * 250_000
    top = [axes for axes in figure.axes if axes.images and not axes.patches]
    assert len(top) == 2  # the picture, and the legend


def test_without_boxes_there_is_a_matrix_and_without_a_picture_a_plain_one() -> None:
    records = [made(boxes=None), made("BFAN", WEIGHTS[::-1], boxes=None)]
    figure = attention_maps.maps(records)
    first, second = (axes for axes in figure.axes if axes.get_title(loc="left"))
    np.testing.assert_array_equal(first.collections[0].get_array().reshape(3, 3), WEIGHTS)
    np.testing.assert_array_equal(second.collections[0].get_array().reshape(3, 3), WEIGHTS[::-1])
    assert [label.get_text() for label in first.get_yticklabels()] == ["a", "red", "kite"]
    assert [len(axes.images) for axes in panels(attention_maps.maps(made()))] == [1, 1]


def test_where_regions_ask_no_word_has_a_share() -> None:
    regions = replace(made().direction(), direction="i2t", quality=[])
    record = replace(made("SCAN i2t"), directions=[regions])
    message = [axes.get_xlabel() for axes in panels(attention_maps.maps(record, truth=True))]
    assert message == ["region 0: 0.50", "region 2: 1.00"]
    for draw in (attention_maps.maps, attention_maps.matrix):
        with pytest.raises(InputError, match="does not attend in that direction"):
            draw(record, direction="t2i")


def test_records_of_different_pairs_are_refused() -> None:
    for draw in (attention_maps.maps, attention_maps.matrix):
        with pytest.raises(InputError, match="different pairs"):
            draw([made(), made(image="8")])
