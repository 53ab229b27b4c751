"""Figures of attention against people's boxes: they draw what the tables say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from IPython.display import Markdown
from matplotlib.figure import Figure

from itm_book.figures import people_boxes as figures
from itm_book.records import attention
from itm_book.tables import people_boxes
from tests.attention_lines import GRID, write_record


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("record") / "attention.csv"
    write_record(path)
    return attention.recorded(GRID, "tiny", path=path)


def test_a_panel_for_each_type(lines: pd.DataFrame) -> None:
    table = people_boxes.by_type(lines, least=1)
    figure = figures.by_type(table, title="types", unit="pointing (percent)")
    assert isinstance(figure, Figure)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    kinds = list(dict.fromkeys(table["kind"]))
    assert [axes.get_title().split(" (")[0] for axes in panels] == kinds
    for axes, kind in zip(panels, kinds, strict=True):
        rows = table[table["kind"] == kind]
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        drawn = {float(line.get_xdata()[0]) for line in dots}
        assert drawn == {*rows["value"], *rows["untrained"]}
        (chance,) = (line for line in axes.lines if line.get_linestyle() == "--")
        assert chance.get_xdata()[0] == pytest.approx(rows["chance"].mean())
    assert [text.get_text() for text in panels[0].get_yticklabels()] == ["CHAN", "SCAN", "RCAR"]


def test_a_note_where_words_have_no_types() -> None:
    assert isinstance(figures.by_type(pd.DataFrame(), title="", unit=""), Markdown)


def test_curves_are_means_over_seeds(lines: pd.DataFrame, tmp_path: Path) -> None:
    figure = figures.curves(lines, ["RCAR"])
    last = figure.axes[2].lines
    rows = people_boxes.chosen(lines)
    texts = rows[rows["name"] == "RCAR"]["f1_curve"]
    expected = np.mean([[float(x) for x in text.split()] for text in texts], axis=0)
    np.testing.assert_allclose(last[0].get_ydata(), expected)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["RCAR", "uniform weights"]
