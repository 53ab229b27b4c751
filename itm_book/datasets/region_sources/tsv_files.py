"""Files of .tsv in one folder: their features, in order, and boxes and sizes of other files.

Page: "Which files does it read?".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from itm_book.datasets.region_sources.record import Detected, Entry, checked, read_entry
from itm_book.datasets.region_sources.tsv_rows import (
    COLUMNS,
    FAILURES,
    JSON,
    Parts,
    header,
    read_row,
    reason,
)
from itm_core.data.photographs import image_key
from itm_core.errors import InputError

TSV = re.compile(r".+\.tsv(\.\d+)?", re.IGNORECASE)
PROBED = 16  # rows that show what a file holds

Row = tuple[int, int, list[bytes], tuple[str, ...] | None]  # number, offset, cells, columns


def tsv_entries(files: Sequence[Path], beside: Sequence[Path] = ()) -> Iterator[Entry]:
    """Yield the images of .tsv files, with boxes and sizes of those that hold no features.

    Args:
        files: the parts of a source, such as ``a.tsv.0``, ``a.tsv.1``.
        beside: more files of boxes or sizes.
    """
    with_features = [file for file in files if _has_features(file)] or list(files)
    others = [file for file in files if file not in with_features]
    side = SideRows([*others, *beside])
    for file in with_features:
        for number, _, cells, columns in _rows(file):
            name = cells[0].decode(errors="replace").strip()
            yield read_entry(name, partial(_detected, file, number, name, cells, columns, side))


def _detected(
    file: Path,
    number: int,
    name: str,
    cells: list[bytes],
    columns: tuple[str, ...] | None,
    side: SideRows,
) -> Detected:
    parts = _parts(file, number, cells, columns)
    if parts.features is None:
        raise InputError(
            "no features in this row", file=file, row=number, expected="features, not boxes alone"
        )
    beside = side.of(name) if side else Parts()
    boxes = parts.boxes if beside.boxes is None else beside.boxes
    if beside.boxes is not None and len(beside.boxes) != len(parts.features):
        raise InputError(
            f"image {image_key(name)} has another number of boxes in the other file",
            file=file,
            row=number,
            expected=f"{len(parts.features)} boxes",
            found=len(beside.boxes),
            remedy=f"for features without boxes, name {file.name} itself as the source",
        )
    size = parts.size or beside.size
    return checked(Detected(image_key(name), name, parts.features, boxes, size, file, number))


def _parts(file: Path, number: int, cells: list[bytes], columns: tuple[str, ...] | None) -> Parts:
    """Return the parts of a row; raises `InputError` for a damaged one."""
    try:
        return read_row(cells, columns)
    except FAILURES as error:
        raise InputError(
            "not a line of region features",
            file=file,
            row=number,
            expected=f"{', '.join(columns or COLUMNS[6])} between tabs",
            found=reason(error),
            remedy="if it is the last line, the file is truncated: download it again",
        ) from None


def _rows(file: Path) -> Iterator[Row]:
    """Yield the rows of a file; header lines set the columns of those below them."""
    columns, offset = None, 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            cells = line.rstrip(b"\r\n").split(b"\t")
            if names := header(cells):
                columns = names
            elif cells != [b""]:
                yield number, offset, cells, columns
            offset += len(line)


def _has_features(file: Path) -> bool:
    """Whether one of the first rows of a file holds features."""
    for _, _, cells, columns in islice(_rows(file), PROBED):
        try:
            if read_row(cells, columns).features is not None:
                return True
        except FAILURES:
            if len(cells) != len(JSON):  # of features, and damaged
                return True
    return False


class SideRows:
    """Boxes and sizes of images, from .tsv files of which only the places of rows are in memory."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.places: dict[str, list[tuple[Path, int, int]]] = defaultdict(list)
        for file in files:
            for number, offset, cells, _ in _rows(file):
                name = cells[0].decode(errors="replace").strip()
                self.places[image_key(name)].append((file, number, offset))

    def __bool__(self) -> bool:
        """Whether there is any row."""
        return bool(self.places)

    def of(self, name: str) -> Parts:
        """Return boxes and size of an image, from all rows of its key.

        Raises `InputError` for a damaged row, and for two that differ in their boxes.
        """
        boxes: list[np.ndarray] = []
        size = None
        for file, number, offset in self.places.get(image_key(name), ()):
            with file.open("rb") as lines:
                lines.seek(offset)
                parts = _parts(file, number, lines.readline().rstrip(b"\r\n").split(b"\t"), None)
            if parts.boxes is not None:
                boxes.append(parts.boxes)
                if not np.array_equal(boxes[0], parts.boxes):
                    raise InputError(f"two rows of boxes of {name}", file=file, row=number)
            size = size or parts.size
        return Parts(None, boxes[0] if boxes else None, size)
