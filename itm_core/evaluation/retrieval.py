"""Retrieval numbers: Recall@K, ranks, rSum, folds, ensembles, intervals and paired tests.

"Recall@K" is the field's word for a hit rate: the share of queries for which *one* right item
is among the first K. The best-ranked right caption of an image counts.
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


@dataclass(frozen=True, eq=False)
class _Places:
    """Where the best right item of each query stands: three arrays ``[Q]`` of whole numbers."""

    above: np.ndarray  # wrong items with a larger score
    tied: np.ndarray  # wrong items with the same score
    right: np.ndarray  # right items with the same score, itself among them

    def ranks(self, ties: str) -> np.ndarray:
        """Return the rank from 0; a float where it is a mean over orders."""
        if ties == "mean":  # the tied wrong items fall into right + 1 gaps, one of them before it
            return self.above + self.tied / (self.right + 1.0)
        return self.above + self.tied if ties == "pessimistic" else self.above

    def hits(self, cut: int, ties: str) -> np.ndarray:
        """Return whether the rank is below ``cut``; its probability over orders for ``mean``."""
        if ties != "mean":
            return (self.ranks(ties) < cut).astype(float)
        missed = np.ones(len(self.above))
        for drawn in range(
            cut
        ):  # fill the places left after `above` from the tied ones, one by one
            wrong = np.maximum(self.tied - drawn, 0)
            missed *= np.where(self.above + drawn < cut, wrong / (wrong + self.right), 1.0)
        return 1.0 - missed


def captions_per_image(scores: np.ndarray) -> int:
    """Return how many captions an image has: C / I of a score matrix ``[I, C]``.

    Captions ``k i .. k i + k - 1`` belong to image i. Raises `InputError` for another shape.

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


def _checked(scores: np.ndarray, nan: str) -> np.ndarray:
    one_of("nan", nan, NANS)
    scores = np.asarray(scores)
    captions_per_image(scores)  # checks the shape
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
    *,
    ties: str = "pessimistic",
    nan: str = "refuse",
) -> Ranks:
    """Return the rank of the best right item of every query, from 0.

    Args:
        scores: ``[I, C]``, with k = C / I captions for each image in the order of the images.
        ties: what an equal score of a wrong item means: the right one comes after it
            (``pessimistic``), before it (``optimistic``), or as chance has it (``mean``: the
            mean over all orders of the tied items, of the rank here and of the hit in
            `metrics`). The released evaluation leaves it to an unstable sort.
        nan: ``refuse``, or ``first`` to rank a NaN above all as the released evaluation does.

    Raises `InputError` for another shape, an unknown value of ``ties`` or ``nan``, or a NaN that
    is refused.
    """
    i2t, t2i = _places(scores, ties, nan)
    return Ranks(i2t.ranks(ties), t2i.ranks(ties))


def _places(scores: np.ndarray, ties: str, nan: str = "refuse") -> tuple[_Places, _Places]:
    """Return where the right items stand, image to text and text to image."""
    one_of("ties", ties, TIES)
    scores = _checked(scores, nan)
    images, n = len(scores), captions_per_image(scores)
    own = scores.reshape(images, images, n)[np.arange(images), np.arange(images)]  # [I, n]
    best = own.max(1, keepdims=True)  # [I, 1]
    positives = own.reshape(-1)  # [C]
    i2t, t2i = np.empty((2, images), np.int64), np.zeros((2, images * n), np.int64)
    for start in range(0, images, ROWS_AT_ONCE):
        here = slice(start, start + ROWS_AT_ONCE)
        block = scores[here]
        i2t[:, here] = (block > best[here]).sum(1), (block == best[here]).sum(1)
        t2i += (block > positives).sum(0), (block == positives).sum(0)
    right = (own == best).sum(1)
    one = np.ones(images * n, np.int64)  # a caption has one right image, which equals itself
    return _Places(i2t[0], i2t[1] - right, right), _Places(t2i[0], t2i[1] - one, one)


def _direction(places: _Places, ties: str) -> Direction:
    found = places.ranks(ties)
    r1, r5, r10 = (100.0 * float(places.hits(cut, ties).mean()) for cut in CUTS)
    return Direction(r1, r5, r10, float(np.floor(np.median(found)) + 1), float(found.mean() + 1))


def metrics(
    scores: np.ndarray,
    *,
    ties: str = "pessimistic",
    nan: str = "refuse",
) -> Metrics:
    """Return the retrieval numbers of a score matrix ``[I, C]``; arguments as for `ranks`.

    >>> metrics(np.repeat(np.eye(20), 5, axis=1)).rsum
    600.0
    """
    i2t, t2i = _places(scores, ties, nan)
    return Metrics(_direction(i2t, ties), _direction(t2i, ties))


