"""Static charts of a pair: passes, contributions to the score, and two methods compared.

The input is a record of `pair_records.pair_record`; `attention_maps` draws it over the picture.

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
from itm_book.pairs.pair_records import DirectionRecord, PairRecord, one_pair
from itm_core.errors import InputError

LOSS = "#d55e00"  # of a negative contribution
MOST_REGIONS = 8  # with separate bars, in i2t


def steps(record: PairRecord, *, direction: str | None = None) -> Figure:
    """Return attention, temperature and pooling weight of every pass.

    There is a row of panels for every pass of attention or step of the pooling, with a line for
    each query. A method without regulators has one pass, one temperature, and no pooling weights.

    Raises `InputError` for a direction that the method does not have.
    """
    side = record.direction(direction)
    t2i = side.direction == "t2i"
    rows = record.pair.words if t2i else [str(r) for r in range(record.pair.regions)]
    count = max(len(side.weights), len(side.pooling))
    bars = [("temperature", side.temperature)]
    bars += [("pooling weight", side.pooling)] if side.pooling else []
    ratios = [4.0 if t2i else 2.2, *[1.0] * len(bars)]
    with styled():
        shape = (8.2, count * (0.5 + 0.17 * len(rows)) + 0.4)
        figure, grid = plt.subplots(
            count, len(ratios), figsize=shape, squeeze=False, width_ratios=ratios
        )
        for k, line in enumerate(grid):
            _attention(line[0], side, k, rows)
            for axes, (title, values) in zip(line[1:], bars, strict=True):
                _row_bars(axes, values, k, title, len(rows))
        figure.suptitle(record.name, fontsize=11, fontweight="bold", x=0.01, ha="left")
        return finished(figure)


def contributions(records: Records) -> Figure:
    """Return a waterfall chart of the contributions of the queries to the score.

    The last two bars are the remainder, which belongs to no displayed query, and the score. In i2t
    the largest contributions have a bar each, the others one in common.

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


def compare(first: PairRecord, second: PairRecord, *, direction: str | None = None) -> Figure:
    """Return the difference of two methods on a pair, word by word.

    On the left the change of the weights from the first to the second (orange: larger, purple:
    smaller); in t2i also F1 of each word's attention, with annotations, and its contribution to
    the score, a dot per method.

    Args:
        direction: ``t2i`` or ``i2t``; by default the first that both have.

    Raises `InputError` for records of different pairs, or that have no direction in common.
    """
    words = one_pair([first, second]).words
    sides = _common(first, second, direction)
    change = sides[1].weights[-1] - sides[0].weights[-1]
    dots = _dots(*sides)
    names, colours = (first.name, second.name), _two_colours(first.name, second.name)
    with styled():
        figure, grid = plt.subplots(
            1, 1 + len(dots), figsize=(8.2, 1.25 + 0.19 * len(words)), squeeze=False,
            width_ratios=[3.2, *[1.2] * len(dots)],
        )  # fmt: skip
        reach = float(np.abs(change).max()) or 1.0
        cells(grid[0, 0], change, words, cmap="PuOr_r", low=-reach, high=reach)
        figure.colorbar(grid[0, 0].collections[0], ax=grid[0, 0], pad=0.01)
        grid[0, 0].set_title("change of the weights", fontsize=10, loc="left")
        label = f"region; orange: larger weight with {second.name}, purple: smaller"
        grid[0, 0].set_xlabel("\n".join(textwrap.wrap(label, 60)), fontsize=8.5)
        for axes, (title, pair) in zip(grid[0, 1:], dots, strict=True):
            _dumbbells(axes, pair, names, colours)
            axes.set_title(title, fontsize=10)
        lines = [plt.Line2D([], [], marker="o", ls="", color=colour) for colour in colours]
        figure.legend(lines, names, loc="outside lower center", ncols=2, fontsize=8.5)
        return finished(figure)


def _attention(axes: Axes, side: DirectionRecord, k: int, rows: Sequence[str]) -> None:
    """Draw the k-th pass with queries as rows; nothing where only the pooling has this step."""
    if k >= len(side.weights):
        axes.set_axis_off()
        return
    weights = side.weights[k]
    cells(axes, weights if side.direction == "t2i" else weights.T, rows)
    if side.direction == "i2t":
        axes.set_yticks(np.arange(0, len(rows), 5) + 0.5, rows[::5])
    axes.set_title(f"attention, pass {k + 1}", fontsize=10, loc="left")
    axes.set_xlabel("region" if side.direction == "t2i" else "word", fontsize=8.5)


