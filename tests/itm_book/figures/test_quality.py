"""How attention quality is spread: boxes of the numbers given, nothing where there are none."""

from __future__ import annotations

import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib.figure import Figure

from itm_book.figures import quality


def test_a_box_holds_the_middle_half_of_the_pairs() -> None:
    f1 = np.linspace(0, 1, 101)
    table = pd.DataFrame({"method": "SCAN", "queries": "words", "f1": [*f1, np.nan]})
    other = pd.DataFrame({"method": ["BFAN"] * 2, "queries": "regions", "f1": [0.5, 0.5]})
    figure = quality.distribution(pd.concat([table, other]))
    assert isinstance(figure, Figure)
    words, regions = figure.axes
    (box,) = words.patches
    np.testing.assert_allclose([box.get_x(), box.get_width()], [25, 50])
    np.testing.assert_allclose(words.lines[0].get_xdata(), [5, 95])
    assert words.get_title(loc="left") == "words as queries"
    assert [label.get_text() for label in regions.get_yticklabels()] == ["BFAN"]


def test_without_truth_a_note_stands_in_its_place() -> None:
    table = pd.DataFrame({"method": ["SCAN"], "queries": ["words"], "f1": [np.nan]})
    assert isinstance(quality.distribution(table), Markdown)
