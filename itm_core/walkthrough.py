"""One pair step by step: the tensors that the chapters on SCAN and on RCAR draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from itm_core.attention import normalise
from itm_core.data.precomp import Split
from itm_core.data.vocabulary import END, START, tokenise
from itm_core.errors import InputError
from itm_core.matchers import Attending
from itm_core.runs import Run
from itm_core.word_maps import read_pair


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
    look = reading.looks[0] if len(reading.looks) == 1 else None
    if look is None or look.relevance is None or not isinstance(matcher, Attending):
        raise InputError("the steps are those of SCAN", found=run.recipe.name)
    seen = look.passes[0]
    Z = normalise(seen.dots, matcher.settings.normalisation, look.asking)
    return Steps(
        words=[START, *tokenise(split.captions[caption]), END],
        dots=seen.dots[0, :, 0].numpy(),
        normalised=Z[0, :, 0].numpy(),
        weights=seen.weights[0, :, 0].numpy(),
        relevance=look.relevance.flatten().numpy(),
        score=float(reading.score),
    )


@dataclass(frozen=True)
class Passes:
    """What a regulated matcher does to one pair, pass by pass; Q queries: words or regions.

    Attributes:
        words: the L tokens with ``<start>`` and ``<end>``.
        weights: ``[L, R]`` attention of every pass.
        temperature: ``[Q]`` of every pass.
        change: ``[Q]`` of every pass, how far the channel factors are from one, their root mean
            square.
        pooling: ``[Q]`` weights of every step of RAR; empty without one.
        contribution: ``[Q]`` shares of the score.
    """

    words: list[str]
    weights: list[np.ndarray]
    temperature: list[np.ndarray]
    change: list[np.ndarray]
    pooling: list[np.ndarray]
    contribution: np.ndarray


@torch.no_grad()
def passes(run: Run, split: Split, image: int, caption: int) -> Passes:
    """Return every pass over one pair; raises `InputError` for a run that does not attend."""
    looks = read_pair(run, split, image, caption).looks
    if not looks:
        raise InputError("nothing attends here", found=run.recipe.name)
    look = looks[0]
    queries = look.passes[0].weights.sum(look.axis).numel()
    steerings = [seen.steering for seen in look.passes]
    assert look.contribution is not None  # `read_pair` explains
    return Passes(
        words=[START, *tokenise(split.captions[caption]), END],
        weights=[seen.weights[0, :, 0].numpy() for seen in look.passes],
        temperature=[each_query(s.temperature, queries) for s in steerings],
        change=[_change(s.factors, queries) for s in steerings],
        pooling=[weights.flatten().numpy() for weights in look.pooling],
        contribution=look.contribution.flatten().numpy(),
    )


def each_query(value: float | torch.Tensor, queries: int) -> np.ndarray:
    """Return a temperature that may be one for all as one for each query, ``[Q]``."""
    return torch.as_tensor(value, dtype=torch.float32).flatten().expand(queries).numpy()


def _change(factors: torch.Tensor | None, queries: int) -> np.ndarray:
    if factors is None:
        return np.zeros(queries, np.float32)
    return (factors - 1).square().mean(-1).sqrt().flatten().numpy()
