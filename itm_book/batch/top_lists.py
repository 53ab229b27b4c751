"""The best K of a gallery for every query, merged exactly from parts of it.

An entry of a list is one integer: the score's bits, mapped so that integers are ordered as the
scores, then a bit that is set for a wrong item, then the item's index. Larger integers come first,
so lists of parts are merged by taking the largest. Ties are broken in the same way everywhere: a
wrong item before a right one, as `retrieval` counts ties, then the smaller index.

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

    Raises `InputError` for a NaN score.
    """
    if np.isnan(scores).any():
        raise InputError(
            "a score is not a number", found="NaN", remedy="look for zero or non-finite features"
        )
    bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)  # -0 and 0 are one score
    ordered = np.where(bits < 0, bits ^ _MAGNITUDE, bits)
    return (ordered << 32) | ((~right).astype(np.int64) << 31) | (_PLACES - places)


def best(lists: np.ndarray, count: int) -> np.ndarray:
    """Return the ``count`` best entries of each row, or all if there are fewer, best first."""
    if lists.shape[1] > count:
        lists = np.partition(lists, lists.shape[1] - count, axis=1)[:, -count:]
    return np.sort(lists, axis=1)[:, ::-1]


def places_of(lists: np.ndarray) -> np.ndarray:
    """Return which items ``[Q, K]`` int32 the entries are."""
    return (_PLACES - (lists & _PLACES)).astype(np.int32)


def scores_of(lists: np.ndarray) -> np.ndarray:
    """Return the scores ``[Q, K]`` float32 of the entries."""
    ordered = lists >> 32
    bits = np.where(ordered < 0, ordered ^ _MAGNITUDE, ordered)
    return bits.astype(np.int32).view(np.float32)


def recalls(i2t: np.ndarray, t2i: np.ndarray, caption_image: np.ndarray) -> dict[str, float]:
    """Return R@K in percent for each K of 1, 5, 10 up to the lists' length, and rSum if all are.

    Equal to `retrieval.metrics` with its default for ties. Ranks beyond the lists are unknown, so
    there are no median and mean ranks.

    Shapes: the places of the best captions of each image ``[I, K]``, and images ``[C, K]``; the
    image of each caption ``[C]``.
    """
    sides = {
        "i2t": caption_image[i2t] == np.arange(len(i2t))[:, None],
        "t2i": t2i == caption_image[:, None],
    }
    percents = {
        f"{side}_r{cut}": 100.0 * float(right[:, :cut].any(1).mean())
        for side, right in sides.items()
        for cut in CUTS
        if cut <= right.shape[1]
    }
    complete = len(percents) == 2 * len(CUTS)
    return {"rsum": sum(percents.values()), **percents} if complete else percents
