"""The captions of ``{split}_caps.txt``: one a line, without a column of names before them.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from itm_core.data.names import is_visible
from itm_core.data.photographs import ENDINGS
from itm_core.data.vocabulary import read_captions, tokenise
from itm_core.errors import InputError

LONGEST_CAPTION = 200  # tokens; far above any caption of the field's datasets
LONGEST_TOKEN = 50  # characters, on average over a caption
LONGEST_NAME = 260  # characters from the start of a line in which the name of a file is looked for
_ENDING = rf"(?:{'|'.join(map(re.escape, ENDINGS))})"
# a line that starts with the name of a file and a tab: one of them is a column, not a caption
NAMED = re.compile(rf"\S+{_ENDING}(?:#\d+)?\t", re.IGNORECASE)
# other forms of a name, which a caption about a file may have: a column where most lines have them
MENTIONED = re.compile(rf"{_ENDING}(?:(?:#[a-z]+)?#\d+\b|\s*[\t|,; ])", re.IGNORECASE)

log = logging.getLogger(__name__)


def read_lines(path: Path, max_words: int = LONGEST_CAPTION) -> list[str]:
    """Return the captions of a split.

    A tab inside a caption is a space between words; the log says so where most lines have one.

    Raises `InputError` for a missing file, an empty caption, one with more than ``max_words``
    tokens, and a column of names or numbers before the captions.
    """
    captions = read_captions(path)
    for row, caption in enumerate(captions, 1):
        require_caption(caption, path, row, max_words)
        if NAMED.match(caption):
            raise _column(path, row, "a file name", caption)
    if column := column_of_most(captions):
        problem, row = column
        raise _column(path, row, problem, captions[row - 1])
    if _most([caption for caption in captions if "\t" in caption], captions):
        log.warning("%s: most lines have a tab, which is read as a space between words", path)
    return captions


def column_of_most(captions: Sequence[str]) -> tuple[str, int] | None:
    r"""Return what most lines have before their captions, and the first row of them; or None.

    >>> column_of_most(["1.jpg#0\tA dog .", "1.jpg#1\tTwo dogs ."])
    ('a file name', 1)
    >>> column_of_most(["A dog .", "The file cat.png | a viewer", "A cat ."])
    """
    for problem, found in (("a file name", _mentions_file), ("an id or a number", _has_id)):
        rows = [row for row, caption in enumerate(captions, 1) if found(caption)]
        if _most(rows, captions):
            return problem, rows[0]
    return None


def _mentions_file(caption: str) -> bool:
    return MENTIONED.search(caption, 1, LONGEST_NAME) is not None


def _has_id(caption: str) -> bool:
    """Return whether a word with a digit and a tab are before the rest of a line."""
    first, tab, _ = caption.partition("\t")
    return bool(tab) and len(first.split()) == 1 and any(map(str.isdigit, first))


def _most(some: Sequence[object], captions: Sequence[str]) -> bool:
    return 2 * len(some) > len(captions)


def _column(path: Path, row: int, problem: str, caption: str) -> InputError:
    """Return the error for a column before the captions, with what keeps the last one."""
    cells = caption.split("\t")
    column = 3 if len(cells) > 2 and cells[1].strip().isdigit() else 2
    return InputError(
        f"{problem} before the caption",
        file=path,
        row=row,
        expected="captions alone, in the order of the images",
        found=caption[:60],
        remedy=f"keep the captions alone: cut -f {column}-"
        if len(cells) > 1
        else "keep the captions alone, without the names of their images",
    )


def require_caption(
    caption: str, path: Path, row: int | None, max_words: int = LONGEST_CAPTION, image: str = ""
) -> None:
    """Raise `InputError` for a caption without a visible character, and one that is too long.

    ``image`` is named where the row is not known.
    """
    of_image = f" of image {image}" if image else ""
    if not is_visible(caption):
        remedy = "give it a text, or take it out if it belongs to no image"
        raise InputError(f"an empty caption{of_image}", file=path, row=row, remedy=remedy)
    # a token has a character at least, so short texts need no tokenising; a whole file in one line
    # would take hours
    endless = len(caption) > LONGEST_TOKEN * max_words
    if endless or (len(caption) > max_words and len(tokenise(caption)) > max_words):
        raise InputError(
            f"a caption{of_image} is too long",
            file=path,
            row=row,
            expected=f"{max_words} tokens at most",
            found=f"{len(caption)} characters" if endless else len(tokenise(caption)),
            remedy="is a line break missing?",
        )
