"""The intermediate tensors of SCAN for one pair.

Page: "SCAN"; "Figure gallery".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from itm_book.pairs.word_maps import read_pair
from itm_core.data.dataset import Split
from itm_core.data.vocabulary import END, START, tokenise
from itm_core.errors import InputError
from itm_core.experiments.runs import Run
from itm_core.models import Attending
from itm_core.models.attention import normalise


@dataclass(frozen=True)
class Steps:
    """Intermediate tensors of SCAN for one pair; L words with ``<start>`` and ``<end>``, R regions.

    Attributes:
        dots, normalised, weights: ``[L, R]``.
        relevance: cosine of each query with its attended vector, ``[L]`` (t2i) or ``[R]`` (i2t).
        score: of the pair.
    """

    words: list[str]
    dots: np.ndarray
    normalised: np.ndarray
    weights: np.ndarray
    relevance: np.ndarray
    score: float


@torch.no_grad()
def scan_steps(run: Run, split: Split, image: int, caption: int) -> Steps:
    """Return the tensors of SCAN for one pair; raises `InputError` for a run of another method."""
    matcher = run.matcher()
    output = read_pair(run, split, image, caption, matcher)
    side = output.directions[0] if len(output.directions) == 1 else None
    if side is None or side.relevance is None or not isinstance(matcher, Attending):
        raise InputError("these are the steps of SCAN", found=run.recipe.name)
    attended = side.passes[0]
    Z = normalise(attended.dots, matcher.settings.normalisation, side.query_axis)
    return Steps(
        words=[START, *tokenise(split.captions[caption]), END],
        dots=attended.dots[0, :, 0].numpy(),
        normalised=Z[0, :, 0].numpy(),
        weights=attended.weights[0, :, 0].numpy(),
        relevance=side.relevance.flatten().numpy(),
        score=float(output.score),
    )
