"""Scoring time of trained runs on a split, on this machine.

Page: the chapters on CHAN and on every method.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

import numpy as np
import pandas as pd

from itm_book.datasets.run_features import run_features
from itm_book.tables.run_links import linked
from itm_core.data.dataset import Split
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments.prepare import encode
from itm_core.experiments.runs import Run

REPEATS = 5


def scoring_times(
    runs: Mapping[str, Run], split: Split, *, repeats: int = REPEATS, images: int | None = None
) -> pd.DataFrame:
    """Return the time of each run to score images of a split with all captions of theirs.

    Timings of the runs are interleaved, so that a varying machine load affects all of them.
    Columns:
    ``method``, ``milliseconds`` (median of ``repeats``), ``thousand pairs per second``, and
    ``times the fastest``.

    Args:
        images: how many, the first ones; all by default.
    """
    count = len(split.regions) if images is None else min(images, len(split.regions))
    last = int(np.searchsorted(split.caption_image, count))  # captions come in the images' order
    matchers = {name: run.matcher() for name, run in runs.items()}
    features = {name: run_features(run, split)[:count] for name, run in runs.items()}
    captions = {name: encode(split, run.vocabulary)[:last] for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, matcher in matchers.items():
            started = time.perf_counter()
            score_matrix(matcher, features[name], captions[name])
            times[name].append(time.perf_counter() - started)
    medians = {name: median(seconds) for name, seconds in times.items()}
    pairs = count * last
    seconds_of = pd.Series(medians)
    table = pd.DataFrame(
        {
            "method": list(medians),
            "milliseconds": 1000 * seconds_of.to_numpy(),
            "thousand pairs per second": pairs / seconds_of.to_numpy() / 1000,
            "times the fastest": (seconds_of / seconds_of.min()).to_numpy(),
        }
    )
    return linked(table, {"method": [[run.place] for run in runs.values()]})
