"""Images that are in two splits, found by equal ids or exactly equal features, or twice in one.

A benchmark may have a photograph twice under two names, so a few equal features are only logged;
above `MAX_EQUAL` of a split they are an error. Of splits with more than `COMPARED` images that
many, evenly spaced, are compared, or all with ``full``.

All pairs are listed in ``shared_images.csv`` in the dataset's folder, or in a temporary one where
that is read-only: a row for each pair, with ids, and places counted from 0.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from itm_core.data.arrays import IMAGES_AT_ONCE, images_of, release
from itm_core.errors import InputError
from itm_core.files import whole_file

if TYPE_CHECKING:
    from itm_core.data.dataset import Split

MAX_EQUAL = 0.01
COMPARED = 4096
LISTED = "shared_images.csv"
PIECE = 64  # values of a region that are hashed

log = logging.getLogger(__name__)


class SharedImage(NamedTuple):
    """An image of two splits: its place and its id in each, and whether ids or features say so."""

    first_split: str
    first_image: int
    first_id: str
    second_split: str
    second_image: int
    second_id: str
    equal: str


class Repeats(NamedTuple):
    """How many of the images compared have exactly the features of one before them.

    ``zero`` is whether all features of the image that is repeated most are 0.
    """

    compared: int
    equal: int
    zero: bool

    @property
    def all(self) -> bool:
        """Whether all images have the same features."""
        return 0 < self.equal == self.compared - 1

    def __str__(self) -> str:
        """Return the numbers as text."""
        zeros = ", which are all 0" if self.zero else ""
        return f"{self.equal} of {self.compared} images compared have those of another one{zeros}"


def no_overlap(splits: Sequence[Split], *, full: bool = False) -> dict[str, Repeats]:
    """Return for each split the images that it has twice.

    Raises `InputError` when an image is in two splits, by its id or by its features.
    """
    _no_shared_ids(splits)
    hashed = [(split, *_image_of_hash(split, full)) for split in splits]
    repeats = {split.name: found for split, _, found in hashed}
    # images that are all equal are reported separately; they say nothing about overlap
    _no_shared_features([(split, of) for split, of, found in hashed if not found.all])
    return repeats


def _no_shared_ids(splits: Sequence[Split]) -> None:
    """Raise for an id of two splits, unless the ids of both only number their rows."""
    named = [s for s in splits if (s.folder / f"{s.name}_ids.txt").exists()]
    shared = []
    for first, second in combinations(named, 2):
        if only_numbers(first) and only_numbers(second):
            continue
        place = {image: i for i, image in enumerate(first.ids)}
        places = ((place[image], j) for j, image in enumerate(second.ids) if image in place)
        shared += [_shared(first, i, second, j, "ids") for i, j in places]
    if not shared:
        return
    one = shared[0]
    raise InputError(
        f"image {one.second_id} is in the {one.first_split} split too",
        file=named[0].folder / f"{one.second_split}_ids.txt",
        found=f"it is image {one.second_image} here, counted from 0; {len(shared)} in all, "
        f"listed in {_listed(named[0].folder, shared)}",
        remedy="an image may be in one split only",
    )


def only_numbers(split: Split) -> bool:
    """Return whether the ids count images or captions from 0 or 1, with or without zeros before."""
    if not all(image.isascii() and image.isdigit() for image in split.ids):
        return False
    ids = [int(image) for image in split.ids]
    counted = (range(len(ids)), split.first_captions.tolist())
    return any(ids == [start + row for row in rows] for rows in counted for start in (0, 1))


def is_beginning(first: Split, second: Split) -> bool:
    """Return whether the smaller of two splits has the first images of the other one.

    Their ids and all of their region features are equal then.
    """
    few, many = sorted((first, second), key=lambda split: len(split.ids))
    if few.ids != many.ids[: len(few.ids)] or few.regions.shape[1:] != many.regions.shape[1:]:
        return False
    for start in range(0, len(few.ids), IMAGES_AT_ONCE):
        chosen = np.arange(start, min(start + IMAGES_AT_ONCE, len(few.ids)))
        if not np.array_equal(images_of(few.regions, chosen), images_of(many.regions, chosen)):
            return False
    return True


def _shared(first: Split, i: int, second: Split, j: int, equal: str) -> SharedImage:
    return SharedImage(first.name, i, first.ids[i], second.name, j, second.ids[j], equal)


def _listed(folder: Path, shared: Sequence[SharedImage]) -> Path:
    """Write the list, unless it is there already, and return its file."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(SharedImage._fields)
    table.writerows(shared)
    content, path = text.getvalue().encode(), folder / LISTED
    try:
        if not path.exists() or path.read_bytes() != content:
            with whole_file(path) as partial:
                partial.write_bytes(content)
    except (InputError, OSError):  # a read-only dataset
        path = Path(tempfile.mkdtemp(prefix="itm-")) / LISTED
        path.write_bytes(content)
    return path


def _no_shared_features(hashed: Sequence[tuple[Split, dict[bytes, int]]]) -> None:
    found, shared = [], []
    for (first, first_hashes), (second, second_hashes) in combinations(hashed, 2):
        common = first_hashes.keys() & second_hashes.keys()
        candidates = sorted((second_hashes[key], first_hashes[key]) for key in common)
        equal = [
            (j, i) for j, i in candidates if np.array_equal(first.regions[i], second.regions[j])
        ]
        if not equal:
            continue
        shared += [_shared(first, i, second, j, "features") for j, i in equal]
        # where the first split is sampled, only that part of the equal images can be found
        compared = len(second_hashes)
        compared_share = len(first_hashes) / len(first.regions)
        text = f"{len(equal)} of the {len(second_hashes)} images compared, the first of them image "
        text += f"{equal[0][0]}, which is image {equal[0][1]} of {first.name}, counted from 0"
        found.append((first, second, text, len(equal) > MAX_EQUAL * compared * compared_share))
    if not found:
        return
    path = _listed(hashed[0][0].folder, shared)
    for first, second, text, many in sorted(found, key=lambda pair: not pair[-1]):
        text += f"; all are listed in {path}"
        if many:
            raise InputError(
                f"images are in the {first.name} split too, by their features",
                file=second.folder / f"{second.name}_ims.npy",
                found=text,
                remedy="an image may be in one split only",
            )
        log.warning("%s and %s share images, by their features: %s", first.name, second.name, text)


def _image_of_hash(split: Split, full: bool) -> tuple[dict[bytes, int], Repeats]:
    """Return the images compared, by a hash of some values of three of their regions."""
    images, count = split.regions.shape[:2]
    chosen = np.arange(images)
    if not full and images > COMPARED:
        chosen = np.unique(np.linspace(0, images - 1, COMPARED).astype(int))
    three_regions = sorted({0, count // 2, count - 1})
    image_of_hash: dict[bytes, int] = {}
    repeated: Counter[int] = Counter()
    for i in chosen.tolist():
        piece = split.regions[i, three_regions, :PIECE] + np.float32(0)  # -0 becomes 0
        digest = hashlib.blake2b(piece.tobytes(), digest_size=16).digest()
        first = image_of_hash.setdefault(digest, i)
        if first != i and np.array_equal(split.regions[first], split.regions[i]):
            repeated[first] += 1
    zero = bool(repeated) and not split.regions[repeated.most_common(1)[0][0]].any()
    release(split.regions)
    return image_of_hash, Repeats(len(chosen), repeated.total(), zero)
