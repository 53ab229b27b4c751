"""Tables and figures of attention and attributions, for several methods.

Page: "Does attention explain?".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_book.chapters.does_attention_explain.measures import (
    COMPARISONS,
    GRADIENTS,
    OCCLUSION,
    ORDERS,
    OTHER_WORD,
    OVERLAPS,
    AttributionAgreement,
    deletion_areas,
    deletion_curve,
    localisation,
    pointing_difference,
    rank_agreement,
    relative_completeness_error,
    tau_differences,
    top_region_agreement,
)
from itm_book.figures import attention_maps
from itm_book.figures.style import FAINT, INK, finished, styled
from itm_book.pairs.pair_records import PairRecord
from itm_book.tables import sentences
from itm_book.tables.over_images import Estimate, mean_over_images

COLOURS = {OCCLUSION: "#e69f00", OVERLAPS: "#d55e00", GRADIENTS: "#0072b2", OTHER_WORD: FAINT}
ORDER_COLOURS = dict(zip(ORDERS, ("#0072b2", "#d55e00", FAINT, "#56b4e9"), strict=True))
COLUMNS = 4  # panels in a row

Agreements = Mapping[str, AttributionAgreement]  # by method


# --- tables --------------------------------------------------------------------------------------


def tau_estimates(agreements: Agreements) -> pd.DataFrame:
    """Return the means of `rank_agreement`.

    Columns: ``method``, ``compared``, ``value``, ``low``, ``high``.
    """
    rows = []
    for method, agreement in agreements.items():
        for compared, taus in rank_agreement(agreement).items():
            mean = mean_over_images(taus, agreement.image)
            rows.append({"method": method, "compared": compared} | mean._asdict())
    return pd.DataFrame(rows)


def finding(estimates: pd.DataFrame) -> HTML:
    """Return the range of the agreement of attention and occlusion over methods.

    ``estimates`` are those of `tau_estimates`; with overlaps where the dataset has boxes.
    """
    kind = OVERLAPS if (estimates["compared"] == OVERLAPS).any() else OCCLUSION
    part = estimates[estimates["compared"] == kind].dropna(subset="value").sort_values("value")
    if part.empty:
        return sentences.finding("no agreement could be measured.")
    low, high = part.iloc[0], part.iloc[-1]
    above = int((part["low"] > 0).sum())
    return sentences.finding(
        f"Kendall's tau of attention with {kind} (1: both rank the regions alike, 0: the orders "
        f"are unrelated) lies between {low['value']:.2f} "
        f"({escape(low['method'])}) and {high['value']:.2f} ({escape(high['method'])}); for "
        f"{above} of {len(part)} methods its interval lies above 0."
    )


def tau_table(estimates: pd.DataFrame) -> pd.DataFrame:
    """Return `tau_estimates` as text, one column per comparison."""
    text = [str(Estimate(*row)) for row in estimates[["value", "low", "high"]].to_numpy()]
    wide = estimates.assign(text=text).pivot(index="method", columns="compared", values="text")
    columns = [name for name in COMPARISONS if name in wide]
    wide = wide.loc[list(dict.fromkeys(estimates["method"])), columns]
    return wide.rename_axis(columns=None).reset_index()


def difference_table(agreements: Agreements) -> pd.DataFrame:
    """Return `tau_differences` and the completeness error of the gradients of every method."""
    differences = {method: tau_differences(agreement) for method, agreement in agreements.items()}
    table = _text(differences, "+.2f")
    errors = [relative_completeness_error(agreement) for agreement in agreements.values()]
    return table.assign(**{"completeness error (%)": [f"{100 * error:.1f}" for error in errors]})


def deletion_table(agreements: Agreements) -> pd.DataFrame:
    """Return `top_region_agreement` and `deletion_areas` of every method."""
    return _text(
        {
            method: top_region_agreement(agreement) | deletion_areas(agreement)
            for method, agreement in agreements.items()
        }
    )


def localisation_table(agreements: Agreements, measure: str) -> pd.DataFrame:
    """Return `localisation` of every method; for pointing also attention minus occlusion."""
    table = _text(
        {method: localisation(agreement, measure) for method, agreement in agreements.items()}
    )
    if "attention" not in table or measure != "pointing":
        return table
    differences = [pointing_difference(agreement) for agreement in agreements.values()]
    return table.assign(**{"attention - occlusion": [f"{gap:+.2f}" for gap in differences]})


def _text(rows: Mapping[str, Mapping[str, Estimate]], spec: str = ".2f") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": method} | {name: f"{estimate:{spec}}" for name, estimate in row.items()}
            for method, row in rows.items()
        ]
    )


# --- figures -------------------------------------------------------------------------------------


def tau_plot(estimates: pd.DataFrame) -> Figure:
    """Return a dot and its 95 % interval for every method and attribution.

    ``estimates`` are those of `tau_estimates`; grey is the occlusion of another word.
    """
    methods = list(dict.fromkeys(estimates["method"]))
    drawn = [name for name in COLOURS if (estimates["compared"] == name).any()]
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 1.5 + 0.5 * len(methods)))
        for k, name in enumerate(drawn):
            part = estimates[estimates["compared"] == name].set_index("method").loc[methods]
            places = [place + 0.17 * (k - (len(drawn) - 1) / 2) for place in range(len(methods))]
            axes.hlines(places, part["low"], part["high"], color=COLOURS[name], lw=3, alpha=0.5)
            axes.plot(part["value"], places, "o", color=COLOURS[name], ms=5, label=name)
        axes.set_yticks(range(len(methods)), methods)
        axes.invert_yaxis()
        axes.axvline(0, color=INK, lw=0.8)
        axes.grid(axis="x", color=FAINT, alpha=0.25)
        note = "0: no agreement, 1: same ranking; line: 95 % interval over test images"
        axes.set(xlabel=f"Kendall's tau of attention with an attribution, over regions\n{note}")
        figure.legend(loc="outside upper center", ncols=2, fontsize=9)
        return finished(figure)


def deletion_plot(agreements: Agreements) -> Figure:
    """Return a panel for each method: the remaining score margin while regions are removed.

    1: the score with all regions; 0: the mean score of the caption with other images.
    """
    columns = min(COLUMNS, len(agreements))
    rows = math.ceil(len(agreements) / columns)
    with styled():
        figure, grid = plt.subplots(
            rows,
            columns,
            figsize=(8.2, 0.9 + 2.1 * rows),
            squeeze=False,
            sharex=True,
            sharey="row",
        )
        for axes, (name, agreement) in zip(grid.ravel(), agreements.items(), strict=False):
            _deletion_panel(axes, name, agreement)
        for axes in grid.ravel()[len(agreements) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("remaining margin")
        for axes in grid[-1]:
            axes.set_xlabel("regions removed")
        lines, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside upper center", ncols=2, fontsize=9)
        return finished(figure)


def _deletion_panel(axes: Axes, name: str, agreement: AttributionAgreement) -> None:
    for order, drop in zip(ORDERS, deletion_curve(agreement).mean(2), strict=True):
        axes.plot(
            agreement.removed, 1 - drop, "o-", ms=2.5, lw=1.4, color=ORDER_COLOURS[order],
            label=order,
        )  # fmt: skip
    axes.axhline(0, color=INK, lw=0.6)
    axes.set_title(name, fontsize=9)
    axes.grid(color=FAINT, alpha=0.2)


def attribution_maps(maps: Mapping[str, np.ndarray], record: PairRecord) -> Figure:
    """Return a row of images for each named map ``[L, R]`` of a pair, drawn like attention.

    ``record`` is of the pair. Negative values, of regions that lower a contribution, are drawn as
    zero.
    """
    direction = record.direction("t2i")
    rows = [
        replace(record, name=name, directions=[replace(direction, weights=[values.clip(0)])])
        for name, values in maps.items()
    ]
    return attention_maps.maps(rows)
