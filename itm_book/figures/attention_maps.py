"""Static attention maps of a pair: panels over the picture, and matrices.

The input is a record of `pair_records.pair_record`, or several records of one pair. `pair_charts`
has the steps, the contributions to the score, and the comparison of two methods.

Page: "Figure gallery"; "Attention atlas".
"""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import patches, patheffects
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from itm_book.figures.style import (
    ACCENT,
    CARD,
    INK,
    MAX_VEIL,
    RIGHT,
    VEIL,
    WEIGHTS,
    finished,
    styled,
)
from itm_book.pairs.pair_records import DirectionRecord, Pair, PairRecord, one_pair

WORDS_PER_ROW = 5
WIDTH, MAX_PANEL = 8.2, 1.7  # inches: the figure, and a panel
NAMES = 1.15  # inches for the names of the methods
GAP, TITLE, LINE, EDGE = 0.08, 0.26, 0.125, 0.12  # inches
FINE, COARSE, MANY = 150, 110, 24  # dots per inch, and the number of panels above which it is lower
SHOWN_SIDE = 300  # pixels of a picture in a panel

Records = PairRecord | Sequence[PairRecord]


def maps(
    records: Records,
    *,
    direction: str | None = None,
    most: int | None = None,
    truth: bool = False,
) -> Figure:
    """Return a panel per content word and record: the picture, lit by the word's attention.

    The top has the picture and the legend. In a panel a pixel is as bright as the region with the
    largest weight that covers it, relative to the word's largest weight, and keeps its colour. The
    region with the largest weight is framed and numbered; below are its weight and, in t2i, the
    word's contribution to the score. Long captions take several rows. Without boxes: `matrix`.

    Args:
        records: of one pair.
        direction: ``t2i`` or ``i2t``, of a method with both; by default the first.
        most: number of words, from the start of the caption; by default all.
        truth: show the boxes of named objects, dashed, and F1 of the attention.

    Raises `InputError` for records of different pairs, or without that direction.
    """
    records = several(records)
    pair = one_pair(records)
    if pair.boxes is None:
        return matrix(records, direction=direction)
    words = (pair.content() or list(range(len(pair.words))))[:most]
    blocks, sides = _blocks(words), [record.direction(direction) for record in records]
    with styled():
        figure, top, lines = _grid(pair, blocks, len(records), 3 if truth else 2)
        _legend(figure, top, records, truth)
        for k, line in enumerate(lines):
            block, row = blocks[k // len(records)], k % len(records)
            if len(records) > 1:
                _name(line[0], records[row])
            for axes, word in zip(line, block, strict=True):
                _panel(axes, pair, sides[row], word, truth)
                if row == 0:
                    axes.set_title(pair.words[word], fontsize=9.5, pad=4)
        return finished(figure)


def matrix(records: Records, *, direction: str | None = None) -> Figure:
    """Return the attention between words and regions, a matrix per record.

    In t2i a row sums to one. In i2t a column does, together with ``<start>`` and ``<end>``, which
    are not shown.

    Raises `InputError` as `maps` does.
    """
    records = several(records)
    words, sides = one_pair(records).words, [record.direction(direction) for record in records]
    with styled():
        tall = len(records) * (0.55 + 0.19 * len(words)) + 0.3
        figure, grid = plt.subplots(
            len(records), 1, figsize=(8.2, tall), squeeze=False, sharex=True
        )
        for axes, record, side in zip(grid[:, 0], records, sides, strict=True):
            cells(axes, side.weights[-1], words)
            queries = "words" if side.direction == "t2i" else "regions"
            axes.set_title(f"{record.name}: {queries} as queries", fontsize=10, loc="left")
            figure.colorbar(axes.collections[0], ax=axes, pad=0.01, label="weight")
        grid[-1, 0].set_xlabel("region, in the order of the file")
        return finished(figure)


def several(records: Records) -> list[PairRecord]:
    """Return one or several records as a list."""
    return [records] if isinstance(records, PairRecord) else list(records)


def cells(
    axes: Axes,
    values: np.ndarray,
    rows: Sequence[str],
    *,
    cmap: str | Colormap = WEIGHTS,
    low: float = 0.0,
    high: float | None = None,
) -> None:
    """Draw values ``[Q, K]`` as vector cells with row labels; ``high``: by default the maximum."""
    high = high or float(values.max()) or 1.0
    axes.pcolormesh(values, cmap=cmap, vmin=low, vmax=high, ec=CARD, lw=0.25)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=8)
    places = np.arange(0, values.shape[1], 5 if values.shape[1] <= 60 else 20)
    axes.set_xticks(places + 0.5, [str(k) for k in places], fontsize=8)
    axes.tick_params(length=0)
    axes.invert_yaxis()


