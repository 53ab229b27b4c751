"""Pictures of a dataset with captions, and with region proposals.

Page: "Scenes, the dataset card"; "Your pictures".
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib import patches
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_book.figures.style import ACCENT, finished, styled


def proposals(picture: np.ndarray, boxes: np.ndarray, title: str = "") -> Figure:
    """Return a picture with thin outlines of its region boxes."""
    with styled():
        figure, axes = plt.subplots(figsize=(3.2, 3.4))
        _bare(axes, picture, title)
        for left, top, right, bottom in boxes:
            axes.add_patch(
                patches.Rectangle(
                    (left, top),
                    right - left - 1,
                    bottom - top - 1,
                    fill=False,
                    ec=ACCENT,
                    lw=0.8,
                    alpha=0.8,
                )
            )
        return finished(figure)


def gallery(pictures: Sequence[np.ndarray], titles: Sequence[str], columns: int = 4) -> Figure:
    """Return a grid of pictures with short titles."""
    rows = -(-len(pictures) // columns)
    with styled():
        figure, grid = plt.subplots(
            rows, columns, figsize=(2.3 * columns, 2.85 * rows), squeeze=False
        )
        for axes in grid.ravel():
            axes.set_axis_off()
        for axes, picture, title in zip(grid.ravel(), pictures, titles, strict=False):
            axes.set_axis_on()
            _bare(axes, picture, "")
            lines = "\n".join(textwrap.wrap(title, 34))
            axes.set_title(lines, fontsize=8.5, fontweight="normal")
        return finished(figure)


def _bare(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture)
    axes.set_title(title)
    axes.set(xticks=[], yticks=[])
