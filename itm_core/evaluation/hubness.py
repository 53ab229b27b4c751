"""Hubness of a score matrix, and normalisations of scores that reduce it at test time.

A *hub* is an item that is among the nearest neighbours of many queries. Every normalisation here
subtracts from a score ``s`` a value of its image and a value of its caption:
``s'[i, c] = a s[i, c] - u[i] - v[c]``, with a = 1, or 2 for CSLS. The value of the query does not
change the order of its items, so one matrix serves both directions: ``u`` re-ranks the images of
a caption, ``v`` the captions of an image.

`sinkhorn` and `csls` use all test queries together: a transductive setting, whose numbers cannot
be compared with those of a method that scores each query alone. So does `querybank` without banks.

Temperatures are in standard deviations of the scores, because methods have different scales: a
positive scale or a shift of the scores changes no rank of a normalised matrix.

Page: "Similarity distributions".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from itm_core.errors import InputError
from itm_core.evaluation.retrieval import ROWS_AT_ONCE
from itm_core.settings import at_least

TEMPERATURE = 0.5  # in standard deviations of the scores
ITERATIONS = 10
NEIGHBOURS = 10


# --- the measure -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hubness:
    """How unequally often the items of one direction are retrieved, see `hubness`.

    Attributes:
        skewness: of the k-occurrence; 0 where all items occur equally often.
        never: percentage of the items that are among the first k of no query.
        largest: the largest k-occurrence, in multiples of its mean.
    """

    skewness: float
    never: float
    largest: float


def k_occurrence(scores: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """Return in how many columns' k largest scores each row of ``[N, Q]`` is: ``[N]``.

    The k-occurrence N_k of Radovanovic et al., "Hubs in Space" (JMLR 2010), of items (rows) over
    queries (columns). Items that tie for the last places share them, so that no number depends on
    an order. The sum over the items is k Q.

    Raises `InputError` for another shape, a score that is not finite, or k not in 1 to N.

    >>> k_occurrence(np.array([[3.0, 3, 3], [2, 2, 1], [1, 2, 2]]), 2)
    array([3. , 1.5, 1.5])
    """
    scores = _checked(scores)
    _in_range("k", k, len(scores))
    counts = np.zeros(len(scores))
    for start in range(0, scores.shape[1], ROWS_AT_ONCE):
        block = scores[:, start : start + ROWS_AT_ONCE]
        last = np.partition(block, len(block) - k, axis=0)[len(block) - k]
        above, tied = block > last, block == last
        counts += above.sum(1) + (tied * ((k - above.sum(0)) / tied.sum(0))).sum(1)
    return counts


def hubness(scores: np.ndarray, k: int = NEIGHBOURS) -> dict[str, Hubness]:
    """Return the `Hubness` of both directions of scores ``[I, C]``, by ``i2t`` and ``t2i``.

    The items of text to image (``t2i``) are the images, those of image to text the captions.
    Raises `InputError` as `k_occurrence`, where k may not exceed the smaller of I and C.

    >>> hubness(np.eye(3), 1)["t2i"]
    Hubness(skewness=0.0, never=0.0, largest=1.0)
    """
    by_direction = {}
    for direction, matrix in (("i2t", np.transpose(scores)), ("t2i", scores)):
        counts = k_occurrence(matrix, k)
        equal = np.ptp(counts) == 0  # the skewness of a constant is 0 / 0
        by_direction[direction] = Hubness(
            skewness=0.0 if equal else float(scipy.stats.skew(counts)),
            never=100 * float((counts == 0).mean()),
            largest=float(counts.max() / counts.mean()),
        )
    return by_direction


# --- normalisations ----------------------------------------------------------------------------


def sinkhorn(
    scores: np.ndarray, *, temperature: float = TEMPERATURE, iterations: int = ITERATIONS
) -> np.ndarray:
    """Return scores ``[I, C]`` (float64) after Sinkhorn's alternating normalisation.

    P = exp(s / t), t = ``temperature`` times the standard deviation of the scores. Each iteration
    divides every row of P by I / C times its sum, then every column by its sum (Sinkhorn and Knopp,
    1967; for retrieval Pan et al., ACM MM 2025). The result is t log P: the columns of P sum to 1,
    its rows to C / I in the limit; for I = C, P is then doubly stochastic. In logarithms, so that
    nothing underflows. 2 I C exponentials an iteration.

    Raises `InputError` for another shape, a score that is not finite, a temperature that is not
    above zero, or fewer than one iteration.
    """
    scores = _checked(scores)
    at_least("iterations", iterations, 1)
    t = _softness(scores, temperature)
    images, captions = scores.shape
    of_captions = np.zeros(captions)
    for _ in range(iterations):
        of_images = _soft_maximum(scores, t, of_captions) - t * np.log(captions / images)
        of_captions = _soft_maximum(scores.T, t, of_images)
    return scores - of_images[:, None] - of_captions


def querybank(
    scores: np.ndarray,
    caption_bank: np.ndarray | None = None,
    image_bank: np.ndarray | None = None,
    *,
    temperature: float = TEMPERATURE,
) -> np.ndarray:
    """Return scores ``[I, C]`` (float64) normalised by banks of queries: inverted softmax.

    s'[i, c] = s[i, c] - t log sum_b exp(s[i, b] / t) - t log sum_b exp(s[b, c] / t), b over the
    captions and the images of the banks, t = ``temperature`` times the standard deviation of the
    scores of each bank (Smith et al., ICLR 2017; querybank normalisation, Bogolin et al., CVPR
    2022, equation of the inverted softmax). Their *dynamic* form, which leaves the queries whose
    first item is in no bank's first place as they are, needs a matrix for each direction and is
    not applied.

    Args:
        scores: ``[I, C]``.
        caption_bank: ``[I, B]`` scores of the images with other captions, such as those of the
            training split; by default the test captions themselves, which is transductive.
        image_bank: ``[B', C]`` scores of other images with the captions; likewise.

    Raises `InputError` for another shape, a score that is not finite, or a temperature that is not
    above zero.
    """
    scores = _checked(scores)
    of_images = _bank(scores, caption_bank, 0)
    of_captions = _bank(scores, image_bank, 1).T
    images, captions = (
        _soft_maximum(bank, _softness(bank, temperature)) for bank in (of_images, of_captions)
    )
    return scores - images[:, None] - captions


def csls(scores: np.ndarray, *, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Return scores ``[I, C]`` (float64) by cross-domain similarity local scaling.

    s'[i, c] = 2 s[i, c] - r[i] - r[c], r the mean of the ``neighbours`` largest scores of an image
    over the captions, and of a caption over the images (Conneau et al., ICLR 2018, equation 4).

    Raises `InputError` for another shape, a score that is not finite, or ``neighbours`` not in 1
    to the smaller of I and C.

    >>> csls(np.array([[0.9, 0.8], [0.7, 0.1]]), neighbours=1)
    array([[ 0. , -0.1],
           [-0.2, -1.3]])
    """
    scores = _checked(scores)
    _in_range("neighbours", neighbours, min(scores.shape))
    of_images, of_captions = (
        np.partition(side, side.shape[1] - neighbours)[:, -neighbours:].mean(1)
        for side in (scores, scores.T)
    )
    return 2 * scores - of_images[:, None] - of_captions


def _bank(scores: np.ndarray, bank: np.ndarray | None, axis: int) -> np.ndarray:
    """Return a bank, checked to have the items of ``scores`` on an axis; by default the scores."""
    if bank is None:
        return scores
    if np.ndim(bank) != 2 or bank.shape[axis] != scores.shape[axis]:
        raise InputError(
            "a querybank does not fit the score matrix",
            expected=f"a matrix with {scores.shape[axis]} {('rows', 'columns')[axis]}",
            found=list(np.shape(bank)),
        )
    return _checked(bank)


def _checked(scores: np.ndarray) -> np.ndarray:
    """Return scores in float64; raise `InputError` unless they are a matrix of finite numbers."""
    if np.ndim(scores) != 2 or not np.size(scores):
        raise InputError(
            "the score matrix has the wrong shape",
            expected="[I, C], images by captions",
            found=list(np.shape(scores)),
        )
    scores = np.asarray(scores, float)
    if not np.isfinite(scores.sum()) and not np.isfinite(scores).all():
        image, caption = np.argwhere(~np.isfinite(scores))[0]
        raise InputError(
            "a score is not finite",
            found=f"{scores[image, caption]} at row {image}, column {caption}",
            remedy="look for zero or non-finite features",
        )
    return scores


def _in_range(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise InputError(f"{name} does not fit the scores", expected=f"1 to {most}", found=value)


def _softness(scores: np.ndarray, temperature: float) -> float:
    """Return a temperature in the unit of the scores; they may all be equal."""
    if not 0 < temperature < np.inf:
        raise InputError("temperature must be above zero", found=temperature)
    spread = float(scores.std())
    # equal scores have no spread but that of rounding, of which no unit can be made
    return temperature * (spread if spread > np.abs(scores).max() * np.finfo(float).eps else 1.0)


def _soft_maximum(scores: np.ndarray, t: float, shift: np.ndarray | float = 0.0) -> np.ndarray:
    """Return t log sum exp((scores - shift) / t) of each row of ``[N, M]``: ``[N]``."""
    starts = range(0, len(scores), ROWS_AT_ONCE)  # a copy of all is larger than need be
    blocks = (scores[start : start + ROWS_AT_ONCE] - shift for start in starts)
    return np.concatenate([t * scipy.special.logsumexp(block / t, axis=1) for block in blocks])
