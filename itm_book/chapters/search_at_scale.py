"""Two-stage search in large galleries: recall against time, and what it costs.

Page: "Search at scale".
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from itm_book.figures.style import FAINT, INK, finished, styled
from itm_book.search.two_stage import Ranking
from itm_book.tables import sentences
from itm_book.tables.run_links import marked

SIZES = ("#0072b2", "#009e73", "#e69f00", "#d55e00")  # from small galleries to large ones
TIME_LABELS = {
    "milliseconds": "milliseconds per sentence (median)",
    "processor_milliseconds": "milliseconds of processor time per sentence (median)",
}
RECALL, BUDGET = 0.98, 200.0  # the target: recall of the exact top ten, and milliseconds
RECALLED = "recall of the exact top ten (percent)"
TIME_TITLES = {
    "milliseconds": "ms, wall clock",
    "milliseconds_p90": "ms, wall clock, 90th percentile",
    "processor_milliseconds": "ms, processor time",
}


# --- tables


def readable(curve: pd.DataFrame) -> pd.DataFrame:
    """Return a curve of `search_curve.curve` with column titles, recalls in percent."""
    percent = {"recall": RECALLED, "worst": "worst caption (percent)"}
    shown = pd.DataFrame({"candidates": curve["candidates"]})
    for column, name in percent.items():
        shown[name] = 100 * curve[column]
    for column, name in TIME_TITLES.items():
        shown[name] = curve[column]
    return shown


def reached(curve: pd.DataFrame, recall: float = RECALL) -> pd.DataFrame:
    """Return for each gallery the row with the fewest candidates that reach a recall.

    Where no number of candidates reaches it, the row with the highest recall. Columns are those
    of the record, and ``reached``.
    """
    rows = []
    for size, group in curve.groupby("gallery"):
        searched = group[group["candidates"] < size].sort_values("candidates")
        enough = searched[searched["recall"] >= recall]
        best = enough.iloc[0] if len(enough) else searched.nlargest(1, "recall").iloc[0]
        count = {"gallery": size, "candidates": int(best["candidates"])}
        rows.append(best.to_dict() | count | {"reached": bool(len(enough))})
    return pd.DataFrame(rows)


def target_status(row: Mapping[Hashable, Any], budget: float = BUDGET) -> str:
    """Return whether a row of `reached` meets the recall within the time budget.

    >>> target_status({"reached": True, "milliseconds": 300, "processor_milliseconds": 150})
    'met in processor time'
    """
    if not row["reached"]:
        return "missed: recall"
    if row["milliseconds"] <= budget:
        return "met"
    return "met in processor time" if row["processor_milliseconds"] <= budget else "missed: time"


def by_gallery_size(curve: pd.DataFrame, recall: float = RECALL) -> pd.DataFrame:
    """Return candidates and times at which each gallery reaches a recall, and its exact ranking.

    ``target`` is `target_status`.
    """
    rows = reached(curve, recall)
    exact = curve[curve["candidates"] >= curve["gallery"]].set_index("gallery")
    shown = pd.DataFrame({"images": [f"{size:,}" for size in rows["gallery"]]})
    shown["candidates"] = [f"{count:,}" for count in rows["candidates"]]
    shown[RECALLED] = 100 * rows["recall"]
    for column, name in TIME_TITLES.items():
        shown[name] = rows[column]
    for column in ("milliseconds", "processor_milliseconds"):
        shown[f"exact ranking, {TIME_TITLES[column]}"] = exact.loc[
            rows["gallery"], column
        ].to_numpy()
    shown["target"] = [target_status(row) for row in rows.to_dict("records")]
    return marked(shown, RECALLED, rows.get("commit", [None] * len(rows)))


def finding(curve: pd.DataFrame) -> HTML:
    """Return what the largest gallery of a record needs for the target recall, in words."""
    row = reached(curve).iloc[-1]
    exact = curve[(curve["gallery"] == row["gallery"]) & (curve["candidates"] >= row["gallery"])]
    return sentences.finding(
        f"among {row['gallery']:,} images, {row['candidates']:,} candidates keep "
        f"{100 * row['recall']:.1f} % of the exact top ten and take {row['milliseconds']:.0f} ms "
        f"per sentence ({row['processor_milliseconds']:.0f} ms of processor time); the exact "
        f"ranking takes {exact.iloc[0]['milliseconds'] / 1000:.1f} s. Target, {RECALL:.0%} within "
        f"{BUDGET:.0f} ms: {target_status(row.to_dict())}."
    )


def conditions(curve: pd.DataFrame) -> str:
    """Return how a record was measured, for a caption: run, machine, versions, commit, date."""
    row = curve.iloc[0]
    return (
        f"{row['queries']} captions of the test split, regions in {row['kind']}; {row['run']}; "
        f"{row['machine']}, {row['threads']} threads, shared with other work; "
        f"torch {row['torch']}, FAISS {row['faiss']}, commit {row['commit']}, {row['made']}"
    )


def storage_precision(table: pd.DataFrame) -> pd.DataFrame:
    """Return the loss of `search_curve.loss_of_kind` with column titles."""
    shown = pd.DataFrame(
        {
            "images": [f"{size:,}" for size in table["gallery"]],
            "stored as": table["kind"],
            "bytes per number": table["bytes_per_value"],
            RECALLED: 100 * table["recall"],
            "top image unchanged (percent)": 100 * table["first"],
            "largest change of a score": [f"{x:.1e}" for x in table["largest_difference"]],
        }
    )
    return marked(shown, RECALLED, table.get("commit", [None] * len(table)))


def distractor_hardness(measured: float, curve: pd.DataFrame) -> pd.DataFrame:
    """Return the share of synthetic pictures in the top ten of a half-synthetic gallery.

    ``measured`` is `search_curve.synthetic_share` of this page; the record has another. At 50 %
    synthetic pictures are as hard as real ones.
    """
    shares = {"this page": measured, "the record": float(curve.iloc[0]["synthetic_share"])}
    return pd.DataFrame(
        {
            "gallery of": shares.keys(),
            "synthetic pictures in the top ten (percent)": [100 * x for x in shares.values()],
        }
    )


def side_by_side(exact: Ranking, approximate: Ranking, real: int, caption: int = 0) -> pd.DataFrame:
    """Return the exact ranking of a caption beside that of a two-stage search, rank by rank.

    ``real``: the number of real pictures, which come first in the gallery.
    """
    count = approximate.images.shape[1]
    shown = pd.DataFrame({"rank": np.arange(1, count + 1)})
    for name, ranking in (("exact", exact), ("two stages", approximate)):
        images = ranking.images[caption, :count].tolist()
        shown[f"{name}: image"] = [
            f"picture {i}" if i < real else f"distractor {i - real}" for i in images
        ]
        shown[f"{name}: score"] = [f"{score:.4f}" for score in ranking.scores[caption, :count]]
    return shown


# --- figures


def trade_off(table: pd.DataFrame, *, recall: float = 0.98, budget: float = 200.0) -> Figure:
    """Return recall of the exact top ten against time, one line per gallery size.

    Two panels: wall-clock and processor time. Columns of the table: ``gallery`` and those of
    `search_curve.curve`. Dotted lines are the target ``recall`` and the ``budget`` in
    milliseconds; the cross is the exact ranking of the gallery.
    """
    with styled():
        figure, panels = plt.subplots(1, 2, figsize=(8.2, 3.6), sharey=True)
        for axes, (column, label) in zip(panels, TIME_LABELS.items(), strict=True):
            for place, (size, rows) in enumerate(table.groupby("gallery")):
                colour = SIZES[place % len(SIZES)]
                searched = rows[rows["candidates"] < size]
                exact = rows[rows["candidates"] >= size]
                style: dict[str, Any] = {"color": colour, "label": f"{size:,} images"}
                axes.plot(searched[column], searched["recall"], "o-", ms=3.5, **style)
                axes.plot(exact[column], exact["recall"], "x", color=colour, ms=7, mew=2)
            axes.axvline(budget, color=FAINT, lw=0.9, ls=":")
            axes.axhline(recall, color=FAINT, lw=0.9, ls=":")
            axes.set(xscale="log", xlabel=label, ylim=(0, 1.02))
            axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.grid(color=FAINT, alpha=0.2)
        panels[0].set(ylabel="recall of the exact top ten", title="wall-clock time")
        panels[1].set(title="processor time")
        lines, names = panels[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside lower center", ncols=4, fontsize=8.5)
        return finished(figure)


def time_parts(table: pd.DataFrame, *, wanted: float = 0.98) -> Figure:
    """Return the parts of a search's time, at the fewest candidates that reach a recall.

    One bar per gallery that reaches ``wanted``; columns as in `trade_off`.
    """
    searched = table[table["candidates"] < table["gallery"]]
    rows = searched[searched["recall"] >= wanted].groupby("gallery").head(1)
    titles = {"first": "first stage", "read": "reading regions", "rank": "matcher scores"}
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 1.3 + 0.4 * max(1, len(rows))))
        for place, row in enumerate(rows.to_dict("records")):
            left = 0.0
            for colour, (column, name) in zip(SIZES, titles.items(), strict=False):
                label = name if place == 0 else None
                axes.barh(place, row[column], 0.6, left=left, color=colour, label=label)
                left += row[column]
        labels = [_bar_name(row) for row in rows.to_dict("records")]
        axes.set_yticks(range(len(rows)), labels, fontsize=9)
        axes.invert_yaxis()
        axes.set(xlabel="milliseconds per sentence (median of each part)")
        if len(rows):
            figure.legend(loc="outside lower center", ncols=3, fontsize=8.5)
        else:
            axes.text(0.5, 0.5, f"no gallery reached {wanted:.0%}", ha="center", color=INK)
        return finished(figure)


def _bar_name(row: Mapping[Hashable, Any]) -> str:
    return f"{row['gallery']:,} images,\n{row['candidates']:,} candidates"


def score_distributions(scores: Mapping[str, np.ndarray]) -> Figure:
    """Return the distribution of scores of several kinds of images, as a histogram line each.

    ``scores`` are arrays of any shape, by name.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 2.8))
        low = min(values.min() for values in scores.values())
        high = max(values.max() for values in scores.values())
        edges = np.linspace(low, high, 60)
        for colour, (name, values) in zip(SIZES, scores.items(), strict=False):
            shares = np.histogram(values, edges)[0] / values.size
            axes.stairs(shares, edges, color=colour, lw=1.6, label=name)
        axes.set(xlabel="score with a caption", ylabel="fraction of images")
        axes.legend(fontsize=8.5)
        return finished(figure)
