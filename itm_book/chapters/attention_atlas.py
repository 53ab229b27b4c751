"""Which pairs an atlas of attention shows, sorted by how well each method looks at them.

Pairs are chosen by hand or by lot, never by what comes out; the best, the median and the worst of
a draw are taken from its ranking. Where a dataset knows what its words name, pairs are sorted by
attention F1, elsewhere by their scores.

Page: "Attention atlas".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from IPython.display import Markdown

from itm_book.pairs.pair_records import PairRecord, pair_record
from itm_core.data.dataset import Split
from itm_core.data.vocabulary import Vocabulary
from itm_core.errors import InputError
from itm_core.evaluation.attention_quality import by_caption
from itm_core.experiments.prepare import encode, run_features
from itm_core.experiments.runs import Run
from itm_core.models import Matcher

Place = tuple[int, int]  # of a pair: the image, and which of its captions
ASKS = {"t2i": "words", "i2t": "regions"}
MEASURES = ["precision", "recall", "f1"]


@dataclass(frozen=True)
class Atlas:
    """Methods, by name, and the split whose pairs are looked at."""

    runs: Mapping[str, Run]
    split: Split

    @cached_property
    def matchers(self) -> dict[str, Matcher]:
        """The matcher of every method, loaded once."""
        return {name: run.matcher() for name, run in self.runs.items()}

    def records(self, image: int, caption: int) -> dict[str, PairRecord]:
        """Return how every method saw a pair; ``caption`` is counted among those of the image.

        Raises `InputError` for a pair that the split lacks, and for a method without attention.
        """
        place = self.split.place(image, caption)
        return {
            name: pair_record(run, self.split, image, place, name=name, matcher=self.matchers[name])
            for name, run in self.runs.items()
        }

    @cached_property
    def table(self) -> pd.DataFrame:
        """How well every method looks at every right pair of the split, a row for each direction.

        Columns: ``method``, ``asks`` (``words`` or ``regions``), ``image``, ``caption``, the
        `MEASURES` (shares, NaN where they are not known) and the ``score`` of the pair.
        """
        return pd.concat([self._rows(name) for name in self.runs], ignore_index=True)

    def _rows(self, name: str) -> pd.DataFrame:
        run, split = self.runs[name], self.split
        images = split.caption_image
        found: dict[str, np.ndarray] = {}
        if isinstance(run.vocabulary, Vocabulary):  # a dataset's truth is about its own words
            features = run_features(run, split)
            found = by_caption(self.matchers[name], split, encode(split, run.vocabulary), features)
        unknown = {"t2i": np.full((len(images), 3), np.nan)}
        known = {
            "method": name,
            "image": images,
            "caption": np.arange(len(images)) % split.captions_per_image,
            "score": run.scores[images, np.arange(len(images))],
        }
        parts = [
            pd.DataFrame(known | {"asks": ASKS[direction]}).join(
                pd.DataFrame(values, columns=MEASURES)
            )
            for direction, values in (found or unknown).items()
        ]
        return pd.concat(parts, ignore_index=True)


def draw(split: Split, count: int, seed: int) -> list[Place]:
    """Return ``count`` right pairs drawn by lot, none twice; the same for the same seed.

    Raises `InputError` for more than the split has.
    """
    if not 1 <= count <= len(split.captions):
        raise InputError(
            "so many pairs cannot be drawn",
            expected=f"1 to {len(split.captions)}",
            found=count,
        )
    chosen = np.random.default_rng(seed).choice(len(split.captions), count, replace=False)
    each = split.captions_per_image
    return [(int(place) // each, int(place) % each) for place in chosen]


def ranking(table: pd.DataFrame, pairs: Sequence[Place]) -> pd.DataFrame:
    """Return pairs of `Atlas.table`, best first, with a column for each method.

    In it is attention F1 of the words, and ``mean`` is that of all methods whose words ask (where
    none does, that of the regions). Where the dataset does not know what words name: the share of
    right pairs that the method scores lower. ``attrs["by"]`` says which of the two.

    Columns: ``image``, ``caption``, ``mean``, then the methods.
    """
    known = table["f1"].notna().any()
    asks = "words" if (table["asks"] == "words").any() else "regions"
    rows = table[table["asks"] == asks]
    if known:
        values = rows["f1"]
    else:
        below = rows.groupby("method")["score"].rank(method="min") - 1
        values = below / rows.groupby("method")["score"].transform("size")
    wide = rows.assign(value=values).pivot(
        index=["image", "caption"], columns="method", values="value"
    )
    wide = wide.loc[list(pairs), list(dict.fromkeys(rows["method"]))]
    wide.insert(0, "mean", wide.mean(axis=1))
    found = wide.sort_values("mean", ascending=False, kind="stable").reset_index()
    found.columns.name = None
    found.attrs["by"] = f"attention F1 of {asks}" if known else "score"
    return found


def picks(ranked: pd.DataFrame) -> dict[str, Place]:
    """Return the best, the median and the worst pair of a `ranking`; those without a value last.

    Raises `InputError` when no pair has a value.
    """
    valued = ranked[ranked["mean"].notna()]
    if valued.empty:
        raise InputError("nothing to choose from", found="pairs whose words name nothing")
    places = {"best": 0, "median": len(valued) // 2, "worst": len(valued) - 1}
    chosen = {name: valued.iloc[place] for name, place in places.items()}
    return {name: (int(row["image"]), int(row["caption"])) for name, row in chosen.items()}


def said(ranked: pd.DataFrame) -> Markdown:
    """Return in words what a `ranking` is sorted by."""
    if ranked.attrs["by"] != "score":
        return Markdown(f"Sorted by {ranked.attrs['by']}, the mean over the methods.")
    return Markdown(
        "This dataset does not say what its words name, so there is no attention F1. Pairs are "
        "sorted by score instead: the share of the right pairs that a method scores lower, the "
        "mean over the methods. A pair that is scored high need not be looked at well."
    )


def readable(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `ranking` in percent, with the place of each pair."""
    shown = ranked.drop(columns=["image", "caption"]) * 100
    shown.insert(0, "caption", ranked["caption"].astype(str))
    shown.insert(0, "image", ranked["image"].astype(str))
    return shown


