"""Ridge plots of several distributions.

Page: "Regulators in motion", "Similarity distributions".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from itm_book.figures.style import FAINT, INK, finished, styled

BELOW = "#d55e00"  # values below the mark
BINS = 120


def ridges(
    rows: Mapping[str, Mapping[str, np.ndarray]],
    *,
    title: str,
    unit: str,
    colours: Mapping[str, str],
    mark: float | None = None,
    log2: bool = False,
) -> Figure:
    """Return a ridge for every row: the densities of its named arrays of values.

    Every row is scaled to the same height, so heights are not comparable between rows. Short
    lines are medians. NaN values are left out. The axis covers at least 99.8 % of each array.

    Args:
        rows: values by row and name.
        unit: label of the x axis.
        colours: by name.
        mark: draws a vertical line at this value; in rows with one name, the density below it is
            filled in `BELOW`.
        log2: logarithmic x axis for positive values, with ticks at powers of two where three of
            them are in the range, else at round values.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 1.3 + 0.5 * len(rows)))
        scale = np.log2 if log2 else np.asarray
        scaled = {
            row: {name: scale(values[~np.isnan(values)]) for name, values in named.items()}
            for row, named in rows.items()
        }
        edges = _bin_edges([values for named in scaled.values() for values in named.values()])
        line = None if mark is None else float(scale(mark))
        for place, named in enumerate(scaled.values()):
            _ridge(axes, place, named, edges, colours, line)
        if line is not None:
            axes.axvline(line, color=INK, lw=0.8, ls=":")
        if log2:
            axes.xaxis.set_major_locator(FixedLocator(_log2_ticks(edges[0], edges[-1])))
            axes.xaxis.set_major_formatter(lambda value, _: f"{2.0**value:.4g}")
        axes.set_yticks(range(len(rows)), list(rows), fontsize=9)
        axes.set_ylim(len(rows) - 0.8, -1.0)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set(xlabel=unit, title=title, xlim=(edges[0], edges[-1]))
        axes.grid(axis="x", color=FAINT, alpha=0.25)
        _legend(figure, colours)
        return finished(figure)


def _bin_edges(arrays: list[np.ndarray]) -> np.ndarray:
    """Return common bin edges over the middle 99.8 % of every array, with a margin of 3 %.

    Percentiles of all values together would cut the tail of the widest array.
    """
    ends = [np.percentile(values, [0.1, 99.9]) for values in arrays if len(values)]
    low, high = (min(a for a, _ in ends), max(b for _, b in ends)) if ends else (0.0, 1.0)
    pad = 0.03 * ((high - low) or 1.0)
    return np.linspace(low - pad, high + pad, BINS + 1)


def _log2_ticks(low: float, high: float) -> list[float]:
    """Return the places of ticks between two logarithms to base two, see `ridges`."""
    powers = np.arange(np.ceil(low), np.floor(high) + 1)
    if len(powers) >= 3:
        return list(powers)
    values = np.asarray(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(2.0**low, 2.0**high))
    places = np.log2(values[values > 0])
    return list(places[(places >= low) & (places <= high)])


def _ridge(
    axes: Axes,
    place: int,
    named: Mapping[str, np.ndarray],
    edges: np.ndarray,
    colours: Mapping[str, str],
    mark: float | None,
) -> None:
    """Draw the densities of one row, scaled by the largest of them."""
    middle = (edges[1:] + edges[:-1]) / 2
    densities = {name: _density(values, edges) for name, values in named.items()}
    top = max((density.max() for density in densities.values()), default=0) or 1.0
    for name, density in densities.items():
        line, colour = place - 0.85 * density / top, colours[name]
        start = edges[0]
        if mark is not None and len(named) == 1:
            below = np.linspace(edges[0], max(mark, edges[0]), BINS)
            axes.fill_between(
                below, place, np.interp(below, middle, line), color=BELOW, alpha=0.5, lw=0
            )
            start = below[-1]
        above = np.linspace(start, edges[-1], BINS)
        axes.fill_between(
            above, place, np.interp(above, middle, line), color=colour, alpha=0.35, lw=0
        )
        axes.plot(middle, line, color=colour, lw=1.1)
        if len(named[name]):
            median = float(np.median(named[name]))
            axes.plot([median, median], [place, place - 0.3], color=colour, lw=2.2)
    axes.axhline(place, color=FAINT, lw=0.5, zorder=0)


def _density(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return a smoothed histogram; unlike a kernel estimate it allows constant values."""
    count, _ = np.histogram(values, edges)
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 1.8) ** 2)
    return np.convolve(count / max(count.sum(), 1), kernel / kernel.sum(), "same")


def _legend(figure: Figure, colours: Mapping[str, str]) -> None:
    patches = [plt.Rectangle((0, 0), 1, 1, color=colour, alpha=0.6) for colour in colours.values()]
    if len(patches) > 1:
        figure.legend(
            patches, list(colours), loc="outside lower center", ncols=len(patches), fontsize=8.5
        )