def _blocks(words: Sequence[int]) -> list[Sequence[int]]:
    """Return words in rows of similar length."""
    along = -(-len(words) // -(-len(words) // WORDS_PER_ROW))
    return [words[k : k + along] for k in range(0, len(words), along)]


def _grid(
    pair: Pair, blocks: Sequence[Sequence[int]], many: int, below: int
) -> tuple[Figure, Axes, list[list[Axes]]]:
    """Return a figure, the axes of the picture at the top, and those of the panels by row.

    ``many`` records give as many rows per block; ``below`` is the number of text lines under a
    panel. Positions are set explicitly: the layout engine takes seconds for many panels.
    """
    left = NAMES if many > 1 else GAP
    along = len(blocks[0])
    panel = min(MAX_PANEL, (WIDTH - left - GAP) / max(along, 3) - GAP)
    tall = panel * pair.size[1] / pair.size[0]
    step = tall + LINE * below + 0.14
    wide = max(left + along * (panel + GAP), 5.4)
    strip = max(tall, 0.9) + EDGE
    high = strip + len(blocks) * (TITLE + many * step) + EDGE
    dots = COARSE if many * sum(map(len, blocks)) > MANY else FINE
    figure = plt.figure(figsize=(wide, high), layout="none", dpi=dots)

    def bare(x: float, down: float) -> Axes:
        axes = figure.add_axes((x / wide, 1 - (down + tall) / high, panel / wide, tall / high))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    lines = []
    for row in range(len(blocks) * many):
        down = strip + TITLE * (row // many + 1) + row * step
        count = len(blocks[row // many])
        lines.append([bare(left + k * (panel + GAP), down) for k in range(count)])
    return figure, bare(GAP, EDGE), lines


def _name(axes: Axes, record: PairRecord) -> None:
    """Write the method and its score to the left of its row."""
    lines = [*textwrap.wrap(record.name, 17), _scored(record)]
    axes.text(-0.06, 0.5, "\n".join(lines), transform=axes.transAxes, ha="right", va="center",
              fontsize=8)  # fmt: skip


def _scored(record: PairRecord) -> str:
    return f"score {record.score:.3f}".replace("-", "\N{MINUS SIGN}")


def _panel(axes: Axes, pair: Pair, side: DirectionRecord, word: int, truth: bool) -> None:
    weights, boxes = side.weights[-1][word], pair.boxes
    assert boxes is not None  # `maps` draws a matrix without
    relative = weights / max(float(weights.max()), 1e-12)
    _under(axes, pair, lit(_picture(pair), boxes, pair.size, relative))
    best = int(weights.argmax())
    if truth and pair.true_boxes is not None:
        for box in pair.true_boxes[word]:
            axes.add_patch(_rectangle(box, ec="white", lw=2.6))
            axes.add_patch(_rectangle(box, ec=RIGHT, lw=1.4, ls=(0, (3, 2))))
    axes.add_patch(_rectangle(boxes[best], ec=INK, lw=2.8))
    axes.add_patch(_rectangle(boxes[best], ec=ACCENT, lw=1.4))
    edge = [patheffects.withStroke(linewidth=2, foreground=INK)]
    left, top = np.maximum(boxes[best][:2], 0) + 0.015 * pair.size[0]
    axes.text(left, top, str(best), va="top", color="white", fontsize=7.5, path_effects=edge)
    axes.set(xlim=(0, pair.size[0]), ylim=(pair.size[1], 0))
    text = _below(side, word, best, truth)
    axes.set_xlabel(text, fontsize=7.5, linespacing=1.15, labelpad=2)


def _below(side: DirectionRecord, word: int, best: int, truth: bool) -> str:
    """Return the text below a panel: largest weight, contribution to the score, F1."""
    lines = [f"region {best}: {side.weights[-1][word, best]:.2f}"]
    if side.direction == "t2i":
        lines.append(f"contribution {side.contribution[word]:+.3f}")
        quality = side.quality[-1][word] if truth and side.quality else None
        lines += [f"F1 {quality[2]:.2f}"] if quality else []
    return "\n".join(lines).replace("-", "\N{MINUS SIGN}")


def lit(
    picture: Image.Image, boxes: np.ndarray, size: tuple[int, int], relative: np.ndarray
) -> np.ndarray:
    """Return a picture ``[H, W, 3]`` in 0 to 1, dark where no region has weight.

    A pixel is as bright as the brightest region that covers it; ``relative [R]`` are weights
    relative to the largest, ``boxes [R, 4]`` in the coordinates of a picture of this ``size``.
    """
    pixels = np.asarray(picture.convert("RGB"), float) / 255
    tall, wide = pixels.shape[:2]
    scaled = boxes * np.tile([wide / size[0], tall / size[1]], 2)
    places = np.column_stack([np.floor(scaled[:, :2]), np.ceil(scaled[:, 2:])]).clip(0).astype(int)
    bright = np.zeros((tall, wide, 1))
    for r in np.argsort(relative, kind="stable"):  # the brightest last, on top
        left, top, right, bottom = places[r]
        bright[top:bottom, left:right] = relative[r]
    veil = MAX_VEIL * (1 - bright)
    return (1 - veil) * pixels + veil * np.array(to_rgb(VEIL))


def _rectangle(box: np.ndarray, **style: Any) -> patches.Rectangle:
    left, top, right, bottom = box
    return patches.Rectangle((left, top), right - left, bottom - top, fill=False, **style)


def _picture(pair: Pair) -> Image.Image:
    """Return the picture of a pair at the size of a panel, or a plain one where it has none."""
    if pair.picture is None:
        picture = Image.new("RGB", (max(pair.size[0], 1), max(pair.size[1], 1)), ACCENT)
    else:
        data = base64.b64decode(pair.picture.partition(",")[2])
        picture = Image.open(BytesIO(data)).convert("RGB")
    picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return picture


def _under(axes: Axes, pair: Pair, pixels: np.ndarray) -> None:
    """Draw a picture in the coordinates of the boxes."""
    extent = (0, pair.size[0], pair.size[1], 0)
    axes.imshow(pixels, extent=extent, interpolation="none")


def _legend(figure: Figure, top: Axes, records: Sequence[PairRecord], truth: bool) -> None:
    """Draw the picture without a veil, and the legend of brightness and frames."""
    pair = records[0].pair
    if pair.picture is not None:
        _under(top, pair, np.asarray(_picture(pair)))
    else:
        top.set_axis_off()
    wide, high = figure.get_size_inches()
    place = top.get_position()
    left, down = (place.x1 * wide + 0.25 if pair.picture is not None else 0.3), 0.5
    bar = figure.add_axes((left / wide, 1 - down / high, 2.2 / wide, 0.1 / high))
    bar.imshow(np.linspace(0, 1, 64)[None], cmap=WEIGHTS, aspect="auto", extent=(0, 1, 0, 1))
    bar.set(yticks=[])
    bar.set_xticks([0, 1], ["dark: none", "bright: the word's largest"])
    bar.tick_params(labelsize=7.5, length=0, pad=2)
    first, last = bar.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    bar.spines[:].set_visible(False)
    lines = ["framed: the region with the largest weight"]
    lines += ["dashed: the object that the word names"] if truth and pair.true_boxes else []
    lines += [f"{records[0].name}, {_scored(records[0])}"] if len(records) == 1 else []
    figure.text(left / wide, 1 - (down + 0.22) / high, "\n".join(lines), va="top", fontsize=7.5)
