"""Where each word looks: attention over a picture's regions, and over the regions alone."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib import patches
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_core.figures.style import ACCENT, FAINT, finished, styled

DIM = 0.22  # how bright a picture stays where a word does not look


def heat(boxes: np.ndarray, weights: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return ``[H, W]`` attention per pixel in 0..1: the weights of the boxes that cover it.

    Boxes overlap, so weights add up; the brightest pixel is 1.

    Shapes: ``boxes [R, 4]`` x1, y1, x2, y2 in pixels of the picture; ``weights [R]``.
    """
    total = np.zeros((height, width))
    for (left, top, right, bottom), weight in zip(boxes.astype(int), weights, strict=True):
        total[max(top, 0) : bottom, max(left, 0) : right] += weight
    return total / max(total.max(), 1e-12)


def word_maps(
    picture: np.ndarray,
    boxes: np.ndarray,
    words: Sequence[str],
    weights: np.ndarray,
    *,
    contribution: np.ndarray | None = None,
    size: np.ndarray | None = None,
    columns: int = 5,
) -> Figure:
    """Return one picture for each word: bright where it looks, its best region outlined.

    Args:
        picture: ``[H, W, 3]`` uint8.
        boxes: ``[R, 4]`` x1, y1, x2, y2.
        words: L words.
        weights: ``[L, R]`` attention of each word over the regions.
        contribution: ``[L]`` shares of the score, written below each picture.
        size: width and height that the boxes refer to, when not the picture's own.
    """
    height, width = picture.shape[:2]
    scale = np.ones(2) if size is None else np.array([width, height]) / np.asarray(size)
    boxes = boxes * np.tile(scale, 2)
    rows = -(-(len(words) + 1) // columns)
    with styled():
        figure, grid = plt.subplots(
            rows, columns, figsize=(2.05 * columns, 2.6 * rows * height / width), squeeze=False
        )
        axes = grid.ravel()
        _bare(axes[0], picture, "the picture")
        for k, word in enumerate(words):
            bright = DIM + (1 - DIM) * heat(boxes, weights[k], height, width)
            shown = (picture * bright[..., None]).astype(np.uint8)
            below = "" if contribution is None else f"share {contribution[k]:+.3f}"
            _bare(axes[k + 1], shown, word, below)
            _outline(axes[k + 1], boxes[weights[k].argmax()])
        for left in axes[len(words) + 1 :]:
            left.set_axis_off()
        return finished(figure)


def _bare(axes: Axes, picture: np.ndarray, title: str, below: str = "") -> None:
    axes.imshow(picture)
    axes.set_title(title)
    axes.set_xlabel(below, fontsize=8, color=FAINT)
    axes.set(xticks=[], yticks=[])


def _outline(axes: Axes, box: np.ndarray) -> None:
    left, top, right, bottom = box
    axes.add_patch(
        patches.Rectangle(
            (left, top), right - left - 1, bottom - top - 1, fill=False, ec=ACCENT, lw=1.8
        )
    )


def attention_matrix(words: Sequence[str], weights: np.ndarray) -> Figure:
    """Return the attention ``[L, R]`` as a heat map, words by regions."""
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 0.9 + 0.3 * len(words)))
        image = axes.imshow(weights, aspect="auto", cmap="viridis", vmin=0)
        axes.set_yticks(range(len(words)), words)
        axes.set_xlabel("region (order of the file)")
        figure.colorbar(image, ax=axes, label="attention weight")
        return finished(figure)


def proposals(picture: np.ndarray, boxes: np.ndarray, title: str = "") -> Figure:
    """Return a picture with all its region boxes drawn thinly."""
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
    """Return pictures side by side, each under a short title."""
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
            axes.set_title(lines, fontsize=8, fontweight="normal")
        return finished(figure)
