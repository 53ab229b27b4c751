"""HTML tables with captions and notes, and the recalls of a run.

Page: every chapter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from itm_book.tables.notes import Note, Notes, bare, note_of, noted
from itm_core.evaluation import retrieval
from itm_core.experiments.runs import Run

MARK = "†"  # of a number made by uncommitted code
MEANING = "made by code with uncommitted changes"
SUPERSCRIPT = f'<sup title="{MEANING}">{MARK}</sup>'
NEAR = "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"
# A number, the interval behind it, and the rest: "340.8", "[331.0, 350.2]" and " ± 8.1"
INTERVAL = re.compile(r"([+−-]?[\d.,]+) (\[[^\[\]]*\d, [^\[\]]*\d[^\[\]]*\])(.*)", re.DOTALL)
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
    """Return rows of `verdicts.claim` as a table, its evidence behind the table's switch."""
    table = pd.DataFrame(list(rows), dtype=object)  # cells keep their notes
    return behind_switch(table, ["seeds", "minimum detectable gain", "evidence"])


def quote(text: str) -> Markdown:
    """Return a caption as a quotation."""
    return Markdown(f"> {text}")


def behind_switch(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the table with columns marked that a reader asks for: a switch below it shows them.

    They are still in the copies as CSV and LaTeX, on phones, on paper and where no script runs.
    Columns that the table does not have are left out.
    """
    table = table.copy()
    table.attrs["more"] = [name for name in columns if name in table]
    return table


def html(table: pd.DataFrame, caption: str, *, notes: Notes | None = None) -> HTML:
    """Return a table with a caption.

    Notes of the cells (`notes.noted`), by default those that they have, are tooltips that keyboard
    and touch reach too; a cell with a note but without a value shows a dash. An interval in a text
    such as ``340.8 [331.0, 350.2] ± 8.1`` is shown by the switch of `behind_switch`, and is in the
    note of its cell, named by ``table.attrs["interval"]``, by default "95 % interval". A footnote
    explains `MARK`.

    A table without rows is a sentence: the caption, and that there is none.

    Raises `InputError` for notes of a missing column, or a wrong number of notes.
    """
    if table.empty:
        return HTML(f"<p>{escape(caption.rstrip('. '))}: none.</p>")
    if notes is not None:
        table = noted(table.map(bare), notes)
    columns = [table.iloc[:, place].tolist() for place in range(table.shape[1])]
    behind = table.attrs.get("more", ())
    kinds = [' class="more"' if name in behind else "" for name in table]
    interval = table.attrs.get("interval", "95 % interval")
    head = _row("th", [escape(str(name)) for name in table], kinds)
    lines = (
        _row("td", [_cell(v, interval) for v in row], kinds) for row in zip(*columns, strict=True)
    )
    found = (note_of(value) for cells in columns for value in cells)
    uncommitted = any(note is not None and note.uncommitted for note in found)
    return HTML(
        f'<figure style="margin: 0 0 1rem"><figcaption>{escape(caption)}</figcaption>'
        '<div class="table-scroll" style="margin: 0; overflow-x: auto; font-size: 0.8em">'
        f'<table class="dataframe">\n<thead>\n{head}</thead>\n<tbody>\n{"".join(lines)}</tbody>\n'
        f"</table></div>{FOOTNOTE if uncommitted else ''}</figure>"
    )


def _row(tag: str, cells: Sequence[str], kinds: Sequence[str]) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    line = (f"<{tag}{scope}{kind}>{cell}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))
    return f"<tr>{''.join(line)}</tr>\n"


def _cell(value: Any, interval: str) -> str:
    """Return a cell as HTML, with its note reachable by keyboard, in JupyterLab too."""
    note = note_of(value) or Note()
    text = _shown(value) or ("–" if note != Note() else "")
    told, link = [note.text] * bool(note.text), escape(note.link)
    shown = name = escape(text)
    if found := INTERVAL.fullmatch(text):
        number, limits, rest = map(escape, found.groups())
        shown, name = f'{number}<span class="interval"> {limits}</span>{rest}', f"{number}{rest}"
        told.insert(0, f"{interval} {found[2]}")
    mark, about = SUPERSCRIPT if note.uncommitted else "", escape("; ".join(told))
    if not about:
        return (f'<a href="{link}">{shown}</a>' if link else shown) + mark
    cell = (
        f'<span class="note" style="text-decoration: underline dotted" tabindex="0" role="note" '
        f'title="{about}" aria-label="{name}: {about}">{shown}</span>{mark}'
    )
    arrow = f'{NEAR[0]}<a class="note-link" href="{link}" aria-label="{name}: open">↗</a>'
    return cell + arrow if link else cell


def _shown(value: Any) -> str:
    """Return a value formatted as in a cell, with no line broken between a number and its ±."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    return f"{value:.1f}" if pd.api.types.is_float(value) else str(value).replace(" ± ", NEAR)
