"""Distributions drawn: curves of shares, ridges, and means over bins.

Page: "Regulators in motion", "Similarity distributions".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from itm_book.figures.style import FAINT, INK, STROKES, finished, styled
from itm_core.evaluation.statistics import half_width, sd

LEFT, BLUE = "#d55e00", "#0072b2"
SHADES = ("#9ecae1", "#0072b2", "#08306b", "#000000")  # of passes, light to dark
BINS = 120
WRONG = "wrong"

Panels = Mapping[str, Mapping[str, np.ndarray]]  # title of a panel: name of a curve: values


def shares(panels: Panels, *, columns: int = 2) -> Figure:
    """Return for every panel the share of values below x, one curve for each name (ECDF).

    A curve that rises at once is a narrow distribution; where it crosses one half is the median.
    Names that begin with *wrong* are dashed.
    """
    with styled():
        rows = -(-len(panels) // columns)
        figure, grid = plt.subplots(rows, columns, figsize=(8.2, 2.6 * rows + 0.4), squeeze=False)
        names = sorted(
            dict.fromkeys(name for curves in panels.values() for name in curves),
            key=lambda name: (name.startswith(WRONG), name),
        )
        for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
            for name, values in curves.items():
                _share(axes, values[~np.isnan(values)], name, names)
            axes.set(title=title, ylim=(0, 1))
            axes.grid(color=FAINT, alpha=0.2)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("share below")
        known = {
            name: line
            for axes in grid.flat
            for line, name in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        lines = [known[name] for name in names if name in known]
        shown = [name for name in names if name in known]
        figure.legend(lines, shown, loc="outside lower center", ncols=4, fontsize=8.5)
        return finished(figure)


def _share(axes: Axes, values: np.ndarray, name: str, names: Sequence[str]) -> None:
    if not len(values):
        return
    wrong = name.startswith(WRONG)
    same = [one for one in names if one.startswith(WRONG) == wrong]
    colour = LEFT if wrong else SHADES[min(same.index(name), len(SHADES) - 1)]
    axes.ecdf(values, label=name, color=colour, ls="--" if wrong else "-", lw=1.8)


def ridges(
    rows: Panels,
    *,
    title: str,
    unit: str,
    colours: Mapping[str, str],
    mark: float | None = None,
    doubling: bool = False,
) -> Figure:
    """Return a ridge for every row: the densities of its named values, one over the other.

    ``colours`` are those of the names; ``mark`` is a value with a line through all rows, and what
    lies below it is red where a row has one name alone. ``doubling`` draws positive values on a
    scale where each step doubles. Every row has its own height, so heights are not compared
    between rows. Short lines are medians.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 1.3 + 0.5 * len(rows)))
        scale = np.log2 if doubling else np.asarray
        shown = {
            row: {name: scale(values[~np.isnan(values)]) for name, values in named.items()}
            for row, named in rows.items()
        }
        every = np.concatenate([v for named in shown.values() for v in named.values()])
        low, high = np.percentile(every, [0.1, 99.9]) if len(every) else (0.0, 1.0)
        pad = 0.03 * ((high - low) or 1.0)
        edges = np.linspace(low - pad, high + pad, BINS + 1)
        line = None if mark is None else float(scale(mark))
        for place, named in enumerate(shown.values()):
            _ridge(axes, place, named, edges, colours, line)
        if line is not None:
            axes.axvline(line, color=INK, lw=0.8, ls=":")
        if doubling:
            axes.xaxis.set_major_locator(MultipleLocator(1 if high - low > 1.5 else 0.25))
            axes.xaxis.set_major_formatter(lambda value, _: f"{2.0**value:.2g}")
        axes.set_yticks(range(len(rows)), list(rows), fontsize=9)
        axes.set_ylim(len(rows) - 0.8, -1.0)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set(xlabel=unit, title=title, xlim=(edges[0], edges[-1]))
        axes.grid(axis="x", color=FAINT, alpha=0.25)
        _named(figure, colours)
        return finished(figure)


def _ridge(
    axes: Axes,
    place: int,
    named: Mapping[str, np.ndarray],
    edges: np.ndarray,
    colours: Mapping[str, str],
    mark: float | None,
) -> None:
    """Draw the densities of one row, the highest of them as high as a row is."""
    middle = (edges[1:] + edges[:-1]) / 2
    found = {name: _density(values, edges) for name, values in named.items()}
    top = max((density.max() for density in found.values()), default=0) or 1.0
    for name, density in found.items():
        line, colour = place - 0.85 * density / top, colours[name]
        start = edges[0]
        if mark is not None and len(named) == 1:
            below = np.linspace(edges[0], max(mark, edges[0]), BINS)
            axes.fill_between(
                below, place, np.interp(below, middle, line), color=LEFT, alpha=0.5, lw=0
            )
            start = below[-1]
        rest = np.linspace(start, edges[-1], BINS)
        axes.fill_between(
            rest, place, np.interp(rest, middle, line), color=colour, alpha=0.35, lw=0
        )
        axes.plot(middle, line, color=colour, lw=1.1)
        if len(named[name]):
            at = float(np.median(named[name]))
            axes.plot([at, at], [place, place - 0.3], color=colour, lw=2.2)
    axes.axhline(place, color=FAINT, lw=0.5, zorder=0)


def _density(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return a smoothed histogram; unlike a kernel estimate it minds no values that are equal."""
    count, _ = np.histogram(values, edges)
    bell = np.exp(-0.5 * (np.arange(-6, 7) / 1.8) ** 2)
    return np.convolve(count / max(count.sum(), 1), bell / bell.sum(), "same")


def _named(figure: Figure, colours: Mapping[str, str]) -> None:
    patches = [plt.Rectangle((0, 0), 1, 1, color=colour, alpha=0.6) for colour in colours.values()]
    if len(patches) > 1:
        figure.legend(
            patches, list(colours), loc="outside lower center", ncols=len(patches), fontsize=8.5
        )


def binned(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    x: str,
    y: str,
    title: str,
    bins: int = 8,
) -> Figure:
    """Return means of y over bins of x with as many values each, one line for each named pair.

    Bars are 95 % intervals of the mean (Student's t). Values that are NaN are left out.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 3.4))
        for place, (name, (across, up)) in enumerate(curves.items()):
            known = ~(np.isnan(across) | np.isnan(up))
            parts = np.array_split(np.argsort(across[known], kind="stable"), bins)
            parts = [part for part in parts if len(part) > 1]
            a, b = across[known], up[known]
            means = [b[part].mean() for part in parts]
            error = [half_width(sd(b[part]), len(part)) for part in parts]
            middle = [a[part].mean() for part in parts]
            colour = (BLUE, LEFT)[place % 2]
            axes.errorbar(
                middle, means, error, fmt="o", ls=STROKES[place % 4], ms=4, lw=1.3, capsize=2,
                color=colour, label=name,
            )  # fmt: skip
        axes.axhline(0, color=INK, lw=0.8)
        axes.set(xlabel=x, ylabel=y, title=title)
        axes.legend(fontsize=8.5)
        return finished(figure)
