"""Gains against settings of the training, losses against that of a collapsed model.

Page: "How much training does a gain need?".
"""

from __future__ import annotations

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


def gain_curves(table: pd.DataFrame, collapsed: set[str], *, title: str) -> Figure | Markdown:
    """Return the gain of one comparison against each setting, a panel for each.

    ``table`` is of `budget.gains_by_setting`; ``collapsed`` are folders of runs. A dot is a seed,
    a cross one of which a side collapsed; the line joins means over seeds. The bar is the 95 %
    interval over seeds. A ring is the middle budget. With fewer than `MIN_BUDGETS` budgets, a
    sentence with their gains.
    """
    if _budgets(table) < MIN_BUDGETS:
        return _in_words(table, f"a curve needs {MIN_BUDGETS}")
    settings = list(dict.fromkeys(table["setting"]))
    low, high = _limits(table)
    with styled():
        figure, panels = plt.subplots(
            -(-len(settings) // 3), 3, figsize=(8.2, 5.4), sharey=True, squeeze=False
        )
        for axes, setting in zip(panels.flat, settings, strict=False):
            part = table[table["setting"] == setting].sort_values("value")
            _gain_panel(axes, part.reset_index(drop=True), collapsed)
            axes.set(title=setting, ylim=(low, high))
        for axes in panels.flat[len(settings) :]:
            axes.set_axis_off()
        figure.suptitle(title, fontsize=11, fontweight="bold")
        figure.supylabel("gain in rSum over the host", fontsize=10)
        of_two = " (cut off for two seeds)" if (table["seeds"] == 2).any() else ""
        figure.supxlabel(
            "dot: a seed; cross: a side of it collapsed; bar: 95 % interval over seeds"
            f"{of_two}; ring: the middle budget",
            fontsize=8.5,
        )
        return finished(figure)


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Return limits of the gains: every seed, every interval and zero are inside.

    Without intervals of two seeds: they are nine standard deviations to each side, and would
    leave no room for the curves. Their bars end at the edge.
    """
    values = [value for row in table["differences"] for value in row]
    several = table[table["seeds"] > 2]
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
            f"({interval}; {row['effect']})"
        )
    return Markdown(f"{'; '.join(gains) or 'No budget is recorded yet'}. No chart: {needed}.")


def _gain_panel(axes: Axes, part: pd.DataFrame, collapsed: set[str]) -> None:
    colour = colour_of(str(part["name"].iloc[0]))
    done = part[part["seeds"] > 0]
    axes.axhline(0, color=INK, lw=0.8)
    axes.plot(done.index, done["gain"], color=colour, lw=1.5, zorder=2)
    for place, row in zip(part.index, part.to_dict("records"), strict=True):
        if not row["seeds"]:
            axes.text(place, 0, "not run", ha="center", va="bottom", color=FAINT, fontsize=8.5)
            continue
        axes.plot([place] * 2, [row["seeds_low"], row["seeds_high"]], color=colour, lw=4, alpha=0.3)
        axes.plot(place, row["gain"], "_", color=colour, ms=12, mew=2, zorder=3)
        if row["middle"]:
            axes.plot(place, row["gain"], "o", mfc="none", color=ACCENT, ms=13, mew=1.5, zorder=3)
        for seed, difference in enumerate(row["differences"]):
            pinned = {row["runs"][seed], row["runs"][row["seeds"] + seed]} & collapsed
            mark, ink = ("x", COLLAPSED) if pinned else ("o", INK)
            axes.plot(place, difference, mark, color=ink, ms=4, mew=1.5 if pinned else 1, zorder=4)
    axes.set_xticks(range(len(part)), [f"{value:g}" for value in part["value"]])
    axes.set_xlim(-0.6, len(part) - 0.4)
    axes.grid(axis="y", color=FAINT, alpha=0.25)


def pinned_losses(runs: pd.DataFrame, *, title: str) -> Figure:
    """Return the loss of runs of `budget.watched`, over that of equal scores, by epoch.

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
    what differs from the middle budget, a ring. A comparison with fewer than `MIN_DOTS` budgets
    is left out; if all are, a sentence has their gains.
    """
    parts = table.groupby("comparison", sort=False)
    titles = [str(name) for name, part in parts if _budgets(part) >= MIN_DOTS]
    if not titles:
        return _in_words(table, f"a dot is a budget, and a comparison needs {MIN_DOTS}")
    with styled():
        figure, panels = plt.subplots(1, len(titles), figsize=(8.2, 4.4), squeeze=False)
        labelled: list[tuple[Axes, list[Dot]]] = []
        for axes, comparison in zip(panels[0], titles, strict=True):
            part = table[(table["comparison"] == comparison) & (table["seeds"] > 0)]
            axes.axhline(0, color=INK, lw=0.8)
            dots = []
            for row in part.drop_duplicates("name").to_dict("records"):
                at = (row["host_rsum"], row["gain"])
                axes.plot(*at, "o", color=colour_of(str(row["name"])), ms=5)
                label = f"{row['setting']} {row['value']:g}"
                if row["middle"]:
                    axes.plot(*at, "o", mfc="none", color=ACCENT, ms=12, mew=1.5)
                    label = "middle"
                dots.append(Dot(*at, label))
            labelled.append((axes, dots))
            axes.set(xlabel="rSum of the host", title=comparison)
            axes.grid(color=FAINT, alpha=0.2)
            axes.margins(x=0.2, y=0.15)
        panels[0, 0].set_ylabel("gain in rSum")
        figure.suptitle(title, fontsize=11, fontweight="bold")
        for axes, dots in labelled:
            label_dots(axes, dots)
        return finished(figure)
