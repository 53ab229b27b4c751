"""Figures of what regulators change: cumulative distributions, ridges, binned means.

Page: "Regulators in motion".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_book.chapters.regulators_in_motion.measures import RegulatorTrace
from itm_book.chapters.regulators_in_motion.tables import (
    CHANGES,
    KINDS,
    MEASURES,
    measure_values,
    query_kinds,
)
from itm_book.figures.distributions import ridges
from itm_book.figures.style import FAINT, INK, STROKES, finished, styled
from itm_core.evaluation.statistics import half_width, sd

ORANGE, BLUE = "#d55e00", "#0072b2"
SHADES = ("#9ecae1", "#0072b2", "#08306b", "#000000")  # passes or steps, light to dark
STEP_COLOURS = ("#56b4e9", "#009e73")  # first and last step
MARKS = ("o", "s", "D", "^", "v")  # of the medians
NEGATIVE = "hard negative"
BINS = 8

Panels = Mapping[str, Mapping[str, np.ndarray]]  # values by title of the panel and name


def pass_distributions(matching: RegulatorTrace, negative: RegulatorTrace) -> Figure:
    """Return the cumulative distributions of every measure by pass."""
    return ecdf_panels(pass_panels(matching, negative))


def pooling_distributions(traces: Mapping[str, tuple[RegulatorTrace, RegulatorTrace]]) -> Figure:
    """Return the cumulative distributions of the effective number of words that RAR pools.

    ``traces`` hold those of matching images and of hard negatives for each method.
    """
    return ecdf_panels(pooling_panels(traces))


def pooling_ridges(trace: RegulatorTrace, kinds: Sequence[Sequence[str]], *, title: str) -> Figure:
    """Return the densities of RAR's weights by kind of word, in the first and the last step."""
    rows = pooling_by_kind(trace, kinds)
    steps = list(dict.fromkeys(name for row in rows.values() for name in row))
    return ridges(
        rows,
        title=title,
        unit="weight in the pooling (log scale; 1 is mean pooling)",
        colours=dict(zip(steps, STEP_COLOURS, strict=False)),
        mark=1,
        log2=True,
    )


def quality_by_temperature(trace: RegulatorTrace) -> Figure:
    """Return binned means of the gain in attention quality against the temperature rise."""
    return binned_means(
        temperature_gains(trace),
        x="temperature rise of the word from the first pass to the last",
        y="gain (percentage points)",
        title="temperature rise and attention quality",
    )


# --- data of the figures ----------------------------------------------------------------------


def pass_panels(
    matching: RegulatorTrace, negative: RegulatorTrace
) -> dict[str, dict[str, np.ndarray]]:
    """Return the values of every measure by pass, for matching images and hard negatives.

    A pass in which a measure is constant by construction is left out: channel factors and
    attention shift in the first pass.
    """
    panels: dict[str, dict[str, np.ndarray]] = {}
    for measure in (
        "temperature",
        "factor_change",
        "clamped",
        "shift",
        "effective_keys",
        "max_weight",
    ):
        passes = measure_values(matching, measure)
        corrected = measure in CHANGES
        curves = {
            f"pass {k + 1}": values for k, values in enumerate(passes) if not (corrected and k == 0)
        }
        curves[f"{NEGATIVE}, last pass"] = measure_values(negative, measure)[-1]
        if len(passes) > 1 or not corrected:
            panels[MEASURES[measure]] = curves
    return panels


def pooling_panels(
    traces: Mapping[str, tuple[RegulatorTrace, RegulatorTrace]],
) -> dict[str, dict[str, np.ndarray]]:
    """Return the effective number of words that RAR pools, in percent of all, by step."""
    panels = {}
    for name, (matching, negative) in traces.items():
        curves = {f"step {k + 1}": 100 * row for k, row in enumerate(matching.effective_queries)}
        curves[f"{NEGATIVE}, last step"] = 100 * negative.effective_queries[-1]
        panels[f"{name}: effective number of words (%)"] = curves
    return panels


