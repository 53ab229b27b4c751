"""The best K of a gallery for every query, merged exactly from parts of it.

An entry of a list is one whole number: the score's bits in an order that numbers keep, then
whether the item is wrong, then its place. The larger number comes first, so lists of parts are
merged by taking the largest, and every tie is broken alike: a wrong item before a right one, as
`retrieval` counts ties, then the smaller place.

Page: "Batches", "A large gallery".
"""

from __future__ import annotations

import numpy as np

from itm_core.errors import InputError
from itm_core.evaluation.retrieval import CUTS

_PLACES = (1 << 31) - 1  # the low 31 bits; the one above them says that the item is wrong
_MAGNITUDE = 0x7FFFFFFF


def entries(scores: np.ndarray, places: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the entries ``[Q, N]`` int64 of scores ``[Q, N]`` float32.

    Args:
        places: ``[N]``, which items of the gallery these are.
        right: ``[Q, N]`` bool, whether an item belongs to the query.

    Raises `InputError` for a score that is not a number.
    """
    if np.isnan(scores).any():
        raise InputError(
            "a score is not a number", found="NaN", remedy="look for zero or non-finite features"
        )
    bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)  # -0 and 0 are one score
    ordered = np.where(bits < 0, bits ^ _MAGNITUDE, bits)
    return (ordered << 32) | ((~right).astype(np.int64) << 31) | (_PLACES - places)


def best(found: np.ndarray, count: int) -> np.ndarray:
    """Return the ``count`` best entries of each row, or all of fewer, the best one first."""
    if found.shape[1] > count:
        found = np.partition(found, found.shape[1] - count, axis=1)[:, -count:]
    return np.sort(found, axis=1)[:, ::-1]


def places_of(lists: np.ndarray) -> np.ndarray:
    """Return which items ``[Q, K]`` int32 the entries are."""
    return (_PLACES - (lists & _PLACES)).astype(np.int32)


def scores_of(lists: np.ndarray) -> np.ndarray:
    """Return the scores ``[Q, K]`` float32 of the entries."""
    ordered = lists >> 32
    bits = np.where(ordered < 0, ordered ^ _MAGNITUDE, ordered)
    return bits.astype(np.int32).view(np.float32)


def recalls(i2t: np.ndarray, t2i: np.ndarray) -> dict[str, float]:
    """Return R@1, R@5 and R@10 in percent, as far as the lists reach, and rSum if they do.

    Equal to those of `retrieval.metrics` with ties as there by default. Ranks beyond the lists
    are not known, so there are no medians and means.

    Shapes: the places of the best captions of each image ``[I, K]``, and images ``[C, K]``.
    """
    n = len(t2i) // len(i2t)  # captions of an image
    sides = {
        "i2t": i2t // n == np.arange(len(i2t))[:, None],
        "t2i": t2i == (np.arange(len(t2i)) // n)[:, None],
    }
    found = {
        f"{side}_r{cut}": 100.0 * float(right[:, :cut].any(1).mean())
        for side, right in sides.items()
        for cut in CUTS
        if cut <= right.shape[1]
    }
    whole = len(found) == 2 * len(CUTS)
    return {"rsum": sum(found.values()), **found} if whole else found
