"""Hubs: what normalising the scores at test time changes, as a table and a figure.

Page: "Similarity distributions".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from itm_book.batch.normalised_scores import (
    hub_numbers,
    normalised,
    score_bank,
    training_split,
)
from itm_book.figures.style import FAINT, INK, finished, styled
from itm_book.tables import report
from itm_core.data.dataset import Split
from itm_core.evaluation import retrieval
from itm_core.evaluation.recalls import NORMALISATIONS
from itm_core.experiments.runs import Run

BANK = 40  # training images of the querybank, scored anew for every book
COLOURS = dict(zip(NORMALISATIONS, ("#0072b2", "#009e73", "#d55e00"), strict=True))
MARKS = dict(zip(NORMALISATIONS, "os^", strict=True))


def hub_effects(runs: Mapping[str, Run], split: Split) -> pd.DataFrame:
    """Return what each normalisation changes, one row for every run and normalisation.

    The querybank is of training queries where the split's folder has them. Columns: ``method``,
    ``normalisation``, ``queries`` (``training`` or ``test``), ``rsum`` (of the plain scores),
    ``gain`` in rSum with ``low`` and ``high`` (paired 95 % interval over images), and
    ``skewness``, ``skewness_after``, ``never``, ``never_after``: the hubness of the images, see
    `normalised_scores.hub_numbers`.
    """
    training, rows = training_split(split), []
    for name, run in runs.items():
        before = hub_numbers(run.scores)["t2i"]
        hits = retrieval.hits(run.scores, run.caption_image)
        bank = None if training is None else score_bank([run], split, training, size=BANK)
        for kind in NORMALISATIONS:
            scores = normalised(run.scores, kind, bank)
            after = hub_numbers(scores)["t2i"]
            gap = retrieval.paired_bootstrap(retrieval.hits(scores, run.caption_image), hits)
            rsum = gap.loc["rsum"]
            rows.append(
                {
                    "method": name,
                    "normalisation": kind,
                    "queries": "training" if kind == "querybank" and bank else "test",
                    "rsum": float(hits[:, -1].mean()),
                    "gain": rsum["difference"],
                    "low": rsum["low"],
                    "high": rsum["high"],
                    "skewness": before["skewness"],
                    "skewness_after": after["skewness"],
                    "never": before["never"],
                    "never_after": after["never"],
                }
            )
    return pd.DataFrame(rows)


def hub_table(effects: pd.DataFrame) -> pd.DataFrame:
    """Return `hub_effects` for display: a row for every method, the gains with their intervals.

    The hubness that is left is behind the table's switch.
    """
    rows, behind = [], []
    for method, of_method in effects.groupby("method", sort=False):
        first = of_method.iloc[0]
        row = {"method": str(method), "rSum": f"{first['rsum']:.1f}"}
        row["skewness"] = f"{first['skewness']:.2f}"
        row["never first (%)"] = f"{first['never']:.1f}"
        for one in of_method.to_dict("records"):
            kind, ends = one["normalisation"], f"[{one['low']:+.1f}, {one['high']:+.1f}]"
            row[f"{kind}: gain in rSum"] = f"{one['gain']:+.1f} {ends}"
            row[f"{kind}: skewness"] = f"{one['skewness_after']:.2f}"
            row[f"{kind}: never first (%)"] = f"{one['never_after']:.1f}"
            behind += [f"{kind}: skewness", f"{kind}: never first (%)"]
        rows.append(row)
    return report.behind_switch(pd.DataFrame(rows), list(dict.fromkeys(behind)))


def hub_summary(effects: pd.DataFrame) -> pd.DataFrame:
    """Return the means of `hub_effects` over the methods, one row for every normalisation."""
    rows = []
    for kind, part in effects.groupby("normalisation", sort=False):
        row = {"normalisation": str(kind), "queries that it uses": part["queries"].iloc[0]}
        row["mean gain in rSum"] = f"{part['gain'].mean():+.1f}"
        row["interval above zero"] = f"{(part['low'] > 0).sum()} of {len(part)} methods"
        row["interval below zero"] = f"{(part['high'] < 0).sum()} of {len(part)} methods"
        for title, column in (("skewness", "skewness"), ("never first (%)", "never")):
            row[f"mean {title}"] = (
                f"{part[column].mean():.2f} → {part[f'{column}_after'].mean():.2f}"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def hub_figure(effects: pd.DataFrame) -> Figure:
    """Return skewness before and after, and gains in rSum with 95 % intervals, of every method."""
    methods = list(effects["method"].unique())
    with styled():
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(8.2, 1.6 + 0.36 * len(methods)), sharey=True
        )
        for place, method in enumerate(methods):
            _rows(left, right, place, effects[effects["method"] == method])
        right.axvline(0, color=INK, lw=0.8)
        left.set_yticks(range(len(methods)), methods, fontsize=9)
        left.set_ylim(len(methods) - 0.5, -0.5)
        left.set(xlabel="skewness of the k-occurrence of images", title="hubness")
        right.set(xlabel="gain in rSum, 95 % interval", title="retrieval")
        for axes in (left, right):
            axes.grid(axis="x", color=FAINT, alpha=0.25)
        plain = Line2D([], [], color=INK, marker="D", ls="", label="plain scores")
        others = [
            Line2D([], [], color=COLOURS[kind], marker=MARKS[kind], ls="", label=kind)
            for kind in NORMALISATIONS
        ]
        figure.legend(handles=[plain, *others], loc="outside lower center", ncols=4, fontsize=8.5)
        return finished(figure)


def _rows(left: Axes, right: Axes, place: int, rows: pd.DataFrame) -> None:
    """Draw a method: an arrow of skewness for each normalisation, and its gain."""
    before = rows["skewness"].iloc[0]
    for kind, shift in zip(rows["normalisation"], np.linspace(-0.22, 0.22, len(rows)), strict=True):
        row, y, colour = rows[rows["normalisation"] == kind].iloc[0], place + shift, COLOURS[kind]
        left.plot([before, row["skewness_after"]], [y, y], color=colour, lw=1)
        left.plot(row["skewness_after"], y, color=colour, marker=MARKS[kind], ms=4)
        right.plot([row["low"], row["high"]], [y, y], color=colour, lw=1)
        right.plot(row["gain"], y, color=colour, marker=MARKS[kind], ms=4)
    left.plot(before, place, color=INK, marker="D", ms=4.5)