def pooling_by_kind(
    trace: RegulatorTrace, kinds: Sequence[Sequence[str]]
) -> dict[str, dict[str, np.ndarray]]:
    """Return RAR's weights in the first and the last step for the words of every kind."""
    label, last = query_kinds(trace, kinds), len(trace.pooling) - 1
    return {
        kind: {f"step {k + 1}": trace.pooling[k, label == kind] for k in dict.fromkeys((0, last))}
        for kind in KINDS
        if (label == kind).any()
    }


def temperature_gains(trace: RegulatorTrace) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return temperature rise and gain in F1 and mass (percentage points) of every word.

    Where the dataset has no ground truth: the gain in the largest weight.
    """
    rise = trace.temperature[-1] - trace.temperature[0]
    gains = {}
    for measure in ("f1", "mass") if trace.has_quality else ("max_weight",):
        passes = measure_values(trace, measure)
        gains[MEASURES[measure].removesuffix(" (%)")] = (rise, passes[-1] - passes[0])
    return gains


# --- drawing ----------------------------------------------------------------------------------


def ecdf_panels(panels: Panels, *, columns: int = 2) -> Figure:
    """Return the empirical cumulative distribution of each named array, a panel per title.

    Names that start with `NEGATIVE` are dashed; an open mark on each line is its
    median, so that equal medians are all visible. NaN values are left out.
    """
    with styled():
        rows = -(-len(panels) // columns)
        figure, grid = plt.subplots(rows, columns, figsize=(8.2, 2.6 * rows + 0.4), squeeze=False)
        names = sorted(
            dict.fromkeys(name for curves in panels.values() for name in curves),
            key=lambda name: (name.startswith(NEGATIVE), name),
        )
        for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
            for name, values in curves.items():
                _ecdf(axes, values[~np.isnan(values)], name, names)
            axes.set(title=title, ylim=(0, 1))
            axes.grid(color=FAINT, alpha=0.2)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("cumulative fraction")
        lines = {
            name: line
            for axes in grid.flat
            for line, name in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        drawn = [name for name in names if name in lines]
        figure.legend(
            [lines[name] for name in drawn], drawn, loc="outside lower center", ncols=4,
            fontsize=8.5,
        )  # fmt: skip
        return finished(figure)


def _ecdf(axes: Axes, values: np.ndarray, name: str, names: Sequence[str]) -> None:
    if not len(values):
        return
    negative = name.startswith(NEGATIVE)
    group = [other for other in names if other.startswith(NEGATIVE) == negative]
    colour = ORANGE if negative else SHADES[min(group.index(name), len(SHADES) - 1)]
    axes.ecdf(values, color=colour, ls="--" if negative else "-", lw=1.8)
    mark = MARKS[names.index(name) % len(MARKS)]
    shape: dict[str, Any] = {"marker": mark, "color": colour, "mfc": "none", "mew": 1.6}
    axes.plot(np.median(values), 0.5, ls="", ms=9, zorder=3, **shape)
    axes.plot([], [], ls="--" if negative else "-", ms=6, lw=1.8, label=name, **shape)


def binned_means(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    x: str,
    y: str,
    title: str,
    bins: int = BINS,
) -> Figure:
    """Return means of y over quantile bins of x, one line for each named pair of arrays.

    Bars are 95 % intervals of the mean (Student's t). NaN values are left out.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 3.4))
        for place, (name, (across, up)) in enumerate(curves.items()):
            valid = ~(np.isnan(across) | np.isnan(up))
            parts = np.array_split(np.argsort(across[valid], kind="stable"), bins)
            parts = [part for part in parts if len(part) > 1]
            a, b = across[valid], up[valid]
            means = [b[part].mean() for part in parts]
            error = [half_width(sd(b[part]), len(part)) for part in parts]
            axes.errorbar(
                [a[part].mean() for part in parts], means, error, fmt="o", ls=STROKES[place % 4],
                ms=4, lw=1.3, capsize=2, color=(BLUE, ORANGE)[place % 2], label=name,
            )  # fmt: skip
        axes.axhline(0, color=INK, lw=0.8)
        axes.set(xlabel=x, ylabel=y, title=title)
        axes.legend(fontsize=8.5)
        return finished(figure)
