"""Retrieval numbers: Recall@K, ranks, rSum, folds, ensembles, intervals and paired tests.

"Recall@K" is the field's word for a hit rate: the share of queries for which *one* right item
is among the first K. An image has five right captions; the best-ranked of them counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from itm_core.errors import InputError

CUTS = (1, 5, 10)
TIES = ("pessimistic", "optimistic", "mean")
ROWS_AT_ONCE = 256
RESAMPLES = 2000


@dataclass(frozen=True)
class Ranks:
    """Rank of the best right item of each query, from 0: ``i2t [I]`` and ``t2i [C]``."""

    i2t: np.ndarray
    t2i: np.ndarray


@dataclass(frozen=True)
class Direction:
    """Numbers of one direction: recalls in percent; median (floored) and mean rank from 1."""

    r1: float
    r5: float
    r10: float
    median: float
    mean: float

    def values(self) -> list[float]:
        """Return the five numbers in the order of the field's printouts."""
        return [self.r1, self.r5, self.r10, self.median, self.mean]


@dataclass(frozen=True)
class Metrics:
    """Numbers of both directions; ``rsum`` is the sum of the six recalls."""

    i2t: Direction
    t2i: Direction

    @property
    def rsum(self) -> float:
        """Sum of R@1, R@5 and R@10 of both directions."""
        return sum(self.i2t.values()[:3]) + sum(self.t2i.values()[:3])

    def flat(self) -> dict[str, float]:
        """Return the numbers as one row: ``rsum``, ``i2t_r1`` ... ``t2i_mean``."""
        sides = {"i2t": self.i2t, "t2i": self.t2i}
        named = {f"{s}_{k}": v for s, side in sides.items() for k, v in asdict(side).items()}
        return {"rsum": self.rsum, **named}


def _checked(scores: np.ndarray, per_image: int, nan: str) -> np.ndarray:
    if scores.ndim != 2 or scores.shape[1] != per_image * scores.shape[0]:
        raise InputError(
            "the score matrix has the wrong shape",
            expected=f"[I, {per_image} I], images by captions",
            found=list(scores.shape),
        )
    bad = np.isnan(scores)
    if not bad.any():
        return scores
    if nan != "first":
        image, caption = np.argwhere(bad)[0]
        raise InputError(
            "a score is not a number",
            found=f"NaN at image {image}, caption {caption}",
            remedy="look for zero or non-finite features",
        )
    return np.where(bad, np.inf, scores)  # as the released evaluation sorts them


def ranks(
    scores: np.ndarray,
    *,
    captions_per_image: int = 5,
    ties: str = "pessimistic",
    nan: str = "refuse",
) -> Ranks:
    """Return the rank of the best right item of every query, from 0.

    Args:
        scores: ``[I, C]``; captions ``5 i .. 5 i + 4`` belong to image i.
        ties: what an equal score of a wrong item means: the right one comes after it
            (``pessimistic``), before it (``optimistic``), or as chance has it (``mean``: the
            mean rank over all orders of the tied items). The released evaluation leaves it to
            an unstable sort.
        nan: ``refuse``, or ``first`` to rank a NaN above all as the released evaluation does.

    Raises `InputError` for another shape, or a NaN that is refused.
    """
    if ties not in TIES:
        raise InputError("unknown value of ties", expected=f"one of {TIES}", found=ties)
    scores = _checked(np.asarray(scores), captions_per_image, nan)
    images, n = len(scores), captions_per_image
    own = scores.reshape(images, images, n)[np.arange(images), np.arange(images)]  # [I, n]
    i2t, t2i = np.empty(images), np.zeros(images * n)
    positives = own.reshape(-1)
    same = np.zeros(images * n)
    for start in range(0, images, ROWS_AT_ONCE):
        block = scores[start : start + ROWS_AT_ONCE]
        stop = start + len(block)
        best = own[start:stop].max(1, keepdims=True)
        mine = (own[start:stop] == best).sum(1)
        equal = (block == best).sum(1) - mine
        i2t[start:stop] = (block > best).sum(1) + equal * _share(ties, mine)
        t2i += (block > positives).sum(0)
        same += (block == positives).sum(0)
    t2i += (same - 1) * _share(ties, np.ones(1))  # a positive always equals itself
    kind = float if ties == "mean" else np.int64
    return Ranks(i2t.astype(kind), t2i.astype(kind))


def _share(ties: str, right: np.ndarray) -> np.ndarray:
    """Return which share of the tied wrong items comes before ``right`` tied right ones."""
    before = {"pessimistic": np.ones(1), "optimistic": np.zeros(1), "mean": 1.0 / (right + 1.0)}
    return before[ties]


def _direction(found: np.ndarray) -> Direction:
    r1, r5, r10 = (100.0 * float(np.mean(found < cut)) for cut in CUTS)
    return Direction(r1, r5, r10, float(np.floor(np.median(found)) + 1), float(found.mean() + 1))


def metrics(
    scores: np.ndarray,
    *,
    captions_per_image: int = 5,
    ties: str = "pessimistic",
    nan: str = "refuse",
) -> Metrics:
    """Return the retrieval numbers of a score matrix ``[I, C]``; see `ranks`.

    >>> metrics(np.repeat(np.eye(20), 5, axis=1)).rsum
    600.0
    """
    found = ranks(scores, captions_per_image=captions_per_image, ties=ties, nan=nan)
    return Metrics(_direction(found.i2t), _direction(found.t2i))


