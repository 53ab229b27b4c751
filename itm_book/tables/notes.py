"""Notes of the cells of a table: the source of a number, its runs, a link.

A cell with a note equals its value, so tables with notes are sorted, selected and joined as any
others; `report.html` shows the notes.

Page: every chapter with a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from itm_core.errors import InputError


@dataclass(frozen=True)
class Note:
    """A note of a cell: a text such as the source of a number, and a link.

    ``uncommitted`` marks the cell with `report.MARK`: its number was made by uncommitted code.

    Raises `InputError` for a link that is not a page (``javascript:``, for example).
    """

    text: str = ""
    link: str = ""
    uncommitted: bool = False

    def __post_init__(self) -> None:
        # Browsers drop blanks and control characters from an address.
        odd = any(sign <= " " or sign == "\x7f" for sign in self.link)
        if odd or urlsplit(self.link).scheme not in ("", "http", "https"):
            expected = "https://..., a path such as ../book/runs.html#run-1, or nothing"
            raise InputError("not a link to a page", expected=expected, found=repr(self.link))


Notes = Mapping[str, Sequence[Note | str | None]]  # column: one for each row; "" or None for none


class _Text(str):
    note: Note


class _Real(float):
    note: Note


class _Whole(int):
    note: Note


def with_note(value: Any, note: Note | str | None) -> Any:
    """Return a cell value with a note, which replaces an earlier one.

    The result equals the value and keeps its note when rows are sorted, selected and joined.
    Values that are neither text nor numbers become text, missing ones NaN.
    """
    value = bare(value)
    note = note if isinstance(note, Note) else Note(note or "")
    if note == Note():
        return value
    if pd.api.types.is_scalar(value) and pd.isna(value):
        noted: Any = _Real("nan")
    elif pd.api.types.is_integer(value):
        noted = _Whole(value)
    else:
        noted = _Real(value) if pd.api.types.is_float(value) else _Text(value)
    noted.note = note
    return noted


def note_of(value: object) -> Note | None:
    """Return the note of a cell; None where it has none."""
    return value.note if isinstance(value, _Text | _Real | _Whole) else None


def bare(value: Any) -> Any:
    """Return the value of a cell without its note."""
    kinds: dict[type, type] = {_Text: str, _Real: float, _Whole: int}
    kind = kinds.get(type(value))
    return kind(value) if kind else value


def noted(table: pd.DataFrame, notes: Notes) -> pd.DataFrame:
    """Return the table with notes in the cells of some columns, one for each row.

    Notes stay with their cells when rows are sorted, selected or joined. Raises `InputError` for a
    missing column, or a wrong number of notes.
    """
    table = table.copy()
    for name, column_notes in notes.items():
        if len(column_notes) != len(table) or (name not in table and len(column_notes)):
            raise InputError(
                "the notes do not match the table",
                expected=f"{len(table)} for one of the columns {', '.join(map(str, table))}",
                found=f"{len(column_notes)} for {name}",
            )
        if len(column_notes):
            pairs = zip(table[name], column_notes, strict=True)
            cells = [with_note(value, note) for value, note in pairs]
            table[name] = pd.Series(cells, index=table.index, dtype=object)
    return table
