"""The regions of one image, as a source holds them, and the names of their arrays.

Page: "Which files does it read?".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itm_core.data.boxes import (
    IN_PIXELS,
    SHARES,
    TO_PIXELS,
    WRONG_BOX,
    are_shares,
    box_rule,
    wrong_boxes,
)
from itm_core.data.photographs import image_key
from itm_core.errors import InputError

FEATURES = ("x", "features", "feat", "image_features")
BOXES = ("boxes", "bbox", "image_bb")
SIZE = ("image_w", "image_h")
COUNTS = ("num_boxes", "num_bbox", "num_bb")  # regions of an image, where rows fill it up
LARGEST = 1e9  # pixels; NaN and infinity are not below it


@dataclass(frozen=True, eq=False)
class Detected:
    """The regions of one image.

    Attributes:
        image: the key that captions refer to, see `image_key`.
        name: the name in the source.
        features: ``[R, F]``.
        boxes: ``[R, 4]`` x1, y1, x2, y2 in pixels; None for a source without boxes.
        size: width and height in pixels, or None.
    """

    image: str
    name: str
    features: np.ndarray
    boxes: np.ndarray | None
    size: tuple[int, int] | None
    file: Path
    row: int | None = None

    def __str__(self) -> str:
        """Return name, file and row of the image, for messages."""
        return f"{self.name} in {self.file}" + (f", row {self.row}" if self.row else "")


@dataclass(frozen=True)
class Entry:
    """One image of a source.

    Attributes:
        image: its key; None for a row whose name cannot be read.
        read: returns its regions; raises `InputError` for a damaged record.
        broken: why the record is damaged, where reading the source has shown it already.
    """

    image: str | None
    read: Callable[[], Detected]
    broken: InputError | None = None


def read_entry(name: str, read: Callable[[], Detected]) -> Entry:
    """Return the entry of a record that is read at once; ``name`` is its name in the source.

    A name that is no short line of text has no key.
    """
    image = image_key(name) if name.isprintable() and 0 < len(name) < 256 else None
    try:
        detected = read()
    except InputError as error:
        return Entry(image, read, error)
    return Entry(image, lambda: detected)


def array_of(arrays: Mapping[str, Any], names: tuple[str, ...]) -> np.ndarray | None:
    """Return the first array that has one of some names, None if there is none."""
    return next((np.asarray(arrays[name]) for name in names if name in arrays), None)


def size_of(arrays: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return width and height in pixels where both are given; raises as `pixels` does."""
    if not all(name in arrays for name in SIZE):
        return None
    width, height = (pixels(arrays[name]) for name in SIZE)
    return width, height


def pixels(side: Any) -> int:
    """Return a width or a height as a number; raises ValueError or TypeError for none."""
    number = float(side)
    if not 1 <= number < LARGEST:
        raise ValueError(f"a picture of {number:g} pixels on a side")
    return int(number)


def from_arrays(name: str, arrays: Mapping[str, Any], file: Path) -> Detected:
    """Return the regions in the arrays of an image; raises `InputError` for one without features.

    Features that are stored as ``[F, R]`` are transposed where the boxes or the number of regions
    show it, and rows of zeros after that number are left out.
    """
    features, boxes = array_of(arrays, FEATURES), array_of(arrays, BOXES)
    if features is None:
        raise InputError(
            f"no features of {name}",
            file=file,
            expected=" or ".join(FEATURES),
            found=", ".join(map(str, arrays)) or "nothing",
        )
    if boxes is not None and features.ndim == boxes.ndim == 2 and len(features) != len(boxes):
        features = features.T if features.shape[1] == len(boxes) else features
    count = array_of(arrays, COUNTS)
    if count is not None and features.ndim == 2 and features.dtype.kind in "fiu":
        features, boxes = _counted(name, features, boxes, count, file)
    try:
        size = size_of(arrays)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"no size of the picture of {name}",
            file=file,
            expected=f"pixels in {' and '.join(SIZE)}",
            found=str(error),
        ) from None
    return checked(Detected(image_key(name), name, features, boxes, size, file))


def _counted(
    name: str, features: np.ndarray, boxes: np.ndarray | None, count: np.ndarray, file: Path
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the features and boxes of the regions that an image has by its own number.

    A number above that of the rows is another one, such as the detector's, and says nothing.

    Raises `InputError` where the number is none, or leaves out other rows than zeros.
    """
    single = count.size == 1 and count.dtype.kind in "iuf" and float(count.item()).is_integer()
    number = int(count.item()) if single else 0
    of_boxes = boxes is not None and len(boxes) == len(features)
    if number == features.shape[1] and number != len(features) and not of_boxes:
        features = features.T
    rows = len(features)
    if number < 1 or features[number:].any():
        raise InputError(
            f"image {image_key(name)}: features and the number of regions do not match",
            file=file,
            expected=f"{' or '.join(COUNTS)} regions, and zeros after them",
            found=f"{count.tolist()} regions and features {list(features.shape)}",
            remedy="extract it again, or write the regions of the image alone",
        )
    if boxes is not None and boxes.ndim == 2 and len(boxes) == rows:
        boxes = boxes[:number]
    return features[:number], boxes


def checked(record: Detected) -> Detected:
    """Return the record; raises `InputError` for other shapes, another type, NaN or infinity.

    Boxes outside the picture, that end before they start, or that are fractions of the picture are
    refused as `itm check` does.
    """
    features, boxes = record.features, record.boxes
    if features.ndim != 2 or not features.size or features.dtype.kind not in "fiu":
        raise InputError(
            f"image {record.image}: not the features of regions",
            file=record.file,
            row=record.row,
            expected="numbers [R, F]",
            found=f"{features.dtype} {list(features.shape)}",
        )
    if boxes is not None and (boxes.shape != (len(features), 4) or boxes.dtype.kind not in "fiu"):
        raise InputError(
            f"image {record.image}: features and boxes do not match",
            file=record.file,
            row=record.row,
            expected="features [R, F] and boxes [R, 4], numbers",
            found=f"{list(features.shape)} and {boxes.dtype} {list(boxes.shape)}",
        )
    if not (np.isfinite(features).all() and (boxes is None or np.isfinite(boxes).all())):
        raise InputError(f"image {record.image}: NaN or infinity", file=record.file, row=record.row)
    if boxes is not None and are_shares(boxes, record.size):
        raise InputError(
            f"image {record.image}: {SHARES}",
            file=record.file,
            row=record.row,
            expected=IN_PIXELS,
            found=f"up to {float(boxes.max()):g}",
            remedy=f"{TO_PIXELS}, or leave them out",
        )
    if boxes is not None and (wrong := wrong_boxes(boxes, record.size)).any():
        region = int(wrong.argmax())
        raise InputError(
            f"image {record.image}: the box of region {region} {WRONG_BOX}",
            file=record.file,
            row=record.row,
            expected=box_rule(record.size),
            found=boxes[region].tolist(),
            remedy="are width and height exchanged, or was the picture scaled?",
        )
    return record
