"""Which texts may be the id of an image or the name of a split.

Both are written as lines of text files, and are parts of paths: ``pictures/{id}.jpg``,
``{split}_ims.npy``. So they hold no line break or other control character, and no path that leads
out of the dataset's folder. Letters of every script, spaces and subfolders may be in an id.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from itm_core.errors import InputError, escaped

NOT_AN_ID = {  # what is wrong with an id that matches
    "a space at an end": re.compile(r"\s|.*\s\Z", re.DOTALL),
    "a line break or another control character": re.compile(
        "[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
    ),
    "a path that leads out of its folder": re.compile(
        r"[/\\]|[A-Za-z]:[/\\]|(.*[/\\])?\.\.([/\\]|\Z)"
    ),
}
TOO_LONG, LONGEST = "longer than the name of a file may be", 255  # bytes of a part
BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # letters and a sign without ink
SPLIT_NAME = re.compile(r"\w[\w.-]{0,99}")
FILE_ENDING = re.compile(r"\.(npy|npz|txt|json|csv|tsv|h5)\Z", re.IGNORECASE)


def id_problem(image: str) -> str | None:
    """Return what is wrong with the id of an image; None for a valid one.

    >>> id_problem("图片/1 a.jpg"), id_problem("../1.jpg")
    (None, 'a path that leads out of its folder')
    """
    if not is_visible(image):
        return "it is empty"
    if problem := next((what for what, form in NOT_AN_ID.items() if form.match(image)), None):
        return problem
    parts = image.replace("\\", "/").split("/")
    return TOO_LONG if any(len(part.encode()) > LONGEST for part in parts) else None


def is_visible(text: str) -> bool:
    """Return whether a text has a character that is seen: a letter, a number, a sign.

    >>> is_visible("\u72d7"), is_visible(" \u200b\u0301\x01")
    (True, False)
    """
    return any(unicodedata.category(c)[0] in "LNPS" and c not in BLANK for c in text)


def require_ids(ids: Sequence[str], file: Path | str) -> None:
    """Raise `InputError` for the first row of ``file`` whose id `id_problem` refuses."""
    for row, image in enumerate(ids, 1):
        if problem := id_problem(image):
            raise InputError(
                f"not an id of an image: {problem}",
                file=file,
                row=row,
                expected="a name, or a path below the folder of pictures",
                found=repr(escaped(image)[:60]),
                remedy="rename the image",
            )


def require_split_name(name: str) -> None:
    """Raise `InputError` unless ``name`` can be the name of a split.

    >>> require_split_name("testall")
    """
    if not SPLIT_NAME.fullmatch(name) or FILE_ENDING.search(name):
        raise InputError(
            "not the name of a split",
            expected="up to 100 letters, digits, and . _ - after the first of them, such as test",
            found=repr(name),
            remedy="name the split alone, without its folder or the ending of its files",
        )
