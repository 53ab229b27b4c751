"""Rows of caption files that are texts: one caption a line, or a table with a header.

* Lines: ``name.jpg#0<TAB>caption`` (Flickr8k, Flickr30K), ``name.jpg#zhb#0 caption`` (Flickr8k-CN,
  COCO-CN), ``name<TAB>caption`` (Flickr30K-CNA).
* Tables: ``image,caption`` (Flickr8k on Kaggle), ``image_name| comment_number| comment`` (Flickr30K
  on Kaggle), and others whose header names an image and a caption column. A ``split`` column is
  read; a caption cell may be a JSON list (``flickr_annotations_30k.csv``).

Page: "Which files does it read?".
"""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from itm_core.data.vocabulary import read_captions
from itm_core.errors import InputError
from itm_core.files import unique_keys

NUMBERED = re.compile(r"(?P<image>[^\t]+?)(?P<number>(#[a-z]+)?#\d+)[\t ]\s*(?P<caption>.*)", re.I)
BROKEN = re.compile(r"\s*\d+\s+(?P<caption>\S.*)")  # of "2199200615.jpg| 4   A dog runs ..."
DELIMITERS = ("|", "\t", ",", ";")
IMAGE = (
    "image",
    "image_name",
    "filename",
    "file_name",
    "filepath",
    "image_path",
    "img",
    "image_id",
)
CAPTION = ("caption", "comment", "sentence", "raw", "text", "title", "captions")

log = logging.getLogger(__name__)


class CaptionRow(NamedTuple):
    """One caption: the image's name, the split or None, the text and the row of the file."""

    image: str
    split: str | None
    caption: str
    row: int


def read_rows(path: Path) -> list[CaptionRow]:
    """Return the captions of a text file, in its order.

    Raises `InputError` for a row without an image or a caption, a table without the two columns,
    two captions of one number, and a file that is not UTF-8.
    """
    lines = read_captions(path)
    header = _header(lines[0]) if lines else None
    if header:
        return list(_table(path, lines, *header))
    if path.suffix.lower() == ".csv":
        raise InputError(
            "no header that names an image and a caption",
            file=path,
            row=1,
            expected=f"a column {', '.join(IMAGE[:4])}, ... and a column {', '.join(CAPTION[:4])}, "
            "..., such as image,caption",
            found=lines[0][:80] if lines else "an empty file",
        )
    return list(_lines(path, lines))


def _lines(path: Path, lines: Sequence[str]) -> Iterator[CaptionRow]:
    numbered: list[tuple[str, int]] = []
    for row, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = NUMBERED.match(line)
        image, tab, caption = line.partition("\t")
        if match:
            image, caption = match["image"], match["caption"]
            numbered.append((image + match["number"], row))
        elif not tab:
            raise InputError(
                "no image before the caption",
                file=path,
                row=row,
                expected="name.jpg#0, a tab, a caption",
                found=line[:60],
            )
        yield CaptionRow(image, None, caption, row)
    unique_keys(numbered, path, what="captions", source=lambda row: f"row {row}")


def _header(line: str) -> tuple[str, list[str]] | None:
    """Return the delimiter and the columns of a header; None for any other line."""
    for delimiter in DELIMITERS:
        columns = [cell.strip(' "').lower() for cell in line.split(delimiter)]
        if set(columns) & set(IMAGE) and set(columns) & set(CAPTION):
            return delimiter, columns
    return None


def _table(
    path: Path, lines: Sequence[str], delimiter: str, columns: list[str]
) -> Iterator[CaptionRow]:
    image, caption = (
        next(columns.index(name) for name in names if name in columns) for names in (IMAGE, CAPTION)
    )
    split = columns.index("split") if "split" in columns else None
    for row, cells in _cells(path, lines, delimiter):
        cells = _completed(path, row, cells, delimiter, columns, caption)
        of_row = None if split is None else cells[split].strip()
        for text in _texts(cells[caption]):
            yield CaptionRow(cells[image].strip(), of_row, text, row)


def _cells(path: Path, lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield row and cells; only commas and semicolons are quoted, as Kaggle's files are."""
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if delimiter in ",;" else csv.QUOTE_NONE
    reader = csv.reader(
        (f"{line}\n" for line in lines[1:]), delimiter=delimiter, quoting=quoting, strict=True
    )
    start = 2
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield start, cells
            start = reader.line_num + 2
    except csv.Error as error:
        raise InputError(
            "not a row of a table",
            file=path,
            row=start,
            expected="quotes around a caption with a comma, and none inside it",
            found=str(error),
        ) from None


def _completed(
    path: Path, row: int, cells: list[str], delimiter: str, columns: list[str], caption: int
) -> list[str]:
    """Return one cell for each column: delimiters in a last caption are part of it.

    A row whose number and caption lack their delimiter (one of Flickr30K on Kaggle does) is
    completed, with a line in the log.
    """
    last = caption == len(columns) - 1
    if last and len(cells) > len(columns):
        cells = [*cells[:caption], delimiter.join(cells[caption:])]
    broken = BROKEN.fullmatch(cells[-1])
    if last and broken and caption > 1 and len(cells) == caption:
        log.warning("%s, row %d: no %s before the caption; read as one", path, row, delimiter)
        cells = [*cells, broken["caption"]]
    if len(cells) != len(columns):
        raise InputError(
            "a row has another number of columns",
            file=path,
            row=row,
            expected=f"{len(columns)}: {', '.join(columns)}",
            found=len(cells),
            remedy="put a caption that has the delimiter in it between quotes",
        )
    return cells


def _texts(cell: str) -> Iterable[str]:
    """Return the captions of a cell: a JSON list of them, or one."""
    if cell.lstrip().startswith("["):
        try:
            texts = json.loads(cell)
        except (ValueError, RecursionError):
            return (cell,)
        if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
            return texts
    return (cell,)