def _row_bars(axes: Axes, steps: Sequence[np.ndarray], k: int, title: str, rows: int) -> None:
    """Draw horizontal bars of the k-th step, a bar per row of the matrix, on a common scale."""
    if k >= len(steps):
        axes.set_axis_off()
        return
    reach = max(float(values.max()) for values in steps)
    axes.barh(np.arange(rows) + 0.5, steps[k], 0.7, color=OTHERS[1])
    axes.set(xlim=(0, 1.05 * reach or 1), ylim=(rows, 0), yticks=[])
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=8.5)


def _parts(record: PairRecord) -> list[tuple[str, float]]:
    """Return name and size of every part of the score."""
    parts: list[tuple[str, float]] = []
    for side in record.directions:
        if side.direction == "t2i":
            parts += zip(record.pair.words, side.contribution.tolist(), strict=True)
            continue
        order = np.argsort(-np.abs(side.contribution), kind="stable")
        largest, others = order[:MOST_REGIONS], order[MOST_REGIONS:]
        parts += [(f"region {r}", float(side.contribution[r])) for r in largest]
        if len(others):
            parts.append((f"{len(others)} regions", float(side.contribution[others].sum())))
    return [*parts, ("remainder", record.remainder)]


def _waterfall(axes: Axes, bars: Sequence[tuple[str, float]], score: float, colour: str) -> None:
    ends = np.cumsum([part for _, part in bars])
    for place, ((name, part), end) in enumerate(zip(bars, ends, strict=True)):
        shade = FAINT if name == "remainder" else colour if part >= 0 else LOSS
        axes.barh(place, part, 0.72, left=end - part, color=shade)
        axes.plot([end, end], [place - 0.36, place + 1.36], color=FAINT, lw=0.6)
    axes.barh(len(bars), score, 0.72, color=INK)
    axes.set_yticks(range(len(bars) + 1), [*(name for name, _ in bars), "score"], fontsize=8.5)
    axes.axvline(0, color=INK, lw=0.8)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT, alpha=0.25)
    text = f"contributions to the score of {score:.3f}"
    axes.set_xlabel(text.replace("-", "\N{MINUS SIGN}"), fontsize=8.5)


def _common(
    first: PairRecord, second: PairRecord, direction: str | None
) -> tuple[DirectionRecord, DirectionRecord]:
    if direction is None:
        available = [side.direction for side in second.directions]
        both = [side.direction for side in first.directions if side.direction in available]
        if not both:
            raise InputError(
                "the methods have no direction of attention in common",
                found=f"{first.direction().direction} of {first.name}, "
                f"{second.direction().direction} of {second.name}",
                remedy="attention_maps.matrix([first, second]) draws both",
            )
        direction = both[0]
    return first.direction(direction), second.direction(direction)


def _dots(first: DirectionRecord, second: DirectionRecord) -> list[tuple[str, np.ndarray]]:
    """Return title and values ``[2, L]`` of every number of the words under both methods."""
    if first.direction != "t2i":
        return []
    dots: list[tuple[str, np.ndarray]] = []
    if first.quality and second.quality:
        f1 = [[q[2] if q else np.nan for q in side.quality[-1]] for side in (first, second)]
        dots.append(("attention F1", np.array(f1)))
    return [*dots, ("contribution", np.array([first.contribution, second.contribution]))]


def _dumbbells(axes: Axes, both: np.ndarray, names: Sequence[str], colours: Sequence[str]) -> None:
    places = np.arange(both.shape[1]) + 0.5
    axes.hlines(places, *both, color=FAINT, lw=1)
    for values, colour, name in zip(both, colours, names, strict=True):
        axes.plot(values, places, "o", color=colour, ms=4, label=name)
    axes.set(ylim=(both.shape[1], 0), yticks=[])
    axes.grid(axis="x", color=FAINT, alpha=0.25)
    axes.tick_params(labelsize=8.5)
    axes.locator_params(axis="x", nbins=4)


def _two_colours(first: str, second: str) -> tuple[str, str]:
    """Return two different colours for two methods."""
    colours = colour_of(first), colour_of(second, 1)
    return colours[0], OTHERS[1] if colours[0] == colours[1] else colours[1]
