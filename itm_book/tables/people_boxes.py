"""Attention against people's boxes: tables of every measure with its reference levels.

The input are the lines of `records.attention.recorded`. Numbers are in percent; those of a method
are means over seeds, with the 95 % interval over test images of that mean. The reference levels:

* *chance*: the same weights on the keys in random order (`attention_measures.QueryMeasures`);
* *untrained*: the same recipe and seed before training;
* *uniform*: equal weights on all keys.

Page: "Real photographs"; "What attention metrics can and cannot say".
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from itm_book.records.attention import (
    ALL,
    IOUS,
    MAIN_IOU,
    MEASURES,
    POINTING,
    TRAINED,
    UNIFORM,
    UNTRAINED,
    counts_of,
    means_of,
)
from itm_book.tables.comparison import spread
from itm_book.tables.report import behind_switch
from itm_book.tables.run_links import linked
from itm_core.errors import InputError
from itm_core.evaluation import statistics
from itm_core.evaluation.attention_queries import LAST
from itm_core.settings import one_of

TITLES = {
    "pointing": "pointing",
    "mass": "mass",
    "average_precision": "average precision",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}
CHANCE_OF = {
    **dict.fromkeys(("pointing", "mass", "precision"), "chance"),
    "recall": "chance_recall",
    "f1": "chance_f1",
}
NAMES = {"bodyparts": "parts of the body", "other": "other things"}  # of types, for a reader
MIN_QUERIES = 30  # a type with fewer is left out
UNIFORM_NAME = "uniform weights"


def chosen(
    lines: pd.DataFrame,
    *,
    weights: str = TRAINED,
    direction: str = "t2i",
    passed: str = LAST,
    iou: float = MAIN_IOU,
    kind: str = ALL,
) -> pd.DataFrame:
    """Return the lines of some weights, one direction and pass, at one IoU, of one type."""
    return lines[
        (lines["weights"] == weights)
        & (lines["direction"] == direction)
        & (lines["pass"] == passed)
        & np.isclose(lines["iou"], iou)
        & (lines["kind"] == kind)
    ]


class ResampledImages:
    """Bootstrap over the images of a split: of means over queries, an image with all of its own.

    Args:
        lines: of `attention.recorded`.
        where: direction, iou and kind, as in `chosen`.
    """

    def __init__(self, lines: pd.DataFrame, **where: Any) -> None:
        uniform = chosen(lines, weights=UNIFORM, **where)
        text = "" if uniform.empty else str(uniform["image_queries"].iloc[0])
        if not text:
            raise InputError("these queries have no record of images", found=where)
        self.counts = counts_of(text)
        self.draws = statistics.image_counts(len(self.counts))

    def means(self, rows: pd.DataFrame, measure: str) -> np.ndarray:
        """Return the mean of every image ``[I]``, averaged over the rows: the seeds of a method.

        Raises `InputError` where the record has no images of this measure.
        """
        texts = list(rows[f"{measure}_images"])
        if not all(texts):
            kind, iou = (rows[name].iloc[0] for name in ("kind", "iou"))
            raise InputError(
                f"the record has no images of {measure}",
                found=f"kind {kind} at an IoU of {iou}",
                expected=f"pointing, or another measure of all kinds at an IoU of {MAIN_IOU}",
            )
        return np.mean([means_of(text, self.counts) for text in texts], axis=0)

    def resampled(self, means: np.ndarray, mean: float) -> np.ndarray:
        """Return the mean over queries in every resample ``[B]``; NaN in one without queries.

        ``means [I]`` are rounded in the record, so results are shifted to the exact ``mean``.
        """
        sums = self.counts * means
        with np.errstate(invalid="ignore"):
            ratios = (self.draws @ sums) / (self.draws @ self.counts)
        return ratios - sums.sum() / self.counts.sum() + mean


def summary(lines: pd.DataFrame, measure: str = POINTING, **where: Any) -> pd.DataFrame:
    """Return a measure of every method with its reference levels, in percent.

    Columns: ``name``, ``group``, ``seeds``, ``value``, ``low``, ``high`` and ``spread``;
    ``chance``, ``untrained`` and ``uniform``; ``with_dropped``, where queries without a relevant
    key count as zero; ``queries``, ``dropped`` and ``runs``. ``low`` and ``high`` are NaN where
    the record has no images. Methods that do not attend in this direction are left out.

    ``where``: direction, iou, kind and pass (``passed``), as in `chosen`.
    """
    one_of("measure", measure, MEASURES)
    trained = chosen(lines, **where)
    untrained = chosen(lines, weights=UNTRAINED, **where).groupby("name")[measure].mean()
    of_none = {name: value for name, value in where.items() if name != "passed"}
    uniform = chosen(lines, weights=UNIFORM, **of_none)[measure].mean()
    with_images = bool((trained[f"{measure}_images"] != "").all()) and len(trained) > 0
    images = ResampledImages(lines, **of_none) if with_images else None
    rows = []
    for name, group in trained.groupby("name", sort=False):
        row: dict[str, Any] = {"name": name, "group": group["group"].iloc[0]}
        row["seeds"] = len(group)
        row |= _values(group, measure, images)
        row["chance"] = 100 * float(group[CHANCE_OF.get(measure, measure)].mean())
        row["untrained"], row["uniform"] = 100 * untrained.get(name, np.nan), 100 * uniform
        if measure not in CHANCE_OF:  # the order of equal weights is random
            row["chance"] = row["uniform"]
        rows.append(row | {"runs": list(group["run"])})
    return pd.DataFrame(rows)


def _values(group: pd.DataFrame, measure: str, images: ResampledImages | None) -> dict[str, Any]:
    """Return the columns of `summary` that a method has by itself, from its lines."""
    value, first = 100 * float(group[measure].mean()), group.iloc[0]
    interval = (np.array(np.nan), np.array(np.nan))
    if images is not None:
        interval = statistics.interval(images.resampled(100 * images.means(group, measure), value))
    queries, dropped = int(first["queries"]), int(first["dropped"])
    return {
        "value": value,
        "low": float(interval[0]),
        "high": float(interval[1]),
        "spread": statistics.sd(100 * group[measure].to_numpy()),
        "with_dropped": value * queries / (queries + dropped),
        "queries": queries,
        "dropped": dropped,
    }


def readable(
    table: pd.DataFrame, measure: str = POINTING, *, query: str = "words", key: str = "region"
) -> pd.DataFrame:
    """Return the table of `summary` as text, methods with the largest value first.

    ``mean over seeds [95 % interval over test images] ± SD over seeds``. ``query`` and ``key`` are
    what they are called.
    """
    if table.empty:
        return table
    title, missed = TITLES[measure], f"{query} without a {key} counted as misses"
    table = table.sort_values("value", ascending=False, kind="stable")
    rows = []
    for row in table.to_dict("records"):
        shown = {"method": row["name"], title: value_text(row)}
        for level in ("chance", "untrained", "uniform"):
            shown[level] = f"{row[level]:.1f}"
        shown["over chance"] = f"{row['value'] / row['chance']:.1f} ×" if row["chance"] else ""
        shown[missed] = f"{row['with_dropped']:.1f}"
        rows.append(shown | {"seeds": str(row["seeds"])})
    readable = linked(pd.DataFrame(rows), {title: table["runs"]})
    return behind_switch(readable, [missed, "seeds"])


def value_text(row: Mapping[Hashable, Any]) -> str:
    """Return ``value [low, high] ± SD`` of a row of `summary`, without what is unknown."""
    limits = "" if np.isnan(row["low"]) else f" [{row['low']:.1f}, {row['high']:.1f}]"
    return f"{row['value']:.1f}{limits}{spread(row['spread'])}"


def all_measures(lines: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """Return all measures of every method as text, uniform weights in the first row.

    ``mean over seeds ± SD over seeds (untrained)``; for F1 also the F1 of as many keys
    attended at random, which depends on how many keys a method attends to.
    """
    tables = {measure: summary(lines, measure, **where).set_index("name") for measure in TITLES}
    names = list(tables[POINTING].index)
    uniform = {"method": UNIFORM_NAME, "F1 by chance": ""} | {
        title: f"{table['uniform'].iloc[0]:.1f}"
        for title, table in zip(TITLES.values(), tables.values(), strict=True)
    }
    rows = [uniform]
    for name in names:
        shown = {"method": name}
        for measure, title in TITLES.items():
            row = tables[measure].loc[name]
            shown[title] = f"{row['value']:.1f}{spread(row['spread'])} ({row['untrained']:.1f})"
        shown["F1 by chance"] = f"{tables['f1'].loc[name, 'chance']:.1f}"
        rows.append(shown | {"seeds": str(tables[POINTING].loc[name, "seeds"])})
    columns = ["method", *TITLES.values(), "F1 by chance", "seeds"]
    runs = [[], *tables[POINTING]["runs"]]
    readable = linked(pd.DataFrame(rows, columns=columns).fillna(""), {"method": runs})
    return behind_switch(readable, ["seeds"])


def by_iou(lines: pd.DataFrame, measure: str = POINTING, **where: Any) -> pd.DataFrame:
    """Return a measure at every recorded IoU as text, ``value [low, high] ± SD (chance)``."""
    tables = {iou: summary(lines, measure, iou=iou, **where) for iou in IOUS}
    rows: dict[str, dict[str, str]] = {}
    for iou, table in tables.items():
        for row in table.to_dict("records"):
            shown = rows.setdefault(row["name"], {"method": row["name"]})
            shown[f"IoU {iou:g}"] = f"{value_text(row)} ({row['chance']:.1f})"
    return linked(pd.DataFrame(list(rows.values())), {"method": tables[MAIN_IOU]["runs"]})


def by_type(
    lines: pd.DataFrame, measure: str = POINTING, *, least: int = MIN_QUERIES, **where: Any
) -> pd.DataFrame:
    """Return `summary` of every type of phrase below each other, with the column ``kind``.

    Types are in the order of their number of queries; those with fewer than ``least`` are left
    out.
    """
    kinds = chosen_kinds(lines, least, **where)
    tables = [summary(lines, measure, kind=kind, **where).assign(kind=kind) for kind in kinds]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def chosen_kinds(lines: pd.DataFrame, least: int = MIN_QUERIES, **where: Any) -> list[str]:
    """Return the types of phrases with at least ``least`` queries, most frequent first."""
    of_none = {name: value for name, value in where.items() if name != "passed"}
    uniform = lines[lines["weights"] == UNIFORM]
    counts = {
        kind: int(rows["queries"].iloc[0])
        for kind in dict.fromkeys(uniform["kind"])
        if kind != ALL and len(rows := chosen(lines, weights=UNIFORM, kind=kind, **of_none))
    }
    return sorted((kind for kind in counts if counts[kind] >= least), key=lambda k: -counts[k])


def kind_name(kind: str) -> str:
    """Return the name of a type of phrases for a reader.

    >>> kind_name("bodyparts"), kind_name("animals")
    ('parts of the body', 'animals')
    """
    return NAMES.get(kind, kind)


def status(lines: pd.DataFrame, **where: Any) -> str:
    """Return dataset, number of queries, seeds and annotation, for a caption."""
    trained = chosen(lines, **where)
    first = trained.iloc[0]
    counts = sorted(set(trained.groupby("name")["seed"].nunique()))
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    queries = "words" if first["direction"] == "t2i" else "regions"
    left_out = f", {first['dropped']} without one left out" if first["dropped"] else ""
    keys = "region" if first["direction"] == "t2i" else "word"
    return (
        f"{first['dataset']}, test split, {first['queries']} {queries} with a relevant {keys} at "
        f"an IoU of {first['iou']:g}{left_out}; {seeds} seed{'s' if counts[-1] > 1 else ''}; "
        f"recorded, annotation {first['truth'][:8]}"
    )
