"""Selection and ranking of the pairs of the atlas, by attention quality.

Pairs are chosen manually or at random, never by their result; the best, the middle and the worst
of a random sample are taken from its ranking. Where a dataset has word annotations, pairs are
ranked by attention F1, elsewhere by their scores.

Page: "Attention atlas".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML

from itm_book.pairs.pair_records import PairRecord
from itm_book.pairs.shown import shown_pair
from itm_book.pairs.split_attention import QUERIES
from itm_book.tables import sentences
from itm_core.data.dataset import Split
from itm_core.errors import InputError

Place = tuple[int, int]  # of a pair: the image, and which of its captions


def draw(split: Split, count: int, seed: int) -> list[Place]:
    """Return ``count`` matching pairs drawn at random without replacement.

    Raises `InputError` for more pairs than the split has.
    """
    if not 1 <= count <= len(split.captions):
        raise InputError(
            "cannot draw this number of pairs",
            expected=f"1 to {len(split.captions)}",
            found=count,
        )
    drawn = np.random.default_rng(seed).choice(len(split.captions), count, replace=False)
    return [(int(split.caption_image[c]), int(split.caption_number[c])) for c in drawn]


def ranking(table: pd.DataFrame, pairs: Sequence[Place]) -> pd.DataFrame:
    """Return pairs of `SplitAttention.table`, best first, with a column for each method.

    Values are attention F1 with words as queries (of methods that have it; if none has, with
    regions as queries). Without word annotations: the fraction of matching pairs that the method
    scores lower. ``mean`` is over methods; ``attrs["by"]`` names the value.

    Columns: ``image``, ``caption``, ``mean``, then the methods.
    """
    annotated = table["f1"].notna().any()
    queries = "words" if (table["queries"] == "words").any() else "regions"
    rows = table[table["queries"] == queries]
    if annotated:
        values = rows["f1"]
    else:
        lower = rows.groupby("method")["score"].rank(method="min") - 1
        values = lower / rows.groupby("method")["score"].transform("size")
    wide = rows.assign(value=values).pivot(
        index=["image", "caption"], columns="method", values="value"
    )
    wide = wide.loc[list(pairs), list(dict.fromkeys(rows["method"]))]
    wide.insert(0, "mean", wide.mean(axis=1))
    ranked = wide.sort_values("mean", ascending=False, kind="stable").reset_index()
    ranked.columns.name = None
    ranked.attrs["by"] = f"attention F1, {queries} as queries" if annotated else "score"
    return ranked


def curated(split: Split, pairs: Sequence[Sequence[int]]) -> list[Place]:
    """Return pairs that were set by hand, each an image and which of its captions.

    See `shown_pair` for a pair that the split does not have.
    """
    chosen = [shown_pair(split, image, caption) for image, caption in pairs]
    return [(pair.image, pair.caption) for pair in chosen]


def picks(ranked: pd.DataFrame, each: int = 1) -> dict[str, list[Place]]:
    """Return the best, the middle and the worst pairs of a `ranking`, of those with a value.

    ``each`` of them, and never a pair twice: of few pairs there are fewer.

    Raises `InputError` when no pair has a value.
    """
    valued = ranked[ranked["mean"].notna()]
    if valued.empty:
        raise InputError("no pair to choose", found="pairs without annotated words")
    count = len(valued)
    each = min(each, max(count // 3, 1))
    half = (count - each + 1) // 2
    places = {
        "best": range(min(each, count)),
        "worst": range(max(count - each, 0), count),
        "middle": range(max(half, 0), min(half + each, count)),
    }
    taken: set[int] = set()
    chosen = {}
    for name, wanted in places.items():
        chosen[name] = [_place(valued.iloc[k]) for k in wanted if k not in taken]
        taken.update(wanted)
    return {name: chosen[name] for name in ("best", "middle", "worst")}


def _place(row: pd.Series) -> Place:
    return int(row["image"]), int(row["caption"])


def one_of(picked: Mapping[str, Sequence[Place]], group: str) -> Place:
    """Return the last pair of a group, or of the best ones where too few were drawn for it."""
    return (picked[group] or picked["best"])[-1]


def grouped(by_hand: Sequence[Place], picked: Mapping[str, Sequence[Place]]) -> dict[Place, str]:
    """Return for each pair of the menu the group that it is listed in, first the drawn ones."""
    groups = {place: f"drawn: {name}" for name, places in picked.items() for place in places}
    return groups | {place: "set by hand" for place in by_hand if place not in groups}


def readable(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `ranking` in percent, with image and caption of each pair."""
    shown = ranked.drop(columns=["image", "caption"]) * 100
    shown.insert(0, "caption", ranked["caption"].astype(str))
    shown.insert(0, "image", ranked["image"].astype(str))
    return shown


def measures(records: Mapping[str, PairRecord]) -> pd.DataFrame:
    """Return attention precision, recall and F1 of every method on a pair, and its score.

    Measures are in percent. A method with both directions has two rows. Best F1 first.
    """
    rows = []
    for name, record in records.items():
        for side in record.directions:
            values = side.measures() or (np.nan,) * 3
            row = dict(zip(("precision", "recall", "F1"), 100 * np.array(values), strict=True))
            queries, score = QUERIES[side.direction], f"{record.score:.3f}"
            rows.append({"method": name, "queries": queries, **row, "score": score})
    table = pd.DataFrame(rows).sort_values(
        ["queries", "F1"], ascending=False, kind="stable", ignore_index=True
    )
    return table.dropna(axis="columns", how="all")


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the distribution of attention F1 over the pairs of a split, in percent, by method.

    ``F1 of zero``: pairs in which nothing relevant was attended.
    """
    annotated = table[table["f1"].notna()]
    rows = []
    for (method, queries), group in annotated.groupby(["method", "queries"], sort=False):
        low, middle, high = np.percentile(100 * group["f1"], [10, 50, 90])
        row: dict[str, object] = {"method": method, "queries": queries, "pairs": str(len(group))}
        row |= {"mean F1": 100 * group["f1"].mean(), "10th percentile": low}
        row |= {"median": middle, "90th percentile": high}
        rows.append(row | {"F1 of zero": 100 * float((group["f1"] == 0).mean())})
    return pd.DataFrame(rows)


def finding(table: pd.DataFrame) -> HTML:
    """Return how much attention F1 differs between methods and between pairs, in words.

    ``table`` is `SplitAttention.table`; of methods with words as queries.
    """
    every = summary(table)
    words = every[every["queries"] == "words"] if len(every) else every
    if words.empty:
        return sentences.finding("this dataset has no annotation of words to measure attention by.")
    ordered = words.sort_values("mean F1")
    low, high = ordered.iloc[0], ordered.iloc[-1]
    return sentences.finding(
        f"the mean attention F1 of {len(words)} methods lies between {low['mean F1']:.1f} % "
        f"({escape(str(low['method']))}) and {high['mean F1']:.1f} % "
        f"({escape(str(high['method']))}); of the best method, 80 % of the pairs lie between "
        f"{high['10th percentile']:.1f} % and {high['90th percentile']:.1f} %."
    )
