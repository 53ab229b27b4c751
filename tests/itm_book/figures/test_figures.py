"""Figures: what they draw is what they were given."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from itm_book.chapters import scenes
from itm_book.figures import method_charts, pictures, retrieval_examples, tensors
from itm_book.figures.style import colour_of


def test_curves_and_intervals_show_every_row() -> None:
    curve = pd.DataFrame({"epoch": [1, 2], "loss": [9.0, 3.0], "rsum": [10.0, 50.0]})
    figure = method_charts.learning_curve({"scan-t2i": curve, "scan-i2t": curve})
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
    figure = method_charts.intervals(table, title="t", unit="u")
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["a", "b"]
    (axes,) = method_charts.intervals(table, title="t", unit="u", line=("people", 2.5)).axes
    assert list(axes.lines[-1].get_xdata()) == [2.5, 2.5]
    (name,) = axes.texts
    bottom, top = axes.get_ylim()
    assert name.get_text() == "people"
    assert bottom > name.xy[1] > top  # within the picture, below the last row


def test_right_items_are_marked() -> None:
    shown = [np.zeros((4, 4, 3), np.uint8)] * 2
    figure = retrieval_examples.retrieved_images(shown, [0.5, 0.4], [False, True])
    assert [axes.get_title() for axes in figure.axes] == ["1. ", "2. right"]
    figure = retrieval_examples.retrieved_captions(shown[0], ["x", "y"], [0.5, 0.4], [True, False])
    message = [t.get_text() for t in figure.axes[1].texts]
    assert "1. right  0.500" in message
    assert "2. other  0.400" in message


def test_tensors_keep_their_values() -> None:
    values = np.array([[0.5, -1.0]])
    figure = tensors.steps([("S", values)], ["word"], diverging=True)
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), values)
    assert image.get_clim() == (-1.0, 1.0)
    assert len(tensors.bars(["a", "b"], np.array([1, 2]), title="t", unit="u").axes[0].patches) == 2


def test_figures_are_shown_once() -> None:
    pictures.proposals(np.zeros((4, 4, 3), np.uint8), np.array([[0, 0, 2, 2]]))
    pictures.gallery([np.zeros((4, 4, 3), np.uint8)], ["a caption"])
    scenes.length_histogram([3, 4], [5, 6])
    assert not plt.get_fignums()


def test_a_method_keeps_its_colour() -> None:
    assert colour_of("scan-t2i-mean") == colour_of("scan-t2i-LSE", 3)
    assert colour_of("scan-t2i") != colour_of("scan-i2t")
