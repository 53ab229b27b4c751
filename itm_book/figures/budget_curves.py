"""Gains against settings of the training, losses against that of a collapsed model.

Page: "How much training does a gain need?".
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Markdown
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_book.figures.dot_labels import Dot, label_dots
from itm_book.figures.style import ACCENT, FAINT, INK, colour_of, finished, styled

COLLAPSED = "#d55e00"
ROOM = 0.15  # of the range of the gains, above and below them
LEAST_REACH = 5.0  # in rSum, of an axis with small gains
HIGHEST_RATIO = 1.6  # a first epoch without a warm-up may cost five times as much as equal scores
MIN_BUDGETS = 2  # of a curve
MIN_DOTS = 3  # of a scatter plot


def gain_curves(table: pd.DataFrame, *, title: str) -> Figure | Markdown:
    """Return the gain of one comparison against each setting, a panel for each.

    ``table`` is of `budget.gains_by_setting`. A dot is a seed, a cross one of which a side
    collapsed, at the edge where it is outside; the line joins means over seeds, without budgets
    with a cross. The bar is the 95 % interval over seeds. A ring is the middle budget. With fewer
    than `MIN_BUDGETS` budgets, a sentence with their gains.
    """
    if _budgets(table) < MIN_BUDGETS:
        return _in_words(table, f"a curve needs {MIN_BUDGETS}")
    settings = list(dict.fromkeys(table["setting"]))
    limits = _limits(table)
    with styled():
        figure, panels = plt.subplots(
            -(-len(settings) // 3), 3, figsize=(8.2, 5.4), sharey=True, squeeze=False
        )
        for axes, setting in zip(panels.flat, settings, strict=False):
            part = table[table["setting"] == setting].sort_values("value")
            _gain_panel(axes, part.reset_index(drop=True), limits)
            axes.set(title=setting, ylim=limits)
        for axes in panels.flat[len(settings) :]:
            axes.set_axis_off()
        figure.suptitle(title, fontsize=11, fontweight="bold")
        figure.supylabel("gain in rSum over the host", fontsize=10)
        of_two = " (cut off for two seeds)" if (table["seeds"] == 2).any() else ""
        figure.supxlabel(
            "dot: a seed; cross: a side of it collapsed, not to scale at an edge; bar: 95 % "
            f"interval over seeds{of_two}; ring: the middle budget",
            fontsize=8.5,
        )
        return finished(figure)


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Return limits of the gains: every seed, every interval and zero are inside.

    Without seeds that collapsed, and budgets with one: their gains measure the collapse. Without
    intervals of two seeds: they are nine standard deviations to each side, and would
    leave no room for the curves. Their bars end at the edge.
    """
    seeds = zip(table["differences"], table["collapsed"], strict=True)
    values = [d for pair in seeds for d, pinned in zip(*pair, strict=True) if not pinned]
    several = table[(table["seeds"] > 2) & table["trained"]]
    values += [end for side in ("seeds_low", "seeds_high") for end in several[side]]
    low, high = min([*values, -LEAST_REACH]), max([*values, LEAST_REACH])
    room = ROOM * (high - low)
    return low - room, high + room


def _budgets(table: pd.DataFrame) -> int:
    """Return how many budgets were run; the middle one, once for each setting, counts once."""
    return int(table.loc[table["seeds"] > 0, "name"].nunique())


def _in_words(table: pd.DataFrame, needed: str) -> Markdown:
    """Return the recorded gains as a sentence that stands for a figure."""
    done = table[table["seeds"] > 0].drop_duplicates("name")
    gains = []
    for row in done.to_dict("records"):
        interval = "one seed, no interval"
        if row["seeds"] > 1:
            low, high = row["seeds_low"], row["seeds_high"]
            interval = f"95 % interval over {row['seeds']} seeds {low:+.1f} to {high:+.1f}"
        budget = "the middle budget" if row["middle"] else f"{row['setting']} {row['value']:g}"
        gains.append(
            f"{row['comparison']} at {budget}: {row['gain']:+.1f} rSum "
            f"({interval}; {row['effect'] if row['trained'] else 'a run collapsed'})"
        )
    return Markdown(f"{'; '.join(gains) or 'No budget is recorded yet'}. No chart: {needed}.")


def _gain_panel(axes: Axes, part: pd.DataFrame, limits: tuple[float, float]) -> None:
    colour = colour_of(str(part["name"].iloc[0]))
    done = part[part["trained"]]
    axes.axhline(0, color=INK, lw=0.8)
    axes.plot(done.index, done["gain"], color=colour, lw=1.5, zorder=2)
    for place, row in zip(part.index, part.to_dict("records"), strict=True):
        if not row["seeds"]:
            axes.text(place, 0, "not run", ha="center", va="bottom", color=FAINT, fontsize=8.5)
            continue
        if row["trained"]:
            _mean_over_seeds(axes, place, row, colour)
        for difference, pinned in zip(row["differences"], row["collapsed"], strict=True):
            mark, ink, width = ("x", COLLAPSED, 1.5) if pinned else ("o", INK, 1)
            shown = float(np.clip(difference, *limits))
            axes.plot(place, shown, mark, color=ink, ms=4, mew=width, zorder=4, clip_on=False)
    axes.set_xticks(range(len(part)), [f"{value:g}" for value in part["value"]])
    axes.set_xlim(-0.6, len(part) - 0.4)
    axes.grid(axis="y", color=FAINT, alpha=0.25)


