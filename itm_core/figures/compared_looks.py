"""Where two or more runs look, word by word: one row for each of them, the words in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import patches
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_core import report
from itm_core.data.precomp import Split
from itm_core.figures import tensors
from itm_core.figures.attention import DIM, heat
from itm_core.figures.style import ACCENT, finished, styled
from itm_core.runs import Run
from itm_core.word_maps import explain

COLUMNS = 5  # words in a row; more would be too small to see


def looks(runs: Mapping[str, Run], split: Split, image: int, caption: int) -> Figure:
    """Return where the content words of a caption look in an image, one row for each run.

    See `side_by_side`.
    """
    maps = {name: explain(run, split, image, caption) for name, run in runs.items()}
    weights = {name: found.weights for name, found in maps.items()}
    return side_by_side(weights, next(iter(maps.values())).words, split, image, caption)


def side_by_side(
    maps: Mapping[str, np.ndarray], tokens: Sequence[str], split: Split, image: int, caption: int
) -> Figure:
    """Return a row for each named map ``[L, R]``, with a column for each content word.

    A long caption takes several such blocks. A picture is bright where a word's values are large
    (below zero they count as zero), and its best region is outlined. Without pictures: each map
    as a matrix, words by regions.
    """
    picture = split.picture(image)
    if picture is None or split.boxes is None:
        return tensors.steps(list(maps.items()), tokens)
    words = report.content_words(split, caption, tokens)
    height, width = picture.shape[:2]
    own = (width, height) if split.sizes is None else split.sizes[image]
    boxes = split.boxes[image] * np.tile(np.array([width, height]) / np.asarray(own), 2)
    blocks = [words[k : k + COLUMNS] for k in range(0, len(words), COLUMNS)] or [[]]
    rows = [(block, name, found) for block in blocks for name, found in maps.items()]
    columns = max(len(blocks[0]), 2)
    tall = 2.0 * height / width * len(rows) + 0.35 * len(blocks)
    with styled():
        figure, grid = plt.subplots(
            len(rows), columns, figsize=(2.05 * columns, tall), squeeze=False
        )
        for line, (block, name, found) in zip(grid, rows, strict=True):
            for axes, word in zip(line, block, strict=False):
                _lit(axes, picture, boxes, found[word])
            for axes in line[len(block) :]:
                axes.set_axis_off()
            line[0].set_ylabel(name, fontsize=9)
        for line, block in zip(grid[:: len(maps)], blocks, strict=True):
            for axes, word in zip(line, block, strict=False):
                axes.set_title(tokens[word])
        return finished(figure)


def _lit(axes: Axes, picture: np.ndarray, boxes: np.ndarray, weights: np.ndarray) -> None:
    """Draw the picture, bright where the weights are, with the box of the largest outlined."""
    bright = DIM + (1 - DIM) * heat(boxes, weights.clip(0), *picture.shape[:2])
    axes.imshow((picture * bright[..., None]).astype(np.uint8))
    axes.set(xticks=[], yticks=[])
    left, top, right, bottom = boxes[weights.argmax()]
    frame = (right - left - 1, bottom - top - 1)
    axes.add_patch(patches.Rectangle((left, top), *frame, fill=False, ec=ACCENT, lw=1.8))
