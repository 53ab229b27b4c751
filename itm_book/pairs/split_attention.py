"""Attention of several methods on all matching pairs of a split.

Page: "Attention atlas"; "Figure gallery".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from itm_book.datasets.run_features import run_features
from itm_book.pairs.pair_records import PairRecord, pair_record
from itm_core.data.dataset import Split
from itm_core.data.vocabulary import Vocabulary
from itm_core.evaluation.attention_quality import by_caption
from itm_core.experiments.prepare import encode
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
        measured: dict[str, np.ndarray] = {}
        if isinstance(run.vocabulary, Vocabulary):  # annotations are of the dataset's own tokens
            features = run_features(run, split)
            measured = by_caption(
                self.matchers[name], split, encode(split, run.vocabulary), features
            )
        unknown = {"t2i": np.full((len(images), 3), np.nan)}
        columns = {
            "method": name,
            "image": images,
            "caption": np.arange(len(images)) % split.captions_per_image,
            "score": run.scores[images, np.arange(len(images))],
        }
        parts = [
            pd.DataFrame(columns | {"queries": QUERIES[direction]}).join(
                pd.DataFrame(values, columns=MEASURES)
            )
            for direction, values in (measured or unknown).items()
        ]
        return pd.concat(parts, ignore_index=True)
