"""Images that are in two splits: told by their ids, and by features equal to the byte.

A photograph may be in a benchmark twice under two names, so a few equal features are only
reported; above `SAME_SHARE` of a split they are a mistake. Of splits above `COMPARED` images that
many, spread over them, are compared, unless ``full`` is asked for.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from itm_core.data.arrays import release
from itm_core.errors import InputError

if TYPE_CHECKING:
    from itm_core.data.dataset import Split

SAME_SHARE = 0.01
COMPARED = 4096
PIECE = 64  # values of a region that are compared first

log = logging.getLogger(__name__)


def no_overlap(splits: Sequence[Split], *, full: bool = False) -> None:
    """Raise `InputError` when an image is in two splits, by its id or by its features."""
    _no_shared_ids(splits)
    _no_shared_features(splits, full)


def _no_shared_ids(splits: Sequence[Split]) -> None:
    """Ids that only count each split's images say nothing."""
    if all(split.ids == [str(i) for i in range(len(split.ids))] for split in splits):
        return
    home: dict[str, str] = {}
    for split in splits:
        path = split.folder / f"{split.name}_ids.txt"
        for place, image in enumerate(split.ids if path.exists() else ()):
            if home.setdefault(image, split.name) != split.name:
                raise InputError(
                    f"image {image} is in the {home[image]} split too",
                    file=path,
                    found=f"it is image {place} here, counted from 0",
                    remedy="an image may be in one split only",
                )


def _no_shared_features(splits: Sequence[Split], full: bool) -> None:
    prints = [_fingerprints(split, full) for split in splits]
    for (one, ours), (other, theirs) in combinations(zip(splits, prints, strict=True), 2):
        same = [(ours[key], theirs[key]) for key in ours.keys() & theirs.keys()]
        same = sorted((j, i) for i, j in same if _equal(one, other, i, j))
        if not same:
            continue
        # of a sampled first split a part of what is shared is seen
        seen = min(len(other.regions), len(theirs)) * len(ours) / len(one.regions)
        found = f"{len(same)} of the {len(theirs)} images compared, the first of them image "
        found += f"{same[0][0]}, which is image {same[0][1]} of {one.name}, counted from 0"
        if len(same) > SAME_SHARE * seen:
            raise InputError(
                f"images are in the {one.name} split too, by their features",
                file=other.folder / f"{other.name}_ims.npy",
                found=found,
                remedy="an image may be in one split only",
            )
        log.warning("%s and %s share images, by their features: %s", one.name, other.name, found)


def _fingerprints(split: Split, full: bool) -> dict[bytes, int]:
    """Return the images compared, by a hash of a piece of three of their regions."""
    images, count = split.regions.shape[:2]
    chosen = np.arange(images)
    if not full and images > COMPARED:
        chosen = np.unique(np.linspace(0, images - 1, COMPARED).astype(int))
    places = sorted({0, count // 2, count - 1})
    found: dict[bytes, int] = {}
    for i in chosen.tolist():
        piece = np.ascontiguousarray(split.regions[i, places, :PIECE])
        found.setdefault(hashlib.blake2b(piece.tobytes(), digest_size=16).digest(), i)
    release(split.regions)
    return found


def _equal(one: Split, other: Split, i: int, j: int) -> bool:
    return np.array_equal(one.regions[i], other.regions[j])
