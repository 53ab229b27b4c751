"""Retrieval numbers: Recall@K, ranks, rSum, folds, ensembles, intervals and paired tests.

"Recall@K" is the field's term for a hit rate: the fraction of queries for which *one* correct item
is among the first K. An image has k correct captions; the best-ranked of them counts. Score
matrices are ``[I, C]`` with C = k I: captions ``k i .. k i + k - 1`` belong to image i.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from itm_core.errors import InputError
from itm_core.evaluation import statistics
from itm_core.evaluation.statistics import RESAMPLES
from itm_core.settings import at_least, one_of

CUTS = (1, 5, 10)
TIES = ("pessimistic", "optimistic", "mean")
NANS = ("refuse", "first")
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Ranks:
    """Rank of the best correct item of each query, from 0: ``i2t [I]`` and ``t2i [C]``."""

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
        named = {f"{s}_{k}": v for s, side in asdict(self).items() for k, v in side.items()}
        return {"rsum": self.rsum, **named}


@dataclass(frozen=True, eq=False)
class _Counts:
    """How many items stand above or beside the best correct one: arrays ``[Q]`` of integers."""

    above: np.ndarray  # wrong items with a larger score
    tied: np.ndarray  # wrong items with the same score
    correct: np.ndarray  # correct items with the same score, itself among them

    def ranks(self, ties: str) -> np.ndarray:
        """Return the rank from 0; a float where it is a mean over orders."""
        if ties == "mean":  # the tied wrong items fall into correct + 1 gaps, one before it
            return self.above + self.tied / (self.correct + 1.0)
        return self.above + self.tied if ties == "pessimistic" else self.above

    def hits(self, cut: int, ties: str) -> np.ndarray:
        """Return whether the rank is below ``cut``; its probability over orders for ``mean``."""
        if ties != "mean":
            return (self.ranks(ties) < cut).astype(float)
        missed = np.ones(len(self.above))
        for drawn in range(cut):  # fill the places after `above` from the tied items, one by one
            wrong = np.maximum(self.tied - drawn, 0)
            missed *= np.where(self.above + drawn < cut, wrong / (wrong + self.correct), 1.0)
        return 1.0 - missed


def captions_per_image(scores: np.ndarray) -> int:
    """Return how many captions an image has: k = C / I of a score matrix ``[I, C]``.

    Raises `InputError` for another shape.

    >>> captions_per_image(np.zeros((4, 20)))
    5
    """
    shape = np.shape(scores)
    if len(shape) != 2 or not shape[0] or not shape[1] or shape[1] % shape[0]:
        raise InputError(
            "the score matrix has the wrong shape",
            expected="[I, k I], images by captions, k captions for each image",
            found=list(shape),
        )
    return shape[1] // shape[0]


def _without_nan(scores: np.ndarray, nan: str) -> np.ndarray:
    one_of("nan", nan, NANS)
    starts = range(0, len(scores), ROWS_AT_ONCE)  # the matrix may be a map, larger than memory
    bad = next((k for k in starts if np.isnan(scores[k : k + ROWS_AT_ONCE]).any()), None)
    if bad is None:
        return scores
    if nan == "refuse":
        image, caption = np.argwhere(np.isnan(scores[bad : bad + ROWS_AT_ONCE]))[0]
        raise InputError(
            "a score is not a number",
            found=f"NaN at image {bad + image}, caption {caption}",
            remedy="look for zero or non-finite features",
        )
    return np.where(np.isnan(scores), np.inf, scores)  # as the released evaluation sorts them


def ranks(scores: np.ndarray, *, ties: str = "pessimistic", nan: str = "refuse") -> Ranks:
    """Return the rank of the best correct item of every query, from 0.

    Args:
        scores: ``[I, C]``, C = k I.
        ties: where a wrong item has the same score, the correct one is ranked after it
            (``pessimistic``), before it (``optimistic``), or at random (``mean``: the mean over
            all orders of the tied items, of the rank here and of the hit in `metrics`). The
            released evaluation leaves it to an unstable sort.
        nan: ``refuse``, or ``first`` to rank a NaN above all as the released evaluation does.

    Raises `InputError` for another shape, an unknown value of ``ties`` or ``nan``, or a NaN that
    is refused.
    """
    i2t, t2i = _counts(scores, ties, nan)
    return Ranks(i2t.ranks(ties), t2i.ranks(ties))


def _counts(scores: np.ndarray, ties: str, nan: str = "refuse") -> tuple[_Counts, _Counts]:
    """Return the counts of image to text and text to image."""
    one_of("ties", ties, TIES)
    images, k = len(scores), captions_per_image(scores)
    scores = _without_nan(np.asarray(scores), nan)
    positives = scores.reshape(images, images, k)[np.arange(images), np.arange(images)]  # [I, k]
    best = positives.max(1, keepdims=True)  # [I, 1]
    i2t, t2i = np.empty((2, images), np.int64), np.zeros((2, images * k), np.int64)
    for start in range(0, images, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        block = scores[rows]
        i2t[:, rows] = (block > best[rows]).sum(1), (block == best[rows]).sum(1)
        t2i += (block > positives.reshape(-1)).sum(0), (block == positives.reshape(-1)).sum(0)
    correct = (positives == best).sum(1)
    one = np.ones(images * k, np.int64)  # a caption has one correct image, which equals itself
    return _Counts(i2t[0], i2t[1] - correct, correct), _Counts(t2i[0], t2i[1] - one, one)


def _direction(counts: _Counts, ties: str) -> Direction:
    ranks = counts.ranks(ties)
    r1, r5, r10 = (100.0 * float(counts.hits(cut, ties).mean()) for cut in CUTS)
    return Direction(r1, r5, r10, float(np.floor(np.median(ranks)) + 1), float(ranks.mean() + 1))


def metrics(scores: np.ndarray, *, ties: str = "pessimistic", nan: str = "refuse") -> Metrics:
    """Return the retrieval numbers of a score matrix ``[I, C]``; arguments as for `ranks`.

    >>> metrics(np.repeat(np.eye(20), 5, axis=1)).rsum
    600.0
    """
    i2t, t2i = _counts(scores, ties, nan)
    return Metrics(_direction(i2t, ties), _direction(t2i, ties))


def five_folds(scores: np.ndarray, *, folds: int = 5, ties: str = "pessimistic") -> Metrics:
    """Return the means over folds of the images, each fold scored by itself (COCO 1K).

    rSum is that of the means; the summary lines that SCAN's release prints here are mislabelled.

    Raises `InputError` for a wrong shape, fewer than 2 folds, or images that do not divide.
    """
    images, k = len(scores), captions_per_image(scores)
    at_least("folds", folds, 2)
    if images % folds:
        raise InputError(
            "images do not divide into folds", expected=f"a multiple of {folds}", found=images
        )
    size = images // folds
    starts = range(0, images, size)
    parts = [metrics(scores[i : i + size, k * i : k * (i + size)], ties=ties) for i in starts]
    i2t, t2i = ([part.i2t.values() for part in parts], [part.t2i.values() for part in parts])
    return Metrics(*(Direction(*np.mean(side, axis=0).tolist()) for side in (i2t, t2i)))


def ensemble(scores: Iterable[np.ndarray]) -> np.ndarray:
    """Return the mean of several models' score matrices, as the papers' ensembles do.

    They are added up in float64, one at a time, so an iterator need not hold them all.
    Raises `InputError` when there are none or their shapes differ.
    """
    total, count = np.zeros(0), 0
    for count, matrix in enumerate(scores, 1):
        if count > 1:
            _one_shape([total, matrix])
        total = total + matrix if count > 1 else np.array(matrix, np.float64, order="C")
    if not count:
        _one_shape([])
    return total / count


def _one_shape(scores: Sequence[np.ndarray]) -> None:
    shapes = {np.shape(s) for s in scores}
    if len(shapes) != 1:
        raise InputError("score matrices must have one shape", found=sorted(shapes) or "none")


NUMBERS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")


def hits(scores: np.ndarray, *, ties: str = "pessimistic") -> np.ndarray:
    """Return hits in percent for each image: ``[I, 7]``, columns as `NUMBERS`.

    A caption's hits are averaged with those of its image's other captions, so that an image
    with its captions is one unit of resampling.
    """
    return _by_image(*([side.hits(cut, ties) for cut in CUTS] for side in _counts(scores, ties)))


def hits_of(ranks: Ranks) -> np.ndarray:
    """Return what `hits` does, from ranks."""
    return _by_image(*([side < cut for cut in CUTS] for side in (ranks.i2t, ranks.t2i)))


def _by_image(i2t: Sequence[np.ndarray], t2i: Sequence[np.ndarray]) -> np.ndarray:
    images, captions = (np.stack(side, 1).astype(float) for side in (i2t, t2i))
    captions = captions.reshape(len(images), -1, len(CUTS)).mean(1)
    both = 100.0 * np.concatenate([images, captions], 1)
    return np.concatenate([both, both.sum(1, keepdims=True)], 1)


def interval(
    *hits: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of every recall and of rSum, from the `hits` of a run.

    Of the mean of several runs where there are more. Percentile bootstrap over images, each with
    its captions, which are not independent queries. Ranks are kept: the gallery stays the full
    test set. The variation between seeds is not included, and a number at 0 or 100 has an
    interval of zero width.

    Raises `InputError` when there are no hits or their shapes differ.
    """
    _one_shape(hits)
    means = statistics.bootstrap_means(np.mean(hits, axis=0), resamples, seed)
    low, high = statistics.interval(means)
    return {name: (float(a), float(b)) for name, a, b in zip(NUMBERS, low, high, strict=True)}


