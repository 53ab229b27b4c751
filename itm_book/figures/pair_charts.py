"""The numbers of a pair, to be printed: pass by pass, as shares of the score, method by method.

All take what `pair_records.pair_record` returns. `looks` draws the same records over the picture.

Page: "Figure gallery"; "RCAR".
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_book.figures.attention_maps import Records, cells, several
from itm_book.figures.style import FAINT, INK, OTHERS, colour_of, finished, styled
from itm_book.pairs.pair_records import Asking, PairRecord, one_pair
from itm_core.errors import InputError

LOSS = "#d55e00"  # of a share that lowers the score
MOST_REGIONS = 8  # with a bar of their own, where regions share the score


def steps(record: PairRecord, *, direction: str | None = None) -> Figure:
    """Return how a method looked, pass by pass: attention, temperature, weight in the pooling.

    One row of panels for every pass of attention or step of the pooling; within it a line for
    each word (where regions ask, for each region). A method without regulators has one pass, one
    temperature for all, and no weights in the pooling.

    Raises `InputError` for a direction that the method does not have.
    """
    asking = record.asking(direction)
    words_ask = asking.direction == "t2i"
    rows = record.pair.words if words_ask else [str(r) for r in range(record.pair.regions)]
    count = max(len(asking.weights), len(asking.pooling))
    bars = [("temperature", asking.temperature)]
    bars += [("pooling weight", asking.pooling)] if asking.pooling else []
    ratios = [4.0 if words_ask else 2.2, *[1.0] * len(bars)]
    with styled():
        shape = (8.2, count * (0.5 + 0.17 * len(rows)) + 0.4)
        figure, grid = plt.subplots(
            count, len(ratios), figsize=shape, squeeze=False, width_ratios=ratios
        )
        for k, line in enumerate(grid):
            _attention(line[0], asking, k, rows)
            for axes, (title, values) in zip(line[1:], bars, strict=True):
                _lying(axes, values, k, title, len(rows))
        figure.suptitle(record.name, fontsize=11, fontweight="bold", x=0.01, ha="left")
        return finished(figure)


def contributions(records: Records) -> Figure:
    """Return what each word adds to the score: bars, each from where the last ended.

    The last two are the rest, which no word or region shown accounts for, and their sum, the
    score. Where regions share the score, the largest shares have a bar each, the others one.

    Raises `InputError` for records of different pairs.
    """
    records = several(records)
    one_pair(records)
    parts = [_parts(record) for record in records]
    with styled():
        tall = 0.9 + 0.19 * (1 + max(map(len, parts)))
        figure, grid = plt.subplots(1, len(records), figsize=(8.2, tall), squeeze=False)
        for place, (axes, record, bars) in enumerate(zip(grid[0], records, parts, strict=True)):
            _waterfall(axes, bars, record.score, colour_of(record.name, place))
            axes.set_title(record.name, fontsize=10)
        return finished(figure)


def compare(one: PairRecord, other: PairRecord, *, direction: str | None = None) -> Figure:
    """Return how two methods differ on a pair, word by word.

    On the left what the other weighs more (orange) or less (purple) than the one; then F1 of each
    word's attention, where the dataset knows, and where words ask their share of the score, a dot
    for either method.

    Args:
        direction: in which both look; by default the first that both have.

    Raises `InputError` for records of different pairs, or that have no direction in common.
    """
    words = one_pair([one, other]).words
    ours, theirs = _common(one, other, direction)
    change = theirs.weights[-1] - ours.weights[-1]
    dots = _dots(ours, theirs)
    names, colours = (one.name, other.name), _two_colours(one.name, other.name)
    with styled():
        figure, grid = plt.subplots(
            1, 1 + len(dots), figsize=(8.2, 1.25 + 0.19 * len(words)), squeeze=False,
            width_ratios=[3.2, *[1.2] * len(dots)],
        )  # fmt: skip
        reach = float(np.abs(change).max()) or 1.0
        cells(grid[0, 0], change, words, cmap="PuOr_r", low=-reach, high=reach)
        figure.colorbar(grid[0, 0].collections[0], ax=grid[0, 0], pad=0.01)
        grid[0, 0].set_title("change of the weights", fontsize=10, loc="left")
        said = f"region; orange: {other.name} weighs more, purple: less"
        grid[0, 0].set_xlabel("\n".join(textwrap.wrap(said, 60)), fontsize=8.5)
        for axes, (title, pair) in zip(grid[0, 1:], dots, strict=True):
            _dumbbells(axes, pair, names, colours)
            axes.set_title(title, fontsize=10)
        lines = [plt.Line2D([], [], marker="o", ls="", color=colour) for colour in colours]
        figure.legend(lines, names, loc="outside lower center", ncols=2, fontsize=8.5)
        return finished(figure)


def _attention(axes: Axes, asking: Asking, k: int, rows: Sequence[str]) -> None:
    """Draw the k-th pass, who asks in the rows; nothing where pooling takes more steps."""
    if k >= len(asking.weights):
        axes.set_axis_off()
        return
    weights = asking.weights[k]
    cells(axes, weights if asking.direction == "t2i" else weights.T, rows)
    if asking.direction == "i2t":
        axes.set_yticks(np.arange(0, len(rows), 5) + 0.5, rows[::5])
    axes.set_title(f"attention, pass {k + 1}", fontsize=10, loc="left")
    axes.set_xlabel("region" if asking.direction == "t2i" else "word, by its place", fontsize=8.5)


def _lying(axes: Axes, steps: Sequence[np.ndarray], k: int, title: str, rows: int) -> None:
    """Draw a number of the k-th step for each row of the matrix beside it, on one scale."""
    if k >= len(steps):
        axes.set_axis_off()
        return
    reach = max(float(values.max()) for values in steps)
    axes.barh(np.arange(rows) + 0.5, steps[k], 0.7, color=OTHERS[1])
    axes.set(xlim=(0, 1.05 * reach or 1), ylim=(rows, 0), yticks=[])
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=8)


def _parts(record: PairRecord) -> list[tuple[str, float]]:
    """Return the names and sizes of all that adds up to the score."""
    parts: list[tuple[str, float]] = []
    for asking in record.directions:
        if asking.direction == "t2i":
            parts += zip(record.pair.words, asking.contribution.tolist(), strict=True)
            continue
        order = np.argsort(-np.abs(asking.contribution), kind="stable")
        largest, others = order[:MOST_REGIONS], order[MOST_REGIONS:]
        parts += [(f"region {r}", float(asking.contribution[r])) for r in largest]
        if len(others):
            parts.append((f"{len(others)} regions", float(asking.contribution[others].sum())))
    return [*parts, ("rest", record.rest)]


def _waterfall(axes: Axes, bars: Sequence[tuple[str, float]], score: float, colour: str) -> None:
    ends = np.cumsum([share for _, share in bars])
    for place, ((name, share), end) in enumerate(zip(bars, ends, strict=True)):
        shade = FAINT if name == "rest" else colour if share >= 0 else LOSS
        axes.barh(place, share, 0.72, left=end - share, color=shade)
        axes.plot([end, end], [place - 0.36, place + 1.36], color=FAINT, lw=0.6)
    axes.barh(len(bars), score, 0.72, color=INK)
    axes.set_yticks(range(len(bars) + 1), [*(name for name, _ in bars), "score"], fontsize=8)
    axes.axvline(0, color=INK, lw=0.8)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT, alpha=0.25)
    text = f"shares of the score, {score:.3f} in all"
    axes.set_xlabel(text.replace("-", "\N{MINUS SIGN}"), fontsize=8.5)


def _common(one: PairRecord, other: PairRecord, direction: str | None) -> tuple[Asking, Asking]:
    if direction is None:
        known = [asking.direction for asking in other.directions]
        both = [asking.direction for asking in one.directions if asking.direction in known]
        if not both:
            raise InputError(
                "these methods do not look the same way: their weights cannot be compared",
                found=f"{one.asking().direction} of {one.name}, "
                f"{other.asking().direction} of {other.name}",
                remedy="looks.matrix([one, other]) draws them under one another",
            )
        direction = both[0]
    return one.asking(direction), other.asking(direction)


def _dots(ours: Asking, theirs: Asking) -> list[tuple[str, np.ndarray]]:
    """Return the title and the values ``[2, L]`` of every number that each word has of either."""
    if ours.direction != "t2i":
        return []
    found: list[tuple[str, np.ndarray]] = []
    if ours.quality and theirs.quality:
        f1 = [[q[2] if q else np.nan for q in one.quality[-1]] for one in (ours, theirs)]
        found.append(("attention F1", np.array(f1)))
    return [*found, ("share of score", np.array([ours.contribution, theirs.contribution]))]


def _dumbbells(axes: Axes, both: np.ndarray, names: Sequence[str], colours: Sequence[str]) -> None:
    places = np.arange(both.shape[1]) + 0.5
    axes.hlines(places, *both, color=FAINT, lw=1)
    for values, colour, name in zip(both, colours, names, strict=True):
        axes.plot(values, places, "o", color=colour, ms=4, label=name)
    axes.set(ylim=(both.shape[1], 0), yticks=[])
    axes.grid(axis="x", color=FAINT, alpha=0.25)
    axes.tick_params(labelsize=8)
    axes.locator_params(axis="x", nbins=4)


def _two_colours(one: str, other: str) -> tuple[str, str]:
    """Return the colours of two methods, never the same."""
    first, second = colour_of(one), colour_of(other, 1)
    return first, OTHERS[1] if first == second else second