def _mean_over_seeds(axes: Axes, place: int, row: Mapping[Hashable, Any], colour: str) -> None:
    """Draw the mean gain of a budget, its interval over seeds, and a ring if it is the middle."""
    axes.plot([place] * 2, [row["seeds_low"], row["seeds_high"]], color=colour, lw=4, alpha=0.3)
    axes.plot(place, row["gain"], "_", color=colour, ms=12, mew=2, zorder=3)
    if row["middle"]:
        axes.plot(place, row["gain"], "o", mfc="none", color=ACCENT, ms=13, mew=1.5, zorder=3)


def pinned_losses(runs: pd.DataFrame, *, title: str) -> Figure:
    """Return the loss of runs of `collapse.watched`, over that of equal scores, by epoch.

    A panel for each method, a colour for each length of the warm-up, a line for each seed. Only
    epochs with the hardest negatives are drawn: the loss of all negatives is another number. At 1
    the scores of a batch are equal, and the model has collapsed.
    """
    methods = list(dict.fromkeys(runs["method"])) or [""]
    lengths = sorted(set(runs["warmup"]))
    colours = dict(zip(lengths, sns.color_palette("viridis_r", len(lengths)), strict=True))
    with styled():
        figure, panels = plt.subplots(
            1, len(methods), figsize=(8.2, 3.4), sharey=True, squeeze=False
        )
        for axes, method in zip(panels[0], methods, strict=True):
            axes.axhline(1, color=COLLAPSED, lw=1, ls="--")
            for row in runs[runs["method"] == method].to_dict("records"):
                shown = row["curve"][row["curve"]["hardest"]]
                colour = colours[row["warmup"]]
                axes.plot(shown["epoch"], shown["ratio"], marker="o", ms=3, color=colour)
            axes.set(xlabel="epoch", title=method, ylim=(0, HIGHEST_RATIO))
            axes.xaxis.get_major_locator().set_params(integer=True)
        cut = any(
            curve.loc[curve["hardest"], "ratio"].max() > HIGHEST_RATIO for curve in runs["curve"]
        )
        cut_off = f", cut at {HIGHEST_RATIO:g}" if cut else ""
        panels[0, 0].set_ylabel(f"loss / (2 x margin x batch){cut_off}")
        lines = [plt.Line2D([], [], color=colours[length], marker="o", ms=3) for length in lengths]
        if lines:
            names = [f"warm-up {length}" for length in lengths]
            figure.legend(lines, names, loc="outside lower center", ncols=5, fontsize=8.5)
        else:
            panels[0, 0].text(0.1, 0.5, "no curve is recorded yet", color=FAINT)
        figure.suptitle(title, fontsize=11, fontweight="bold")
        return finished(figure)


def gain_against_host(table: pd.DataFrame, *, title: str) -> Figure | Markdown:
    """Return the gain of every budget against the rSum of its host, a panel per comparison.

    ``table`` is of `budget.gains_by_setting`; budgets are means over their seeds. Labels say
    what differs from the middle budget, a ring. A cross is a budget with a collapsed run, which
    does not set the limits of the axes: at an edge it is outside of them. A comparison with fewer
    than `MIN_DOTS` other budgets is left out; if all are, a sentence has their gains.
    """
    parts = table.groupby("comparison", sort=False)
    titles = [str(name) for name, part in parts if _budgets(part[part["trained"]]) >= MIN_DOTS]
    if not titles:
        return _in_words(table, f"a dot is a budget, and a comparison needs {MIN_DOTS}")
    with styled():
        figure, panels = plt.subplots(1, len(titles), figsize=(8.2, 4.4), squeeze=False)
        labelled: list[tuple[Axes, list[Dot]]] = []
        for axes, comparison in zip(panels[0], titles, strict=True):
            part = table[(table["comparison"] == comparison) & (table["seeds"] > 0)]
            axes.axhline(0, color=INK, lw=0.8)
            axes.margins(x=0.2, y=0.15)
            labelled.append((axes, _budget_dots(axes, part.drop_duplicates("name"))))
            axes.set(xlabel="rSum of the host", title=comparison)
            axes.grid(color=FAINT, alpha=0.2)
        panels[0, 0].set_ylabel("gain in rSum")
        if not table.loc[table["comparison"].isin(titles) & (table["seeds"] > 0), "trained"].all():
            figure.supxlabel("cross: a side collapsed; not to scale at an edge", fontsize=8.5)
        figure.suptitle(title, fontsize=11, fontweight="bold")
        for axes, dots in labelled:
            label_dots(axes, dots)
        return finished(figure)


def _budget_dots(axes: Axes, budgets: pd.DataFrame) -> list[Dot]:
    """Draw one dot for each budget, the collapsed ones last, and return the dots."""
    dots = []
    for row in budgets.sort_values("trained", ascending=False, kind="stable").to_dict("records"):
        x, y = row["host_rsum"], row["gain"]
        label = "middle" if row["middle"] else f"{row['setting']} {row['value']:g}"
        if row["trained"]:
            axes.plot(x, y, "o", color=colour_of(str(row["name"])), ms=5)
        else:
            across, up = axes.get_xlim(), axes.get_ylim()
            axes.set(xlim=across, ylim=up)  # as the others have them
            x, y = float(np.clip(x, *across)), float(np.clip(y, *up))
            axes.plot(x, y, "x", color=COLLAPSED, ms=6, mew=1.5, clip_on=False)
        if row["middle"]:
            axes.plot(x, y, "o", mfc="none", color=ACCENT, ms=12, mew=1.5)
        dots.append(Dot(x, y, label))
    return dots