def paired_bootstrap(
    ours: np.ndarray, theirs: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Return the differences of two runs on the same test set, one row per number of `NUMBERS`.

    ``ours`` and ``theirs [I, 7]`` are the `hits` of a run, or the mean of several.

    Columns: ``difference`` (ours - theirs), ``low`` and ``high`` (95 % interval), ``p`` (two
    sided), from one paired bootstrap over images. Raises `InputError` when the shapes differ:
    only runs scored on the same images and captions can be paired.
    """
    _one_shape([ours, theirs])
    gap = ours - theirs
    means = statistics.bootstrap_means(gap, resamples, seed)
    low, high = statistics.interval(means)
    return pd.DataFrame(
        {"difference": gap.mean(0), "low": low, "high": high, "p": statistics.image_p(means)},
        index=pd.Index(NUMBERS, name="number"),
    )


def report(scores: np.ndarray) -> dict[str, Any]:
    """Return all numbers that a run records of a score matrix, ready for JSON."""
    numbers = metrics(scores)
    limits = interval(hits(scores))
    return {
        **numbers.flat(),
        "images": scores.shape[0],
        "captions": scores.shape[1],
        "intervals": {name: list(pair) for name, pair in limits.items()},
        "interval_method": f"95 %, percentile bootstrap over images, {RESAMPLES} resamples",
    }


def text(recorded: dict[str, Any]) -> str:
    """Return a run's record as three lines to print: both directions, then rSum."""
    lines = []
    for side, name in (("i2t", "image to text"), ("t2i", "text to image")):
        parts = []
        for cut in CUTS:
            low, high = recorded["intervals"][f"{side}_r{cut}"]
            parts.append(f"R@{cut} {recorded[f'{side}_r{cut}']:.1f} [{low:.1f}, {high:.1f}]")
        lines.append(f"{name}:  {'  '.join(parts)}  median rank {recorded[f'{side}_median']:.0f}")
    low, high = recorded["intervals"]["rsum"]
    return "\n".join([*lines, f"rSum {recorded['rsum']:.1f} [{low:.1f}, {high:.1f}]"])
