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
LIST_START = re.compile(r"\[\s*['\"]")


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

    Raises `InputError` for a cell that starts and ends as such a list and is none.

    >>> texts_of("['A dog .', 'A cat .']", Path("captions.csv"), 2)
    ['A dog .', 'A cat .']
    >>> texts_of("['Stop'] says a sign", Path("captions.csv"), 2)
    ["['Stop'] says a sign"]
    """
    text = cell.strip()
    if not text.startswith("["):
        return [cell]
    try:
        texts = json.loads(text)
        if isinstance(texts, list) and all(isinstance(item, str) for item in texts):
            return texts
    except (ValueError, RecursionError):
        pass
    try:
        if items := _items(text):
            return [str(ast.literal_eval(item)) for item in items]
    except (ValueError, SyntaxError):  # an escape such as '\x' without its digits
        pass
    if LIST_START.match(text) and text.endswith("]"):
        raise InputError(
            "a cell that looks like a list of captions, and is none",
            file=path,
            row=row,
            expected='a list of texts, such as ["A dog .", "A cat ."]',
            found=text[:80],
            remedy="write a row for each caption, or the list with json.dumps",
        )
    return [cell]


def _items(text: str) -> list[str]:
    """Return the quoted items of a list that starts with a bracket; none for any other text.

    A Python list has commas between them, a numpy array spaces. The text is read once: no place of
    it is tried twice.

    >>> _items("['A dog .', 'A cat .']"), _items("['A dog .' 'A cat .']")
    (["'A dog .'", "'A cat .'"], ["'A dog .'", "'A cat .'"])
    >>> _items("['A dog .', 3]")
    []
    """
    items: list[str] = []
    rest = len(text) - len(text[1:].lstrip())
    while item := ITEM.match(text, rest):
        items.append(item["text"])
        rest = item.end()
        if not item["gap"]:
            break
    return items if text[rest:] == "]" else []
