"""Retrieval numbers: Recall@K, ranks, rSum, folds, ensembles, intervals and paired tests.

"Recall@K" is the field's term for a hit rate: the fraction of queries for which *one* correct item
is among the first K. Score matrices are ``[I, C]``; the captions of an image are consecutive
columns. Without ``caption_image`` each image has k = C / I captions: ``k i .. k i + k - 1``.

Images may have different numbers of captions. Image to text, an image is found when *any* of its
captions is among the first K, so one with more captions is found more easily; every image counts
once. Text to image, every caption counts once, so an image with more captions counts more. The
bootstrap draws images, each with all of its captions.

Page: "The task", "How retrieval is measured".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from itm_core.errors import InputError
from itm_core.evaluation import statistics
from itm_core.evaluation.recalls import NUMBERS
from itm_core.evaluation.statistics import RESAMPLES
from itm_core.settings import at_least, one_of

CUTS = (1, 5, 10)
TIES = ("pessimistic", "optimistic", "mean")
NANS = ("refuse", "first")
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Ranks:
    """Rank of the best correct item of each query, from 0: ``i2t [I]`` and ``t2i [C]``.

    ``counts [I]`` are the captions of each image; None where all images have as many.
    """

    i2t: np.ndarray
    t2i: np.ndarray
    counts: np.ndarray | None = None


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
    """How many items rank above, or tie with, the best correct one: arrays ``[Q]`` of integers."""

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


def image_of_captions(scores: np.ndarray, caption_image: np.ndarray | None = None) -> np.ndarray:
    """Return the image of each caption ``[C]`` of scores ``[I, C]``: ``caption_image``, checked.

    By default each image has k = C / I captions. Raises `InputError` for a matrix of another
    shape, and where an image has no caption or its captions are not consecutive.

    >>> image_of_captions(np.zeros((2, 6)))
    array([0, 0, 0, 1, 1, 1])
    """
    shape = np.shape(scores)
    plain = caption_image is None
    if len(shape) != 2 or not shape[0] or not shape[1] or (plain and shape[1] % shape[0]):
        raise InputError(
            "the score matrix has the wrong shape",
            expected="[I, k I], images by captions, k captions for each image",
            found=list(shape),
            remedy="give caption_image, the image of each caption, if images differ in captions",
        )
    if caption_image is None:
        return np.repeat(np.arange(shape[0]), shape[1] // shape[0])
    steps = np.diff(caption_image, prepend=-1, append=shape[0])
    if len(caption_image) != shape[1] or not np.isin(steps, (0, 1)).all() or steps[-1] != 1:
        raise InputError(
            "caption_image does not fit the score matrix",
            expected=f"0 to {shape[0] - 1} in ascending order, for each of {shape[1]} captions",
            found=f"{len(caption_image)} values",
        )
    return np.asarray(caption_image)


def _different(counts: np.ndarray) -> np.ndarray | None:
    """Return the captions of each image; None where all have as many."""
    return None if (counts == counts[0]).all() else counts


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


def ranks(
    scores: np.ndarray,
    caption_image: np.ndarray | None = None,
    *,
    ties: str = "pessimistic",
    nan: str = "refuse",
) -> Ranks:
    """Return the rank of the best correct item of every query, from 0.

    Args:
        scores: ``[I, C]``.
        caption_image: ``[C]``, see `image_of_captions`.
        ties: where a wrong item has the same score, the correct one is ranked after it
            (``pessimistic``), before it (``optimistic``), or at random (``mean``: the mean over
            all orders of the tied items, of the rank here and of the hit in `metrics`). The
            released evaluation leaves it to an unstable sort.
        nan: ``refuse``, or ``first`` to rank a NaN above all as the released evaluation does.

    Raises `InputError` for another shape, an unknown value of ``ties`` or ``nan``, or a NaN that
    is refused.
    """
    caption_image = image_of_captions(scores, caption_image)
    i2t, t2i = _counts(scores, caption_image, ties, nan)
    counts = _different(np.bincount(caption_image))
    return Ranks(i2t.ranks(ties), t2i.ranks(ties), counts)


def _counts(
    scores: np.ndarray, caption_image: np.ndarray, ties: str, nan: str = "refuse"
) -> tuple[_Counts, _Counts]:
    """Return the counts of image to text and text to image."""
    one_of("ties", ties, TIES)
    images, captions = np.shape(scores)
    scores = _without_nan(np.asarray(scores), nan)
    positives = scores[caption_image, np.arange(captions)]  # [C]
    best = np.maximum.reduceat(positives, np.searchsorted(caption_image, np.arange(images)))  # [I]
    i2t, t2i = np.empty((2, images), np.int64), np.zeros((2, captions), np.int64)
    for start in range(0, images, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        block = scores[rows]
        of_rows = best[rows, None]
        i2t[:, rows] = (block > of_rows).sum(1), (block == of_rows).sum(1)
        t2i += (block > positives).sum(0), (block == positives).sum(0)
    correct = np.bincount(caption_image[positives == best[caption_image]], minlength=images)
    one = np.ones(captions, np.int64)  # a caption has one correct image, which equals itself
    return _Counts(i2t[0], i2t[1] - correct, correct), _Counts(t2i[0], t2i[1] - one, one)


def _direction(counts: _Counts, ties: str) -> Direction:
    ranks = counts.ranks(ties)
    r1, r5, r10 = (100.0 * float(counts.hits(cut, ties).mean()) for cut in CUTS)
    return Direction(r1, r5, r10, float(np.floor(np.median(ranks)) + 1), float(ranks.mean() + 1))


def metrics(
    scores: np.ndarray,
    caption_image: np.ndarray | None = None,
    *,
    ties: str = "pessimistic",
    nan: str = "refuse",
) -> Metrics:
    """Return the retrieval numbers of a score matrix ``[I, C]``; arguments as for `ranks`.

    >>> metrics(np.repeat(np.eye(20), 5, axis=1)).rsum
    600.0
    """
    i2t, t2i = _counts(scores, image_of_captions(scores, caption_image), ties, nan)
    return Metrics(_direction(i2t, ties), _direction(t2i, ties))


def fold_parts(
    scores: np.ndarray, caption_image: np.ndarray | None, folds: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return scores ``[I / F, C_f]`` and images of captions ``[C_f]`` of each of F folds of images.

    Raises `InputError` for a wrong shape, fewer than 2 folds, or images that do not divide.
    """
    images, caption_image = len(scores), image_of_captions(scores, caption_image)
    at_least("folds", folds, 2)
    if images % folds:
        raise InputError(
            "images do not divide into folds", expected=f"a multiple of {folds}", found=images
        )
    cuts = np.arange(folds + 1) * (images // folds)
    ends = np.searchsorted(caption_image, cuts)
    return [
        (scores[i:j, a:b], caption_image[a:b] - i)
        for (i, j), (a, b) in zip(pairwise(cuts), pairwise(ends), strict=True)
    ]


def five_folds(
    scores: np.ndarray,
    caption_image: np.ndarray | None = None,
    *,
    folds: int = 5,
    ties: str = "pessimistic",
) -> Metrics:
    """Return the means over folds of the images, each fold scored by itself (COCO 1K).

    Folds have as many images each, and count once each. rSum is that of the means; the summary
    lines that SCAN's release prints here are mislabelled. Raises `InputError` as `fold_parts`.
    """
    parts = [metrics(*part, ties=ties) for part in fold_parts(scores, caption_image, folds)]
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


def hits(
    scores: np.ndarray, caption_image: np.ndarray | None = None, *, ties: str = "pessimistic"
) -> np.ndarray:
    """Return hits in percent for each image: ``[I, 7]``, columns as `NUMBERS`.

    A caption's hits are averaged with those of its image's other captions, so that an image
    with its captions is one unit of resampling. The mean over images is that of `metrics`.

    Where images differ in captions, R@K of text to image is a ratio, of hits to captions. An image
    with n captions and h hits then has the value R@K + (h - n R@K) / m, m the mean number of
    captions: the linear form of the ratio, which a bootstrap over images resamples in its place.
    """
    caption_image = image_of_captions(scores, caption_image)
    sides = _counts(scores, caption_image, ties)
    i2t, t2i = ([side.hits(cut, ties) for cut in CUTS] for side in sides)
    return _by_image(i2t, t2i, _different(np.bincount(caption_image)))


def hits_of(ranks: Ranks) -> np.ndarray:
    """Return what `hits` does, from ranks; a rank between two, of ties, is below a cut or not."""
    i2t, t2i = ([side < cut for cut in CUTS] for side in (ranks.i2t, ranks.t2i))
    return _by_image(i2t, t2i, ranks.counts)


def _by_image(
    i2t: Sequence[np.ndarray], t2i: Sequence[np.ndarray], counts: np.ndarray | None
) -> np.ndarray:
    images, captions = (np.stack(side, 1).astype(float) for side in (i2t, t2i))
    if counts is None:
        captions = captions.reshape(len(images), -1, len(CUTS)).mean(1)
    else:
        recalls = captions.mean(0)
        sums = np.add.reduceat(captions, np.cumsum(counts) - counts)
        captions = recalls + (sums - counts[:, None] * recalls) / counts.mean()
    both = 100.0 * np.concatenate([images, captions], 1)
    return np.concatenate([both, both.sum(1, keepdims=True)], 1)


def interval(
    *hits: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of every recall and of rSum, from the `hits` of a run.

    Of the mean of several runs where there are more. Percentile bootstrap over images, each with
    its captions, which are not independent queries. Ranks are kept: the gallery stays the full
    test set. The variation between seeds is not included, and a number at 0 or 100 has an
    interval of zero width. Where images differ in captions the mean is linear in the hits, so that
    an end may lie outside the range of a recall: it is put on its border.

    Raises `InputError` when there are no hits or their shapes differ.
    """
    _one_shape(hits)
    means = statistics.bootstrap_means(np.mean(hits, axis=0), resamples, seed)
    most = np.array([100.0] * (len(NUMBERS) - 1) + [100.0 * (len(NUMBERS) - 1)])
    low, high = np.clip(statistics.interval(means), 0.0, most)
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


def report(scores: np.ndarray, caption_image: np.ndarray | None = None) -> dict[str, Any]:
    """Return all numbers that a run records of a score matrix, ready for JSON.

    Where images differ in captions, with their smallest and largest number.
    """
    caption_image = image_of_captions(scores, caption_image)
    numbers = metrics(scores, caption_image)
    limits = interval(hits(scores, caption_image))
    counts = _different(np.bincount(caption_image))
    ends = {} if counts is None else {"captions_per_image": [int(counts.min()), int(counts.max())]}
    return {
        **numbers.flat(),
        "images": scores.shape[0],
        "captions": scores.shape[1],
        **ends,
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
