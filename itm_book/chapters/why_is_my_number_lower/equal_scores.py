"""Equal scores: what each rule for them makes of one score matrix.

Page: "Why is my number lower?".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from itm_book.chapters.why_is_my_number_lower.causes import tied
from itm_core.evaluation import retrieval


def released_ranks(scores: np.ndarray, caption_image: np.ndarray | None = None) -> retrieval.Ranks:
    """Return ranks of scores ``[I, C]`` as in the released evaluations: ``np.argsort(row)[::-1]``.

    The sort is not stable, so the order of equal scores depends on numpy and the processor.
    """
    images = np.arange(len(scores))
    of_caption = retrieval.image_of_captions(scores, caption_image)
    i2t = of_caption[np.argsort(scores, axis=1)[:, ::-1]] == images[:, None]
    t2i = np.argsort(scores.T, axis=1)[:, ::-1] == of_caption[:, None]
    counts = retrieval.ranks(scores, of_caption).counts
    return retrieval.Ranks(i2t.argmax(1), t2i.argmax(1), counts)


def ties(scores: Mapping[str, np.ndarray], caption_image: np.ndarray | None = None) -> pd.DataFrame:
    """Return the rSum of score matrices ``[I, C]`` under every rule for equal scores."""
    rows = []
    for name, matrix in scores.items():
        row: dict[str, object] = {"scores": name, "tied queries (%)": tied(matrix, caption_image)}
        for rule in retrieval.TIES:
            row[f"rSum, {rule}"] = retrieval.metrics(matrix, caption_image, ties=rule).rsum
        released = retrieval.hits_of(released_ranks(matrix, caption_image))
        row["rSum, released sort here"] = released[:, -1].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def degenerate(scores: np.ndarray) -> dict[str, np.ndarray]:
    """Return scores as they are, stored in fewer bits or digits, and collapsed to one value."""
    half = torch.from_numpy(scores).to(torch.bfloat16).float().numpy()
    return {
        "as they are": scores,
        "stored in bfloat16": half,
        "stored with two decimals": np.round(scores, 2),
        "a collapsed model: all equal": np.full_like(scores, scores.mean()),
    }
