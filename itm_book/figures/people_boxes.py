"""Attention against people's boxes: pointing by type of phrase, and curves over thresholds.

Page: "Real photographs"; "What attention metrics can and cannot say".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_book.figures.quality import threshold_curves
from itm_book.figures.style import FAINT, INK, colour_of_row, finished, styled
from itm_book.records.attention import UNIFORM
from itm_book.tables.people_boxes import UNIFORM_NAME, chosen, kind_name
from itm_core.evaluation.attention_measures import Quality

PANELS = 4  # in a row


def by_type(table: pd.DataFrame, *, title: str, unit: str) -> Figure | Markdown:
    """Return a panel for each type of phrase: a dot with its interval for every method.

    ``table`` is `people_boxes.by_type`. The dashed line is chance, a circle the untrained method.
    A note instead of a figure where no type has enough words.
    """
    if table.empty:
        return Markdown("*The words of this dataset have no types.*")
    kinds, names = (list(dict.fromkeys(table[column])) for column in ("kind", "name"))
    groups = list(dict.fromkeys(table["group"]))
    count = math.ceil(len(kinds) / PANELS)
    with styled():
        figure, panels = plt.subplots(
            count, min(PANELS, len(kinds)), sharey=True, squeeze=False,
            figsize=(8.2, 0.7 + count * (0.7 + 0.19 * len(names))),
        )  # fmt: skip
        for axes, kind in zip(panels.flat, kinds, strict=False):
            _panel(axes, table[table["kind"] == kind], names, groups)
        for axes in panels.flat[len(kinds) :]:
            axes.set_visible(False)
        for axes in panels[:, 0]:
            axes.set_yticks(range(len(names)), names, fontsize=8.5)
            axes.set_ylim(len(names) - 0.5, -0.5)
        note = "bar: 95 % interval over test images; circle: untrained; dashed: chance"
        figure.supxlabel(f"{unit}\n{note}", fontsize=9)
        figure.suptitle(title, fontsize=11, fontweight="bold")
        return finished(figure)


def _panel(axes: Axes, table: pd.DataFrame, names: list[str], groups: list[Any]) -> None:
    for row in table.to_dict("records"):
        place, colour = names.index(row["name"]), colour_of_row(row, groups)
        axes.plot([row["low"], row["high"]], [place, place], color=colour, lw=3.5, alpha=0.45)
        axes.plot(row["untrained"], place, "o", mfc="none", color=FAINT, ms=4, mew=0.8)
        axes.plot(row["value"], place, "o", color=colour, ms=4.5)
    axes.axvline(table["chance"].mean(), color=INK, lw=0.9, ls="--")
    kind, queries = str(table["kind"].iloc[0]), int(table["queries"].iloc[0])
    axes.set_title(f"{kind_name(kind)} ({queries})", fontsize=9)
    axes.set_xlim(left=0)
    axes.tick_params(labelsize=8.5)
    axes.grid(axis="x", color=FAINT, alpha=0.25)


def curves(lines: pd.DataFrame, names: list[str] | None = None, **where: Any) -> Figure:
    """Return precision, recall and F1 against the threshold on weights, a line for each method.

    Means over seeds, with uniform weights for comparison. ``names`` are some methods, by default
    all; ``where`` is direction and iou, as in `people_boxes.chosen`.
    """
    trained = chosen(lines, **where)
    groups = {str(name): group for name, group in trained.groupby("name", sort=False)}
    rows = {name: groups[name] for name in (groups if names is None else names)}
    rows[UNIFORM_NAME] = chosen(lines, weights=UNIFORM, **where).iloc[:1]
    return threshold_curves({name: _quality(group) for name, group in rows.items()})


def _quality(group: pd.DataFrame) -> Quality:
    """Return the mean of the curves of some seeds."""
    texts = [group[f"{name}_curve"] for name in ("precision", "recall", "f1")]
    values = np.array([[text.split() for text in column] for column in texts], float)  # [3, n, T]
    first = group.iloc[0]
    return Quality(
        queries=int(first["queries"]), dropped=int(first["dropped"]), curve=values.mean(1).T
    )
