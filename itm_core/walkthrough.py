"""SCAN step by step for one pair: the tensors that the SCAN chapter draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from itm_core.attention import normalise
from itm_core.data.precomp import Split
from itm_core.data.vocabulary import END, START, tokenise
from itm_core.errors import InputError
from itm_core.matchers import Scan
from itm_core.pairing import Matched, other
from itm_core.runs import Run
from itm_core.scoring import pad


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
    if not isinstance(matcher, Scan):
        raise InputError("the steps are those of SCAN", found=type(matcher).__name__)
    ids, lens = pad([run.vocabulary.encode(split.captions[caption])])
    features = torch.from_numpy(np.array(split.regions[image : image + 1], np.float32))
    pairing = Matched(matcher.regions(features), matcher.words(ids, lens))
    S = pairing.dot()
    seen = matcher.read(pairing)
    Z = normalise(S, matcher.settings.normalisation, other(seen.asked))
    return Steps(
        words=[START, *tokenise(split.captions[caption]), END],
        dots=S[0, :, 0].numpy(),
        normalised=Z[0, :, 0].numpy(),
        weights=seen.weights[0, :, 0].numpy(),
        relevance=seen.relevance.flatten().numpy(),
        score=float(seen.score),
    )