def measures(records: Mapping[str, PairRecord]) -> pd.DataFrame:
    """Return precision, recall and F1 of attention of every method on a pair, and its score.

    In percent, the score as it is; a method that asks both ways has two rows. Best F1 first.
    """
    rows = []
    for name, record in records.items():
        for asking in record.directions:
            known = asking.measures() or (np.nan,) * 3
            row = dict(zip(("precision", "recall", "F1"), 100 * np.array(known), strict=True))
            score = f"{record.score:.3f}"
            rows.append({"method": name, "asks": ASKS[asking.direction], **row, "score": score})
    table = pd.DataFrame(rows).sort_values(
        ["asks", "F1"], ascending=False, kind="stable", ignore_index=True
    )
    return table.dropna(axis="columns", how="all")


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return for every method how attention F1 is spread over the pairs of a split, in percent.

    ``missed`` is the share of pairs in which nothing relevant was attended.
    """
    known = table[table["f1"].notna()]
    rows = []
    for (method, asks), group in known.groupby(["method", "asks"], sort=False):
        low, middle, high = np.percentile(100 * group["f1"], [10, 50, 90])
        row: dict[str, object] = {"method": method, "asks": asks, "pairs": str(len(group))}
        row |= {"mean F1": 100 * group["f1"].mean(), "lowest tenth below": low}
        row |= {"median": middle, "highest tenth above": high}
        rows.append(row | {"missed": 100 * float((group["f1"] == 0).mean())})
    return pd.DataFrame(rows)
