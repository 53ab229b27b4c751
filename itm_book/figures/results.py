"""What came out: learning curves, recalls with intervals, retrieved pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from itm_book.figures.style import (
    FAINT,
    INK,
    RIGHT,
    STROKES,
    colour_of,
    colour_of_row,
    finished,
    styled,
)


def learning_curve(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Return loss and development rSum against epochs, one line for each named curve.

    The columns of a curve are those of `runs.Run.curve`.
    """
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.0))
        seen: list[str] = []
        for place, (name, curve) in enumerate(curves.items()):
            colour = colour_of(name, place)
            # a host and its plug-ins share a colour: the line tells them apart
            line: dict[str, Any] = {"ls": STROKES[seen.count(colour) % len(STROKES)]}
            seen.append(colour)
            line |= {"marker": "o", "ms": 3.5, "color": colour}
            left.plot(curve["epoch"], curve["loss"], **line)
            right.plot(curve["epoch"], curve["rsum"], **line, label=name)
        left.set(xlabel="epoch", ylabel="loss (sum over a batch)", title="training", yscale="log")
        right.set(xlabel="epoch", ylabel="rSum (percent, six recalls)", title="development")
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_ylim(bottom=None if axes is left else 0)
        right.legend(fontsize=8)
        return finished(figure)


def intervals(
    table: pd.DataFrame, *, title: str, unit: str, line: tuple[str, float] | None = None
) -> Figure:
    """Return a dot, a 95 % interval and the spread between seeds for every row of a table.

    Columns: ``name``, ``value``, ``low``, ``high``, ``spread`` (standard deviation, drawn as a
    thin line to both sides), and ``group`` for the colour. ``line`` is a name and a value that
    all are to be compared with.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 0.9 + 0.32 * len(table)))
        groups = list(dict.fromkeys(table["group"]))
        for place, row in enumerate(table.to_dict("records")):
            colour = colour_of_row(row, groups)
            ends = [row["value"] - row["spread"], row["value"] + row["spread"]]
            axes.plot(ends, [place, place], color=INK, lw=0.8)
            axes.plot([row["low"], row["high"]], [place, place], color=colour, lw=4, alpha=0.5)
            axes.plot(row["value"], place, "o", color=colour, ms=6)
        if line:
            axes.axvline(line[1], color=INK, lw=1, ls="--")
            axes.annotate(
                line[0], (line[1], len(table)), xytext=(-5, 0), textcoords="offset points",
                ha="right", va="center", fontsize=8,
            )  # fmt: skip
        axes.set_yticks(range(len(table)), table["name"])
        axes.set_ylim(len(table) - (0.4 if line is None else -0.4), -0.6)
        axes.grid(axis="x", color=FAINT, alpha=0.25)
        note = "thick: 95 % interval over test images; thin: spread between seeds"
        axes.set(xlabel=f"{unit}\n{note}", title=title)
        return finished(figure)


def retrieved_images(
    pictures: Sequence[np.ndarray], scores: Sequence[float], right: Sequence[bool]
) -> Figure:
    """Return the best-scored pictures of a caption in order; the right one is framed."""
    with styled():
        figure, grid = plt.subplots(
            1, len(pictures), figsize=(1.75 * len(pictures), 2.2), squeeze=False
        )
        for rank, (axes, picture, score, is_right) in enumerate(
            zip(grid[0], pictures, scores, right, strict=True), 1
        ):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{rank}. {'right' if is_right else ''}", fontsize=9)
            axes.set_xlabel(f"score {score:.3f}", fontsize=8)
            for side in axes.spines.values():
                side.set(
                    visible=True, lw=3.5 if is_right else 0.8, color=RIGHT if is_right else FAINT
                )
        return finished(figure)


def searched_images(
    sentences: Sequence[str],
    pictures: Sequence[Sequence[np.ndarray]],
    scores: Sequence[Sequence[float]],
) -> Figure:
    """Return the best-scored pictures of several sentences, a row each, best first."""
    rows, columns = len(sentences), max(map(len, pictures))
    with styled():
        figure, grid = plt.subplots(
            rows, columns, figsize=(1.9 * columns, 1.95 * rows), squeeze=False
        )
        for axes in grid.ravel():
            axes.set_axis_off()
        for row, sentence, shown, values in zip(grid, sentences, pictures, scores, strict=True):
            row[0].set_title(f"“{sentence}”", loc="left", fontsize=10)
            for axes, picture, value in zip(row, shown, values, strict=False):
                axes.set_axis_on()
                axes.imshow(picture)
                axes.set(xticks=[], yticks=[])
                axes.set_xlabel(f"score {value:.3f}", fontsize=8)
        return finished(figure)


def retrieved_captions(
    picture: np.ndarray, captions: Sequence[str], scores: Sequence[float], right: Sequence[bool]
) -> Figure:
    """Return a picture beside its best-scored captions in order; its own are marked as right.

    Another picture's caption may well be true of this one, so it is called no worse than other.
    """
    with styled():
        figure, (left, text) = plt.subplots(
            1, 2, figsize=(8.2, 2.4), gridspec_kw={"width_ratios": [1, 3.2]}
        )
        left.imshow(picture)
        left.set(xticks=[], yticks=[])
        text.set_axis_off()
        for rank, (caption, score, is_right) in enumerate(
            zip(captions, scores, right, strict=True)
        ):
            mark, colour = ("right", RIGHT) if is_right else ("other", INK)
            shown = caption if len(caption) < 72 else caption[:69] + "…"
            text.text(
                0,
                0.92 - rank * 0.19,
                f"{rank + 1}. {mark}  {score:.3f}",
                color=colour,
                fontsize=8.5,
                fontweight="bold",
                transform=text.transAxes,
            )
            text.text(0.2, 0.92 - rank * 0.19, shown, fontsize=8.5, transform=text.transAxes)
        return finished(figure)


def length_histogram(lengths: Sequence[int], objects: Sequence[int]) -> Figure:
    """Return how long captions are for pictures with few and with many objects."""
    table = pd.DataFrame({"tokens": lengths, "objects in the picture": objects})
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 2.8))
        sns.boxplot(
            table, x="objects in the picture", y="tokens", ax=axes, color="#9cc4e0", fliersize=1.5
        )
        axes.set(title="Length of a caption says nothing of its picture")
        return finished(figure)