def five_folds(scores: np.ndarray, *, captions_per_image: int = 5, folds: int = 5) -> Metrics:
    """Return the means over folds of the images, each fold scored by itself (COCO 1K).

    Raises `InputError` when the images do not divide into the folds. rSum and the averages are
    those of the means; the summary lines that SCAN's release prints here are mislabelled.
    """
    images, n = len(scores), captions_per_image
    if images % folds:
        raise InputError(
            "images do not divide into folds", expected=f"a multiple of {folds}", found=images
        )
    size = images // folds
    parts = [
        metrics(
            scores[k * size : (k + 1) * size, k * size * n : (k + 1) * size * n],
            captions_per_image=n,
        )
        for k in range(folds)
    ]
    means = {
        side: np.mean([getattr(p, side).values() for p in parts], axis=0).tolist()
        for side in ("i2t", "t2i")
    }
    return Metrics(Direction(*means["i2t"]), Direction(*means["t2i"]))


def ensemble(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of several models' score matrices, as the papers' ensembles do.

    Raises `InputError` when there are none or their shapes differ.
    """
    shapes = {np.shape(s) for s in scores}
    if len(shapes) != 1:
        raise InputError("score matrices of one shape are needed", found=sorted(shapes) or "none")
    return np.mean(np.stack([np.asarray(s, np.float64) for s in scores]), axis=0)


NUMBERS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")


def _hits(scores: np.ndarray, per_image: int, ties: str = "pessimistic") -> np.ndarray:
    """Return hits in percent for each image: ``[I, 7]``, columns as `NUMBERS`.

    A caption's hits are averaged with those of its image's other captions, so that an image
    with its five captions is one unit of resampling.
    """
    found = ranks(scores, captions_per_image=per_image, ties=ties)
    i2t = np.stack([found.i2t < cut for cut in CUTS], 1)
    t2i = np.stack([found.t2i < cut for cut in CUTS], 1).reshape(-1, per_image, 3).mean(1)
    both = 100.0 * np.concatenate([i2t, t2i], 1)
    return np.concatenate([both, both.sum(1, keepdims=True)], 1)


def _resampled(hits: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return the means ``[resamples, 7]`` of images drawn with replacement."""
    images = len(hits)
    draw = np.random.default_rng(seed)
    counts = draw.multinomial(images, np.full(images, 1 / images), size=resamples)
    return counts @ hits / images


def bootstrap(
    *scores: np.ndarray,
    captions_per_image: int = 5,
    ties: str = "pessimistic",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of every recall and of rSum; of their mean for several runs.

    Percentile bootstrap over images; an image's five captions come along with it, because they
    are not independent queries. Ranks are kept: the gallery stays the whole test set. The
    spread between seeds is not in it.
    """
    hits = np.mean([_hits(one, captions_per_image, ties) for one in scores], axis=0)
    low, high = np.percentile(_resampled(hits, resamples, seed), [2.5, 97.5], axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(NUMBERS, low, high, strict=True)}


def paired_test(
    ours: np.ndarray,
    theirs: np.ndarray,
    *,
    captions_per_image: int = 5,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how two runs differ on the same test set, one row per number of `NUMBERS`.

    Columns: ``difference`` (ours - theirs), ``low`` and ``high`` (95 % interval), ``p`` (two
    sided, from the same paired bootstrap over images) and ``smallest_gap``, the difference that
    this test set could just show (1.96 standard errors).
    """
    gap = _hits(ours, captions_per_image) - _hits(theirs, captions_per_image)
    means = _resampled(gap, resamples, seed)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    beyond = np.minimum((means <= 0).mean(0), (means >= 0).mean(0))
    return pd.DataFrame(
        {
            "difference": gap.mean(0),
            "low": low,
            "high": high,
            "p": np.clip(2 * beyond, 1 / resamples, 1.0),
            "smallest_gap": 1.96 * means.std(0),
        },
        index=pd.Index(NUMBERS, name="number"),
    )


def report(scores: np.ndarray, *, captions_per_image: int = 5) -> dict[str, Any]:
    """Return everything a run records of a score matrix, ready for JSON."""
    found = metrics(scores, captions_per_image=captions_per_image)
    limits = bootstrap(scores, captions_per_image=captions_per_image)
    return {
        **found.flat(),
        "images": scores.shape[0],
        "captions": scores.shape[1],
        "intervals": {name: list(pair) for name, pair in limits.items()},
        "interval_method": f"95 %, percentile bootstrap over images, {RESAMPLES} resamples",
    }


def text(recorded: dict[str, Any]) -> str:
    """Return a run's record as two lines to print."""
    lines = []
    for side, name in (("i2t", "image to text"), ("t2i", "text to image")):
        parts = []
        for cut in CUTS:
            low, high = recorded["intervals"][f"{side}_r{cut}"]
            parts.append(f"R@{cut} {recorded[f'{side}_r{cut}']:.1f} [{low:.1f}, {high:.1f}]")
        lines.append(f"{name}:  {'  '.join(parts)}  median rank {recorded[f'{side}_median']:.0f}")
    low, high = recorded["intervals"]["rsum"]
    return "\n".join([*lines, f"rSum {recorded['rsum']:.1f} [{low:.1f}, {high:.1f}]"])
