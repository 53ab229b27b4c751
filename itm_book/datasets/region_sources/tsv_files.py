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
from typing import NamedTuple

import numpy as np

from itm_book.datasets.region_sources.record import Detected, Entry, checked, read_entry
from itm_book.datasets.region_sources.tsv_rows import (
    BUTD,
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
FEATURES, BESIDE = "features", "boxes or sizes"
PROBED = 16  # rows that show what a file holds


class Row(NamedTuple):
    """A row of a .tsv: its number from 1, its place, its cells, and the names of its columns."""

    number: int
    offset: int
    cells: list[bytes]
    columns: tuple[str, ...] | None

    @property
    def name(self) -> str:
        """The name of its image in the file."""
        column = self.columns.index("image_id") if self.columns else 0
        return self.cells[min(column, len(self.cells) - 1)].decode(errors="replace").strip()


def tsv_entries(files: Sequence[Path], beside: Sequence[Path] = ()) -> Iterator[Entry]:
    """Yield the images of .tsv files, with boxes and sizes of those that hold no features.

    Args:
        files: the parts of a source, such as ``a.tsv.0``, ``a.tsv.1``.
        beside: more files of boxes or sizes.
    """
    kinds = [(file, _kind(file)) for file in files]
    with_features = [file for file, kind in kinds if kind == FEATURES] or list(files)
    side = SideRows([*(file for file, kind in kinds if kind == BESIDE), *beside])
    for file in with_features:
        for row in _rows(file):
            yield read_entry(row.name, partial(_detected, file, row, side))


def _detected(file: Path, row: Row, side: SideRows) -> Detected:
    parts, beside = _parts(file, row), side.of(row.name)
    features = parts.features
    if features is None:
        expected = "features, not boxes alone"
        raise InputError("no features in this row", file=file, row=row.number, expected=expected)
    if beside.boxes is not None and len(beside.boxes) != len(features):
        raise InputError(
            f"image {image_key(row.name)} has another number of boxes in the other file",
            file=file,
            row=row.number,
            expected=f"{len(features)} boxes",
            found=len(beside.boxes),
            remedy=f"for features without boxes, name {file.name} itself as the source",
        )
    boxes = parts.boxes if beside.boxes is None else beside.boxes
    size = parts.size or beside.size
    key = image_key(row.name)
    return checked(Detected(key, row.name, features, boxes, size, file, row.number))


def _parts(file: Path, row: Row) -> Parts:
    """Return the parts of a row; raises `InputError` for a damaged one."""
    try:
        return read_row(row.cells, row.columns)
    except FAILURES as error:
        raise InputError(
            "not a line of region features",
            file=file,
            row=row.number,
            expected=f"{', '.join(row.columns or BUTD)} between tabs",
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
                yield Row(number, offset, cells, columns)
            offset += len(line)


def _kind(file: Path) -> str | None:
    """Return what the first rows of a file hold: features, boxes or sizes, or (None) neither."""
    kind = None
    for row in islice(_rows(file), PROBED):
        try:
            if read_row(row.cells, row.columns).features is not None:
                return FEATURES
            kind = BESIDE
        except FAILURES:
            if len(row.cells) in COLUMNS.keys() - {len(JSON)}:  # of features, and damaged
                return FEATURES
    return kind


class SideRows:
    """Boxes and sizes of images, from .tsv files of which only the places of rows are in memory."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.places: dict[str, list[tuple[Path, Row]]] = defaultdict(list)
        for file in files:
            for row in _rows(file):
                self.places[image_key(row.name)].append((file, row._replace(cells=[])))

    def of(self, name: str) -> Parts:
        """Return boxes and size of an image, from all rows of its key.

        Raises `InputError` for a damaged row, and for two that differ in their boxes.
        """
        boxes: list[np.ndarray] = []
        size = None
        for file, row in self.places.get(image_key(name), ()):
            with file.open("rb") as lines:
                lines.seek(row.offset)
                cells = lines.readline().rstrip(b"\r\n").split(b"\t")
            parts = _parts(file, row._replace(cells=cells))
            if parts.boxes is not None:
                boxes.append(parts.boxes)
                if not np.array_equal(boxes[0], parts.boxes):
                    raise InputError(
                        f"two rows of boxes of image {name}, which differ",
                        file=file,
                        row=row.number,
                    )
            size = size or parts.size
        return Parts(None, boxes[0] if boxes else None, size)
