"""Figures: what they draw is what they were given."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from itm_core.figures import attention, results, tensors
from itm_core.figures.style import colour_of


def test_heat_adds_the_weights_of_the_boxes_that_cover_a_pixel() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 1, 4, 4]])
    heat = attention.heat(boxes, np.array([0.25, 0.5]), 4, 4)
    assert heat[1, 1] == 1.0
    assert heat[0, 0] == 0.25 / 0.75
    assert heat[3, 3] == 0.5 / 0.75
    assert heat[0, 3] == 0.0


def test_one_picture_for_each_word_with_its_best_region_framed() -> None:
    boxes = np.array([[0, 0, 50, 50], [50, 50, 100, 100]], float)
    weights = np.array([[0.9, 0.1], [0.2, 0.8]])
    picture = np.full((50, 50, 3), 200, np.uint8)
    figure = attention.word_maps(
        picture,
        boxes,
        ["sky", "sea"],
        weights,
        contribution=np.array([0.1, 0.2]),
        size=np.array([100, 100]),
    )
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["the picture", "sky", "sea"]
    frames = [axes.patches[0].get_xy() for axes in figure.axes[1:3]]
    assert frames == [(0.0, 0.0), (25.0, 25.0)]  # boxes are scaled to the picture's own size


def test_many_words_get_more_rows() -> None:
    figure = attention.word_maps(
        np.zeros((8, 8, 3), np.uint8),
        np.array([[0, 0, 8, 8.0]]),
        list("abcdefghijk"),
        np.ones((11, 1)),
    )
    assert len(figure.axes) == 15


def test_curves_and_intervals_show_every_row() -> None:
    curve = pd.DataFrame({"epoch": [1, 2], "loss": [9.0, 3.0], "rsum": [10.0, 50.0]})
    figure = results.learning_curve({"scan-t2i": curve, "scan-i2t": curve})
    assert len(figure.axes[1].lines) == 2
    table = pd.DataFrame(
        {
            "name": ["a", "b"],
            "value": [1, 2],
            "low": [0, 1],
            "high": [2, 3],
            "spread": [0.1, 0.2],
            "group": ["x", "y"],
        }
    )
    figure = results.intervals(table, title="t", unit="u")
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["a", "b"]
    (axes,) = results.intervals(table, title="t", unit="u", line=("people", 2.5)).axes
    assert list(axes.lines[-1].get_xdata()) == [2.5, 2.5]
    (name,) = axes.texts
    bottom, top = axes.get_ylim()
    assert name.get_text() == "people"
    assert bottom > name.xy[1] > top  # within the picture, below the last row


def test_right_items_are_marked() -> None:
    pictures = [np.zeros((4, 4, 3), np.uint8)] * 2
    figure = results.retrieved_images(pictures, [0.5, 0.4], [False, True])
    assert [axes.get_title() for axes in figure.axes] == ["1. ", "2. right"]
    figure = results.retrieved_captions(pictures[0], ["x", "y"], [0.5, 0.4], [True, False])
    said = [t.get_text() for t in figure.axes[1].texts]
    assert "1. right  0.500" in said
    assert "2. other  0.400" in said


def test_tensors_keep_their_values() -> None:
    values = np.array([[0.5, -1.0]])
    figure = tensors.steps([("S", values)], ["word"], diverging=True)
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), values)
    assert image.get_clim() == (-1.0, 1.0)
    assert len(tensors.bars(["a", "b"], np.array([1, 2]), title="t", unit="u").axes[0].patches) == 2


def test_figures_are_shown_once() -> None:
    attention.attention_matrix(["a"], np.ones((1, 3)))
    attention.proposals(np.zeros((4, 4, 3), np.uint8), np.array([[0, 0, 2, 2]]))
    attention.gallery([np.zeros((4, 4, 3), np.uint8)], ["a caption"])
    results.length_histogram([3, 4], [5, 6])
    assert not plt.get_fignums()


def test_a_method_keeps_its_colour() -> None:
    assert colour_of("scan-t2i-mean") == colour_of("scan-t2i-LSE", 3)
    assert colour_of("scan-t2i") != colour_of("scan-i2t")
