"""What a shorter precision does to the ranks of a trained method.

Page: "What it costs".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from itm_core import retrieval
from itm_core.data.precomp import Split
from itm_core.inputs import encode, features_of
from itm_core.run_links import linked
from itm_core.runs import Run
from itm_core.scoring import score_matrix


def effect(
    runs: Mapping[str, Run], split: Split, precisions: Sequence[str] = ("bfloat16",)
) -> pd.DataFrame:
    """Return what every precision moves against float32, on all pairs of a split.

    Columns: ``method``, ``precision``, ``largest difference`` of a score, ``ranks moved`` (percent
    of the queries whose best right answer has another rank), ``R@1 i2t`` and ``R@1 t2i`` (the
    change in points), ``rSum`` (its change).
    """
    rows = []
    for name, run in runs.items():
        matcher, captions = run.matcher(), encode(split, run.vocabulary)
        features = features_of(split, run.recipe)
        plain = score_matrix(matcher, features, captions)
        for precision in precisions:
            short = score_matrix(matcher, features, captions, precision=precision)
            rows.append({"method": name, "precision": precision, **_moved(plain, short)})
    places = [[run.place] for run in runs.values() for _ in precisions]
    return linked(pd.DataFrame(rows), {"method": places})


def _moved(plain: np.ndarray, short: np.ndarray) -> dict[str, float | str]:
    before, after = retrieval.ranks(plain), retrieval.ranks(short)
    sides = [(before.i2t, after.i2t), (before.t2i, after.t2i)]
    moved = sum(int((a != b).sum()) for a, b in sides)
    first = [100 * float((b < 1).mean() - (a < 1).mean()) for a, b in sides]
    rsum = retrieval.metrics(short).flat()["rsum"] - retrieval.metrics(plain).flat()["rsum"]
    return {
        "largest difference": f"{np.abs(plain - short).max():.4f}",
        "ranks moved": 100 * moved / sum(len(a) for a, _ in sides),
        "R@1 i2t": first[0],
        "R@1 t2i": first[1],
        "rSum": rsum,
    }
