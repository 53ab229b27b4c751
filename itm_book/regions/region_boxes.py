"""Boxes of the regions of a photograph: a fixed layout of 36 boxes, or boxes from files.

The layout, in fractions of width and height, from coarse to fine:

=====================  ============================  =====
boxes                  side of each                  sum
=====================  ============================  =====
the whole picture      1                             1
2 x 2                  2/3                           5
3 x 3                  1/2                           14
3 rows, 3 columns      2/5 of the height, the width  20
4 x 4                  1/3                           36
=====================  ============================  =====

The boxes of a row are equally spaced from edge to edge, so neighbours overlap.

Page: "From photographs to features".
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from itm_book.datasets.region_sources.numpy_files import npz_arrays
from itm_core.data.arrays import array
from itm_core.data.boxes import WRONG_BOX, are_shares, box_rule, wrong_boxes
from itm_core.data.photographs import image_key
from itm_core.errors import InputError
from itm_core.files import unique_keys

REGIONS = 36
GRIDS = (  # columns, rows, width, height of a box
    (1, 1, Fraction(1), Fraction(1)),
    (2, 2, Fraction(2, 3), Fraction(2, 3)),
    (3, 3, Fraction(1, 2), Fraction(1, 2)),
    (1, 3, Fraction(1), Fraction(2, 5)),
    (3, 1, Fraction(2, 5), Fraction(1)),
    (4, 4, Fraction(1, 3), Fraction(1, 3)),
)
NAMES = ("boxes", "bbox")  # in an .npz


class Boxes(Protocol):
    """Returns the boxes ``[36, 4]`` float32 in pixels of the k-th picture of a split."""

    name: str

    def __call__(self, split: str, k: int, name: str, picture: np.ndarray) -> np.ndarray:
        """Return x1, y1, x2, y2 for each region."""


def layout(width: float, height: float) -> np.ndarray:
    """Return the fixed layout ``[36, 4]`` float32 in pixels of a picture of this size.

    >>> layout(90, 60)[:3].tolist()
    [[0.0, 0.0, 90.0, 60.0], [0.0, 0.0, 60.0, 40.0], [30.0, 0.0, 90.0, 40.0]]
    """
    relative = [
        (left, top, left + wide, top + high)
        for columns, rows, wide, high in GRIDS
        for top in _starts(rows, high)
        for left in _starts(columns, wide)
    ]
    return (np.array(relative, np.float64) * [width, height, width, height]).astype(np.float32)


def _starts(count: int, side: Fraction) -> list[Fraction]:
    if count == 1:
        return [Fraction(0)]
    return [k * (1 - side) / (count - 1) for k in range(count)]


def filled_up(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return 36 boxes: the first of ``[n, 4]``, clipped to the picture, then the layout's.

    Boxes that have no area in the picture are left out.
    """
    limits = np.array([width, height, width, height], np.float32)
    clipped = np.clip(np.asarray(boxes, np.float32), 0, limits)
    clipped = clipped[(clipped[:, 2:] > clipped[:, :2]).all(1)]
    return np.concatenate([clipped, layout(width, height)])[:REGIONS]


class Grid:
    """The fixed layout, for every picture."""

    name = "grid"

    def __call__(self, split: str, k: int, name: str, picture: np.ndarray) -> np.ndarray:
        """Return the layout at the size of the picture."""
        return layout(picture.shape[1], picture.shape[0])


class BoxFile:
    """Boxes from files: a folder with an ``.npz`` for each photograph, or one ``.npy``.

    An ``.npz`` is named after its photograph and holds ``boxes`` (or ``bbox``) ``[n, 4]`` in
    pixels, best first; the first 36 are taken, fewer are filled up with the layout. An
    ``.npy [I, n, 4]`` has a row for each photograph, in their order, and serves one split.
    """

    def __init__(self, path: Path, splits: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Read the boxes of some splits, each given with the names of its photographs.

        Raises `InputError` when there are no such files, the number of rows differs from the
        photographs, or two files or two photographs share a key.
        """
        self.path = path
        self.rows: np.ndarray | None = None
        self.files: dict[str, Path] = {}
        if path.suffix == ".npy":
            if len(splits) != 1:
                raise InputError(
                    "an .npy file of boxes serves one split",
                    file=path,
                    found=f"{len(splits)} splits",
                )
            self.rows = array(path, (len(splits[0][1]), "boxes", 4), "number")
        elif path.is_dir():
            files = sorted(path.glob("*.npz"))
            self.files = unique_keys(((image_key(file.name), file) for file in files), path)
            keyed = (
                (image_key(name), f"{name} of {split}") for split, ids in splits for name in ids
            )
            unique_keys(keyed, path, what="photographs")
        if self.rows is None and not self.files:
            raise InputError(
                "no files of boxes", file=path, expected="a folder of .npz files, or one .npy"
            )
        digest = hashlib.sha256()
        for file in self.files.values() or [path]:
            digest.update(file.read_bytes())
        self.name = f"{path.name}, {digest.hexdigest()[:12]}"

    def __call__(self, split: str, k: int, name: str, picture: np.ndarray) -> np.ndarray:
        """Return the boxes of the k-th photograph; raises `InputError` for one without."""
        height, width = picture.shape[:2]
        boxes = self._of(name) if self.rows is None else np.asarray(self.rows[k])
        if boxes.ndim != 2 or boxes.shape[-1] != 4:
            found = f"shape {list(boxes.shape)}"
            raise InputError(f"invalid boxes of {name}", file=self.path, found=found)
        wrong = wrong_boxes(boxes, (width, height))
        if wrong.any() or (len(boxes) and are_shares(boxes, np.array([width, height]))):
            place = int(wrong.argmax())
            raise InputError(
                f"invalid boxes of {name}: number {place} {WRONG_BOX}",
                file=self.path,
                row=None if self.rows is None else k,
                expected=box_rule((width, height)),
                found=boxes[place].tolist(),
                remedy="write corners x1, y1, x2, y2 in pixels of this very picture",
            )
        return filled_up(boxes, width, height)

    def _of(self, name: str) -> np.ndarray:
        file = self.files.get(image_key(name))
        if file is None:
            raise InputError(f"no boxes for {name}", file=self.path / f"{image_key(name)}.npz")
        content = npz_arrays(file, NAMES)
        key = next((name for name in NAMES if name in content), None)
        if key is None:
            raise InputError("no boxes in this file", file=file, expected=" or ".join(NAMES))
        return content[key]
