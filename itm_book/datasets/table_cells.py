"""Cells of a table of captions: their quotes, and lists of captions in one cell.

Page: "Which files does it read?".
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path

from itm_core.errors import InputError

TEXT = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
ITEM = re.compile(rf"(?P<text>{TEXT})(?P<gap>\s*,?\s*)", re.DOTALL)
# a list of texts, perhaps of bytes, of Python 2, of numpy's repr, or in another list; or a tuple
SEQUENCE = re.compile(
    r"""(?:array\()?\[[\s\[(]*[bu]?['"]|\(\s*[bu]?(['"]).*\1\s*,\s*[bu]?['"]""", re.DOTALL
)


def unquoted(cell: str) -> str:
    r"""Return a cell without the quotes around it, and with each doubled quote inside it once.

    A cell that only starts or ends with a quote, or has a single one inside, keeps all of them.

    >>> unquoted('"A sign says ""stop"" ."'), unquoted('"Quoted" words .')
    ('A sign says "stop" .', '"Quoted" words .')
    """
    inner = cell[1:-1]
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if whole else cell


def texts_of(cell: str, path: Path, row: int) -> Sequence[str]:
    """Return the captions of a cell: those of a list in JSON, Python's or numpy's form, or one.

    Raises `InputError` for a list without captions, and for a cell that starts and ends as a list
    or a tuple of texts and is none of these.

    >>> texts_of("['A dog .', 'A cat .']", Path("captions.csv"), 2)
    ['A dog .', 'A cat .']
    >>> texts_of("['Stop'] says a sign", Path("captions.csv"), 2)
    ["['Stop'] says a sign"]
    """
    text = cell.strip()
    texts = _json_texts(text)
    if texts == []:
        raise _no_captions("a list without captions", text, path, row)
    if texts is None:
        try:
            texts = [str(ast.literal_eval(item)) for item in _items(text)]
        except (ValueError, SyntaxError):  # an escape such as '\x' without its digits
            texts = []
    if not texts and text.endswith(("]", ")")) and SEQUENCE.match(text):
        problem = "a cell that looks like a list of captions, and is none"
        raise _no_captions(problem, text, path, row)
    return texts or [cell]


def _no_captions(problem: str, text: str, path: Path, row: int) -> InputError:
    return InputError(
        problem,
        file=path,
        row=row,
        expected='a list of texts, such as ["A dog .", "A cat ."]',
        found=text[:80],
        remedy="write a row for each caption, or the list with json.dumps",
    )


def _json_texts(text: str) -> list[str] | None:
    """Return the texts of a list in JSON; None for anything else."""
    try:
        texts = json.loads(text) if text.startswith("[") else None
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(texts, list) and all(isinstance(item, str) for item in texts)
    return texts if is_list else None


def _items(text: str) -> list[str]:
    """Return the quoted items of a list; none for any other text.

    A Python list has commas between them, a numpy array spaces. The text is read once: no place of
    it is tried twice.

    >>> _items("['A dog .', 'A cat .']"), _items("['A dog .' 'A cat .']")
    (["'A dog .'", "'A cat .'"], ["'A dog .'", "'A cat .'"])
    >>> _items("['A dog .', 3]")
    []
    """
    if not text.startswith("["):
        return []
    items: list[str] = []
    rest = len(text) - len(text[1:].lstrip())
    while item := ITEM.match(text, rest):
        items.append(item["text"])
        rest = item.end()
        if not item["gap"]:
            break
    return items if text[rest:] == "]" else []
