"""What a shorter precision does to the ranks of a trained method.

Page: "What it costs".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from itm_book.tables.run_links import linked
from itm_core.data.dataset import Split
from itm_core.evaluation import retrieval
from itm_core.evaluation.scoring import (
    encode_captions,
    encode_images,
    score_fragments,
    score_matrix,
)
from itm_core.experiments.prepare import encode, run_features
from itm_core.experiments.runs import Run
from itm_core.models import Matcher

LOST = 13  # bits of a float32's fraction that TF32 has not
FACTORS = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2)}


def effect(
    runs: Mapping[str, Run], split: Split, precisions: Sequence[str] = ("tf32", "bfloat16")
) -> pd.DataFrame:
    """Return what every precision moves against float32, on all pairs of a split.

    On a CPU, which has no TF32, `CutToTF32` stands for it.

    Columns: ``method``, ``precision``, ``largest difference`` of a score, ``ranks moved`` (percent
    of the queries whose best right answer has another rank), ``R@1 i2t`` and ``R@1 t2i`` (the
    change in points), ``rSum`` (its change).
    """
    rows = []
    for name, run in runs.items():
        matcher, captions = run.matcher(), encode(split, run.vocabulary)
        features = run_features(run, split)
        plain = score_matrix(matcher, features, captions)
        for precision in precisions:
            short = _short(matcher, features, captions, precision)
            rows.append({"method": name, "precision": precision, **_moved(plain, short)})
    places = [[run.place] for run in runs.values() for _ in precisions]
    return linked(pd.DataFrame(rows), {"method": places})


class CutToTF32(TorchDispatchMode):
    """Inside, factors of float32 products have the ten bits of fraction that TF32 keeps.

    The rest is cut off, not rounded: the coarser of the two ways in which hardware shortens.
    Sums are float32, as there.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation, a product with shortened factors."""
        places = FACTORS.get(func.overloadpacket.__name__, ())
        given = [cut(x) if k in places else x for k, x in enumerate(args)]
        return func(*given, **(kwargs or {}))


def cut(x: Tensor) -> Tensor:
    """Return float32 numbers without the bits that TF32 has not; other kinds as they are.

    >>> cut(torch.tensor([1 + 2.0**-10 + 2.0**-11])).item() == 1 + 2.0**-10
    True
    """
    return (x.view(torch.int32) >> LOST << LOST).view(x.dtype) if x.dtype == torch.float32 else x


def _short(
    matcher: Matcher, features: np.ndarray, captions: Sequence[Sequence[int]], precision: str
) -> np.ndarray:
    """Return the scores ``[I, C]`` in a precision that this device may have to imitate."""
    if precision != "tf32" or next(matcher.parameters()).device.type == "cuda":
        return score_matrix(matcher, features, captions, precision=precision)
    scores = np.empty((len(features), len(captions)), np.float32)
    regions = encode_images(matcher.eval(), features)
    for chosen, words in encode_captions(matcher, captions):
        with CutToTF32():
            scores[:, chosen] = score_fragments(matcher, regions, words).numpy()
    return scores


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
