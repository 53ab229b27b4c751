"""Images that are in two splits, found by equal ids or exactly equal features.

A benchmark may have a photograph twice under two names, so a few equal features are only logged;
above `MAX_EQUAL` of a split they are an error. Of splits with more than `COMPARED` images that
many, evenly spaced, are compared, or all with ``full``.

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

MAX_EQUAL = 0.01
COMPARED = 4096
PIECE = 64  # values of a region that are hashed

log = logging.getLogger(__name__)


def no_overlap(splits: Sequence[Split], *, full: bool = False) -> None:
    """Raise `InputError` when an image is in two splits, by its id or by its features."""
    _no_shared_ids(splits)
    _no_shared_features(splits, full)


def _no_shared_ids(splits: Sequence[Split]) -> None:
    """Ids that only number each split's images are not compared."""
    if all(split.ids == [str(i) for i in range(len(split.ids))] for split in splits):
        return
    split_of: dict[str, str] = {}
    for split in splits:
        path = split.folder / f"{split.name}_ids.txt"
        for number, image in enumerate(split.ids if path.exists() else ()):
            if split_of.setdefault(image, split.name) != split.name:
                raise InputError(
                    f"image {image} is in the {split_of[image]} split too",
                    file=path,
                    found=f"it is image {number} here, counted from 0",
                    remedy="an image may be in one split only",
                )


def _no_shared_features(splits: Sequence[Split], full: bool) -> None:
    hashed = [(split, _image_of_hash(split, full)) for split in splits]
    for (first, first_hashes), (second, second_hashes) in combinations(hashed, 2):
        common = first_hashes.keys() & second_hashes.keys()
        candidates = sorted((second_hashes[key], first_hashes[key]) for key in common)
        equal = [
            (j, i) for j, i in candidates if np.array_equal(first.regions[i], second.regions[j])
        ]
        if not equal:
            continue
        # where the first split is sampled, only that part of the equal images can be found
        compared = min(len(second.regions), len(second_hashes))
        compared_share = len(first_hashes) / len(first.regions)
        found = (
            f"{len(equal)} of the {len(second_hashes)} images compared, the first of them image "
        )
        found += f"{equal[0][0]}, which is image {equal[0][1]} of {first.name}, counted from 0"
        if len(equal) > MAX_EQUAL * compared * compared_share:
            raise InputError(
                f"images are in the {first.name} split too, by their features",
                file=second.folder / f"{second.name}_ims.npy",
                found=found,
                remedy="an image may be in one split only",
            )
        log.warning("%s and %s share images, by their features: %s", first.name, second.name, found)


def _image_of_hash(split: Split, full: bool) -> dict[bytes, int]:
    """Return the images compared, by a hash of some values of three of their regions."""
    images, count = split.regions.shape[:2]
    chosen = np.arange(images)
    if not full and images > COMPARED:
        chosen = np.unique(np.linspace(0, images - 1, COMPARED).astype(int))
    three_regions = sorted({0, count // 2, count - 1})
    image_of_hash: dict[bytes, int] = {}
    for i in chosen.tolist():
        piece = np.ascontiguousarray(split.regions[i, three_regions, :PIECE])
        digest = hashlib.blake2b(piece.tobytes(), digest_size=16).digest()
        image_of_hash.setdefault(digest, i)
    release(split.regions)
    return image_of_hash
