"""HTML tables with captions and notes, and the recalls of a run.

Page: every chapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.experiments.runs import Run

MARK = "†"  # of a number made by uncommitted code
MEANING = "made by code with uncommitted changes"
SUPERSCRIPT = f'<sup title="{MEANING}">{MARK}</sup>'
FOOTNOTE = f'<p class="table-footnote" style="font-size: 0.8em">{MARK} {MEANING}</p>'


def numbers(run: Run) -> pd.DataFrame:
    """Return a run's recalls on the test split with their intervals, a row per direction."""
    rows = []
    for side, name in (("i2t", "image to text"), ("t2i", "text to image")):
        row: dict[str, object] = {"direction": name}
        for cut in retrieval.CUTS:
            low, high = run.metrics["intervals"][f"{side}_r{cut}"]
            row[f"R@{cut}"] = f"{run.metrics[f'{side}_r{cut}']:.1f} [{low:.1f}, {high:.1f}]"
        row["median rank"] = f"{run.metrics[f'{side}_median']:.0f}"
        row["mean rank"] = f"{run.metrics[f'{side}_mean']:.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def best(scores: np.ndarray, count: int = 5) -> np.ndarray:
    """Return the indices of the largest scores, best first."""
    return np.argsort(-scores, kind="stable")[:count]


def claims(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return rows of `verdicts.claim`, or of `claims.table`, as a table."""
    return pd.DataFrame(list(rows), dtype=object)  # cells keep their notes


def quote(text: str) -> Markdown:
    """Return a caption as a quotation."""
    return Markdown(f"> {text}")


@dataclass(frozen=True)
class Note:
    """A note of a cell: a text such as the source of a number, and a link.

    ``uncommitted`` marks the cell with `MARK`: its number was made by uncommitted code.

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
    value = _bare(value)
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


def _bare(value: Any) -> Any:
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


def html(
    table: pd.DataFrame, caption: str, *, wrap: bool = False, notes: Notes | None = None
) -> HTML:
    """Return a table with a caption; it scrolls horizontally on a narrow page.

    ``wrap`` wraps long cells, for tables of text; otherwise only the columns in
    ``attrs["wrap"]`` are wrapped. ``notes`` adds a note or a link to the cells of some columns, as
    a tooltip that is also reachable by keyboard and touch; by default the notes of the cells
    (`noted`). A cell with a note but without a value shows a dash. A footnote explains `MARK`.

    Raises `InputError` for notes of a missing column, or a wrong number of notes.
    """
    if notes is not None:
        table = noted(table.map(_bare), notes)
    marked, columns, uncommitted = _marked(table)
    styled = marked.style.hide(axis="index")
    styled = styled.format_index(escape="html", axis="columns")
    plain = [name for name in table if name not in columns] if columns else None
    styled = styled.format(precision=1, na_rep="", escape="html", subset=plain)
    if columns:
        styled = styled.format(str, escape=None, subset=columns)  # escaped by _noted
    wordy = list(table) if wrap else [c for c in table.attrs.get("wrap", ()) if c in table]
    if wordy:
        styled = styled.set_properties(wordy, **{"white-space": "normal", "min-width": "7em"})
    body = styled.set_table_attributes('class="dataframe"').to_html()
    return HTML(
        f'<figure style="margin: 0 0 1rem"><figcaption>{escape(caption)}</figcaption>'
        '<div class="table-scroll" style="margin: 0; overflow-x: auto; font-size: 0.8em">'
        f"{body}</div>{FOOTNOTE if uncommitted else ''}</figure>"
    )


def _marked(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Any], bool]:
    """Return the table with HTML in columns with notes, their names, and whether `MARK` occurs."""
    shown, columns, uncommitted = table.copy(), [], False
    for place, name in enumerate(table):
        column = table.iloc[:, place]
        notes = [note_of(value) for value in column] if column.dtype == object else []
        if any(notes):
            cells = [_noted(value, note) for value, note in zip(column, notes, strict=True)]
            shown[name] = pd.Series(cells, index=table.index, dtype=object)
            columns.append(name)
            uncommitted |= any(note is not None and note.uncommitted for note in notes)
    return (shown.reset_index(drop=True) if columns else shown), columns, uncommitted


def _noted(value: object, note: Note | None) -> str:
    """Return a cell as HTML, with its note reachable by keyboard, in JupyterLab too."""
    note = note or Note()
    shown = escape(_shown(value) or ("–" if note != Note() else ""))
    link, text = escape(note.link), escape(note.text)
    mark = SUPERSCRIPT if note.uncommitted else ""
    if not note.text:
        return (f'<a href="{link}">{shown}</a>' if link else shown) + mark
    cell = (
        f'<span class="note" style="text-decoration: underline dotted" tabindex="0" role="note" '
        f'title="{text}" aria-label="{shown}: {text}">{shown}</span>{mark}'
    )
    arrow = f' <a class="note-link" href="{link}" aria-label="{shown}: open">↗</a>'
    return cell + arrow if link else cell


def _shown(value: Any) -> str:
    """Return a value formatted as in cells without notes."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    return f"{value:.1f}" if pd.api.types.is_float(value) else str(value)