def five_folds(scores: np.ndarray, *, folds: int = 5, ties: str = "pessimistic") -> Metrics:
    """Return the means over folds of the images, each fold scored by itself (COCO 1K).

    Raises `InputError` for another shape than ``[I, C]``, for fewer than 2 folds, or when the
    images do not divide into the folds. rSum and the averages are those of the means; the summary
    lines that SCAN's release prints here are mislabelled.
    """
    images, n = len(scores), captions_per_image(scores)
    at_least("folds", folds, 2)
    if images % folds:
        raise InputError(
            "images do not divide into folds", expected=f"a multiple of {folds}", found=images
        )
    size = images // folds
    parts = [
        metrics(
            scores[k * size : (k + 1) * size, k * size * n : (k + 1) * size * n],
            ties=ties,
        )
        for k in range(folds)
    ]
    means = {
        side: np.mean([getattr(p, side).values() for p in parts], axis=0).tolist()
        for side in ("i2t", "t2i")
    }
    return Metrics(Direction(*means["i2t"]), Direction(*means["t2i"]))


def ensemble(scores: Iterable[np.ndarray]) -> np.ndarray:
    """Return the mean of several models' score matrices, as the papers' ensembles do.

    They are added up in float64, one at a time, so an iterator need not hold them all.
    Raises `InputError` when there are none or their shapes differ.
    """
    total, count = np.zeros(0), 0
    for one in scores:
        if count:
            _one_shape([total, one])
        total = total + one if count else np.asarray(one, np.float64).copy()
        count += 1
    if not count:
        _one_shape([])
    return total / count


def _one_shape(scores: Sequence[np.ndarray]) -> None:
    shapes = {np.shape(s) for s in scores}
    if len(shapes) != 1:
        raise InputError("score matrices of one shape are needed", found=sorted(shapes) or "none")


NUMBERS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")


def hits(scores: np.ndarray, *, ties: str = "pessimistic") -> np.ndarray:
    """Return hits in percent for each image: ``[I, 7]``, columns as `NUMBERS`.

    A caption's hits are averaged with those of its image's other captions, so that an image
    with its captions is one unit of resampling.
    """
    i2t, t2i = (
        np.stack([side.hits(cut, ties) for cut in CUTS], 1) for side in _places(scores, ties)
    )
    return _by_image(i2t, t2i)


def hits_of(ranks: Ranks) -> np.ndarray:
    """Return what `hits` does, from ranks."""
    i2t, t2i = (
        np.stack([side < cut for cut in CUTS], 1).astype(float) for side in (ranks.i2t, ranks.t2i)
    )
    return _by_image(i2t, t2i)


def _by_image(i2t: np.ndarray, t2i: np.ndarray) -> np.ndarray:
    captions = t2i.reshape(len(i2t), -1, len(CUTS)).mean(1)
    both = 100.0 * np.concatenate([i2t, captions], 1)
    return np.concatenate([both, both.sum(1, keepdims=True)], 1)


def bootstrap(
    *scores: np.ndarray,
    ties: str = "pessimistic",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of every recall and of rSum; of their mean for several runs.

    Percentile bootstrap over images; an image's captions come along with it, because they
    are not independent queries. Ranks are kept: the gallery stays the whole test set. The
    spread between seeds is not in it, and a number at 0 or 100 gets an interval without width.

    Raises `InputError` when there are no scores or their shapes differ.
    """
    _one_shape(scores)
    every = [hits(one, ties=ties) for one in scores]
    return interval(*every, resamples=resamples, seed=seed)


def interval(
    *hits: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return what `bootstrap` does, from the ``[I, 7]`` hits of one or several runs."""
    _one_shape(hits)
    low, high = statistics.interval(
        statistics.bootstrap_means(np.mean(hits, axis=0), resamples, seed)
    )
    return {name: (float(a), float(b)) for name, a, b in zip(NUMBERS, low, high, strict=True)}


def paired_test(
    ours: np.ndarray,
    theirs: np.ndarray,
    *,
    ties: str = "pessimistic",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how two runs differ on the same test set, one row per number of `NUMBERS`.

    Columns: ``difference`` (ours - theirs), ``low`` and ``high`` (95 % interval), ``p`` (two
    sided, from the same paired bootstrap over images). Raises `InputError` when the shapes
    differ: only runs scored on the same images and captions can be paired.
    """
    _one_shape([ours, theirs])
    both = [hits(one, ties=ties) for one in (ours, theirs)]
    return paired_bootstrap(*both, resamples=resamples, seed=seed)


def paired_bootstrap(
    ours: np.ndarray, theirs: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Return what `paired_test` does, from ``[I, 7]`` hits, of a run or the mean of several."""
    _one_shape([ours, theirs])
    gap = ours - theirs
    means = statistics.bootstrap_means(gap, resamples, seed)
    low, high = statistics.interval(means)
    return pd.DataFrame(
        {
            "difference": gap.mean(0),
            "low": low,
            "high": high,
            "p": statistics.image_p(means),
        },
        index=pd.Index(NUMBERS, name="number"),
    )


def report(scores: np.ndarray) -> dict[str, Any]:
    """Return everything a run records of a score matrix, ready for JSON."""
    found = metrics(scores)
    limits = bootstrap(scores)
    return {
        **found.flat(),
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
