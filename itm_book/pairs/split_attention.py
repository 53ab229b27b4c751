"""Attention of several methods on all matching pairs of a split.

Page: "Attention atlas"; "Figure gallery".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch

from itm_book.datasets.run_features import run_features
from itm_book.pairs.pair_records import PairRecord, pair_record
from itm_core.data.dataset import Split
from itm_core.evaluation.attention_measures import (
    attention_threshold,
    measures_of_counts,
    set_counts,
)
from itm_core.evaluation.attention_quality import annotated_passes
from itm_core.experiments.prepare import encode, word_rows
from itm_core.experiments.runs import Run
from itm_core.models import Matcher

QUERIES = {"t2i": "words", "i2t": "regions"}
MEASURES = ["precision", "recall", "f1"]


@dataclass(frozen=True)
class SplitAttention:
    """Attention of several runs, by name, on the matching pairs of a split."""

    runs: Mapping[str, Run]
    split: Split

    @cached_property
    def matchers(self) -> dict[str, Matcher]:
        """The matcher of every method, loaded once."""
        return {name: run.matcher() for name, run in self.runs.items()}

    def records(self, image: int, caption: int) -> dict[str, PairRecord]:
        """Return the record of a pair for every method; ``caption`` is its number for the image.

        Raises `InputError` for a pair that is not in the split, or a method without attention.
        """
        place = self.split.place(image, caption)
        return {
            name: pair_record(run, self.split, image, place, name=name, matcher=self.matchers[name])
            for name, run in self.runs.items()
        }

    @cached_property
    def table(self) -> pd.DataFrame:
        """Attention quality on every matching pair of the split, a row per method and direction.

        Columns: ``method``, ``queries`` (``words`` or ``regions``), ``image``, ``caption``, the
        `MEASURES` (fractions, NaN without annotations) and the ``score`` of the pair.
        """
        return pd.concat([self._rows(name) for name in self.runs], ignore_index=True)

    def _rows(self, name: str) -> pd.DataFrame:
        run, split = self.runs[name], self.split
        images = split.caption_image
        features, tokens = run_features(run, split), encode(split, run.vocabulary)
        rows = word_rows(split.captions, run.vocabulary)
        measured = by_caption(self.matchers[name], split, tokens, features, word_rows=rows)
        unknown = {"t2i": np.full((len(images), 3), np.nan)}
        columns = {
            "method": name,
            "image": images,
            "caption": split.caption_number,
            "score": run.scores[images, np.arange(len(images))],
        }
        parts = [
            pd.DataFrame(columns | {"queries": QUERIES[direction]}).join(
                pd.DataFrame(values, columns=MEASURES)
            )
            for direction, values in (measured or unknown).items()
        ]
        return pd.concat(parts, ignore_index=True)


def by_caption(
    matcher: Matcher,
    split: Split,
    tokens: Sequence[Sequence[int]],
    features: Any = None,
    *,
    word_rows: Sequence[Sequence[int]] | None = None,
) -> dict[str, np.ndarray]:
    """Return precision, recall and F1 of every caption with its own image, ``[C, 3]``.

    By direction, ``t2i`` and ``i2t``: means over the caption's queries at the mean weight, NaN
    for a caption without a query that has a relevant key. Empty where `attention_quality` is,
    whose numbers are means over all queries, so that a long caption counts more there.
    """
    sums: dict[str, torch.Tensor] = {}
    for attention in annotated_passes(matcher, split, tokens, features, word_rows=word_rows):
        weights, relevant, keys = attention.queries()
        some = relevant.any(1)
        counts = set_counts(weights[some].double(), relevant[some], attention_threshold(keys[some]))
        measures = measures_of_counts(counts)
        rows = torch.cat([measures, torch.ones_like(measures[:1])]).T  # the last column counts
        empty = torch.zeros(len(split.captions), 4, dtype=torch.double)
        total = sums.setdefault(attention.direction, empty)
        captions = attention.start + attention.query_places()[0]
        total.index_add_(0, captions[some], rows)
    # 0 / 0 is NaN for a caption without a query
    return {name: (total[:, :3] / total[:, 3:]).numpy() for name, total in sums.items()}
