"""One pair step by step: the tensors that the chapter on SCAN draws."""

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
    """What SCAN computes of one pair; L words with ``<start>`` and ``<end>``, R regions.

    Attributes:
        dots, normalised, weights: ``[L, R]``.
        relevance: cosine of each query with what it saw, ``[L]`` (t2i) or ``[R]`` (i2t).
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
    """Return every step of SCAN for one pair; raises `InputError` for a run of another method."""
    matcher = run.matcher()
    reading = read_pair(run, split, image, caption, matcher)
    look = reading.directions[0] if len(reading.directions) == 1 else None
    if look is None or look.relevance is None or not isinstance(matcher, Attending):
        raise InputError("the steps are those of SCAN", found=run.recipe.name)
    seen = look.passes[0]
    Z = normalise(seen.dots, matcher.settings.normalisation, look.query_axis)
    return Steps(
        words=[START, *tokenise(split.captions[caption]), END],
        dots=seen.dots[0, :, 0].numpy(),
        normalised=Z[0, :, 0].numpy(),
        weights=seen.weights[0, :, 0].numpy(),
        relevance=look.relevance.flatten().numpy(),
        score=float(reading.score),
    )
