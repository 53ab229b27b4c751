"""Rows of caption files that are texts: one caption a line, or a table with a header.

* Lines: ``name.jpg#0<TAB>caption`` (Flickr8k, Flickr30K), ``name.jpg#zhb#0 caption`` (Flickr8k-CN,
  COCO-CN), ``name<TAB>caption`` (Flickr30K-CNA), ``name<TAB>0<TAB>caption``.
* Captions alone, ``{split}_caps.txt`` with ``{split}_ids.txt`` beside it: see `split_captions`.
* Tables: ``image,caption`` (Flickr8k on Kaggle), ``image_name| comment_number| comment`` (Flickr30K
  on Kaggle), and others whose header names an image and a caption column. A ``split`` column is
  read; a caption cell may be a list (``flickr_annotations_30k.csv``), see `table_cells`.

Page: "Which files does it read?".
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from itm_book.datasets.split_captions import CAPTIONS, images_of_captions
from itm_book.datasets.table_cells import texts_of, unquoted
from itm_core.data.photographs import ENDINGS
from itm_core.data.vocabulary import read_captions
from itm_core.errors import InputError
from itm_core.files import unique_keys

_NUMBER = r"(?P<number>(#[a-z]+)?#\d+)"
# the name of a file and a number before a tab or a space; a name may have " #3 " in it
FILE_NUMBERED = re.compile(
    rf"(?P<image>[^\t]+?({'|'.join(map(re.escape, ENDINGS))})){_NUMBER}[\t ]\s*(?P<caption>.*)",
    re.I,
)
NUMBERED = re.compile(rf"(?P<image>[^\t]+?){_NUMBER} \s*(?P<caption>.*)", re.I)
# "#zhb#0 " ends a name even where a tab follows
LANGUAGE_NUMBERED = re.compile(
    r"(?P<image>[^\t]+?)(?P<number>#[a-z]+#\d+) \s*(?P<caption>.*)", re.I
)
CELL_NUMBERED = re.compile(rf"(?P<image>.+?){_NUMBER}", re.I)
NUMBER_CELL = re.compile(r"\s*\d+\s*\t(?P<caption>.*)")
NO_PHOTOGRAPH = "2258277193_586949ec62.jpg.1"  # in Flickr8k.token.txt, of no file of the release
BROKEN = re.compile(r"\s*\d+\s+(?P<caption>\S.*)")  # of "2199200615.jpg| 4   A dog runs ..."
DELIMITERS = ("|", "\t", ",", ";")
QUOTED = ",;"  # delimiters of tables whose quotes are read strictly
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
CAPTION = ("caption", "comment", "sentence", "raw", "text", "captions", "title")

log = logging.getLogger(__name__)


class CaptionRow(NamedTuple):
    """One caption: the image's name, the split or None, the text and the row of the file."""

    image: str
    split: str | None
    caption: str
    row: int


def read_rows(path: Path) -> list[CaptionRow]:
    """Return the captions of a text file, in its order.

    Raises `InputError` for a row without an image or a caption, a table without the two columns
    (a .csv, or a first row that is no image before rows that are), two captions of one number, and
    a file that is not UTF-8.
    """
    lines = read_captions(path)
    header = _header(lines[0]) if lines else None
    if header:
        return list(_table(path, lines, *header))
    if path.suffix.lower() == ".csv":
        raise _no_header(path, lines[0] if lines else "an empty file")
    rows = [(row, line) for row, line in enumerate(lines, 1) if line.strip()]
    images = images_of_captions(path, lines)
    if images is None:
        return list(_lines(path, rows))
    pairs = zip(images, rows, strict=True)
    return [CaptionRow(image, None, caption, row) for image, (row, caption) in pairs]


def _lines(path: Path, lines: Sequence[tuple[int, str]]) -> Iterator[CaptionRow]:
    """Yield the captions of lines with their rows.

    A second cell is a number, not a part of the caption, where all lines with such a cell have one
    in it. It may be the same for two captions of an image.
    """
    parts = [(row, *_parts(path, row, line)) for row, line in lines]
    _require_no_header(path, [image for _, image, _, _ in parts])
    cells = [caption for _, _, number, caption in parts if not number and "\t" in caption]
    counted = all(map(NUMBER_CELL.match, cells))
    numbered: list[tuple[str, int]] = []
    skipped = 0
    for row, image, number, caption in parts:
        if image == NO_PHOTOGRAPH:
            skipped += 1
            continue
        if number:
            numbered.append((image + number, row))
        cell = NUMBER_CELL.match(caption) if counted and not number else None
        yield CaptionRow(image, None, cell["caption"] if cell else caption, row)
    unique_keys(numbered, path, what="captions", source=lambda row: f"row {row}")
    if skipped:
        log.info("%s: left out: %d captions of %s, no photograph", path, skipped, NO_PHOTOGRAPH)


def _require_no_header(path: Path, images: Sequence[str]) -> None:
    """Raise `InputError` where the first image is a word, and all others are files or numbers."""
    named = [image.isdigit() or image.lower().endswith(ENDINGS) for image in map(str.strip, images)]
    if len(named) > 1 and not named[0] and all(named[1:]):
        raise _no_header(path, images[0])


def _no_header(path: Path, found: str) -> InputError:
    return InputError(
        "no header that names an image and a caption",
        file=path,
        row=1,
        expected=f"a column {', '.join(IMAGE[:4])}, ... and a column {', '.join(CAPTION[:4])}, "
        "..., such as image,caption",
        found=found[:80],
        remedy="rename the columns",
    )


def _parts(path: Path, row: int, line: str) -> tuple[str, str, str]:
    """Return image, number and caption of a line; the number is empty where there is none.

    Where the line has a tab, the image ends there at the latest. Raises `InputError` for a line
    without an image.
    """
    image, tab, caption = line.partition("\t")
    match = FILE_NUMBERED.match(line) or (LANGUAGE_NUMBERED if tab else NUMBERED).match(line)
    if match:
        return match["image"], match["number"], match["caption"]
    if not tab:
        beside = path.with_name(path.name.replace(CAPTIONS, "_ids.txt"))
        raise InputError(
            "no image before the caption",
            file=path,
            row=row,
            expected="name.jpg#0, a tab, a caption"
            + ("" if beside.exists() else f"; or {beside.name} beside this file"),
            found=line[:60],
        )
    if match := CELL_NUMBERED.fullmatch(image.strip()):
        return match["image"], match["number"], caption
    return image, "", caption


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
        if delimiter not in QUOTED:
            cells = [unquoted(cell) for cell in cells]
        of_row = None if split is None else cells[split].strip()
        for text in texts_of(cells[caption], path, row):
            yield CaptionRow(cells[image].strip(), of_row, text, row)


def _cells(path: Path, lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield row and cells; quotes between bars or tabs are kept, as Kaggle's file has them."""
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if delimiter in QUOTED else csv.QUOTE_NONE
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
            remedy="put a caption that has the delimiter in it between quotes"
            if delimiter in QUOTED
            else "take delimiters and line breaks out of captions, also between quotes, or write a "
            ".csv with commas",
        )
    return cells
