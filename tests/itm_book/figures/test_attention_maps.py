"""Small multiples and matrices: what they draw is what the records say."""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from PIL import Image

from itm_book.figures import attention_maps
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
    return [axes for axes in figure.axes if axes.collections]


def test_there_is_a_panel_for_each_word_and_a_row_for_each_record() -> None:
    figure = attention_maps.maps([made(), made("BFAN"), made("CHAN")])
    assert len(panels(figure)) == 2 * 3
    assert [axes.get_title() for axes in panels(figure)] == ["red", "kite", *[""] * 4]
    names = [text.get_text().split("\n") for axes in panels(figure)[::2] for text in axes.texts]
    assert names[::2] == [[name, "score 0.350"] for name in ("SCAN t2i", "BFAN", "CHAN")]
    assert [axes.get_title() for axes in panels(attention_maps.maps(made(), most=1))] == ["red"]


def test_regions_are_shaded_by_their_share_of_the_largest_weight() -> None:
    first = panels(attention_maps.maps(made()))[0]  # "red": 0.5, 0.25, 0.25
    (drawn,) = first.collections
    assert isinstance(drawn, PatchCollection)
    large_first = attention_maps.SHADES(np.array([1.0, 0.5, 0.5]))  # areas of 5000, 1200 and 600
    np.testing.assert_allclose(drawn.get_facecolor()[:, :3], large_first[:, :3])
    np.testing.assert_allclose(
        drawn.get_facecolor()[:, 3], attention_maps.MAX_ALPHA * np.array([1, 0.5, 0.5])
    )
    ends = [path.get_extents().extents for path in drawn.get_paths()]
    np.testing.assert_allclose(ends, BOXES[[0, 2, 1]])
    second = panels(attention_maps.maps(made()))[1]
    assert len(second.collections[0].get_paths()) == 1  # regions without weight are left out


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


def test_regions_are_vectors_and_the_file_is_small() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 960, 3), np.uint8)  # compresses badly
    with BytesIO() as file:
        Image.fromarray(noise).save(file, "jpeg")
        uri = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    figure = attention_maps.maps([made(picture=uri), made("BFAN", picture=uri)], truth=True)
    with BytesIO() as file:
        figure.savefig(file, format="svg")
        text = file.getvalue().decode()
    assert text.count("<image") == 1 + 2 * 2  # the picture on top and in every panel
    assert len(text) < 5 * 250_000
    top = [axes for axes in figure.axes if axes.images and not axes.collections]
    assert len(top) == 1


def test_without_boxes_there_is_a_matrix_and_without_a_picture_the_boxes_alone() -> None:
    records = [made(boxes=None), made("BFAN", WEIGHTS[::-1], boxes=None)]
    figure = attention_maps.maps(records)
    first, second = (axes for axes in figure.axes if axes.get_title(loc="left"))
    np.testing.assert_array_equal(first.collections[0].get_array().reshape(3, 3), WEIGHTS)
    np.testing.assert_array_equal(second.collections[0].get_array().reshape(3, 3), WEIGHTS[::-1])
    assert [label.get_text() for label in first.get_yticklabels()] == ["a", "red", "kite"]
    assert not any(axes.images for axes in attention_maps.maps(made()).axes)


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
