"""Tables of runs for people: means over seeds with intervals, and HTML that fits a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from itm_core import retrieval
from itm_core.data.precomp import Dataset
from itm_core.errors import InputError
from itm_core.runs import Run


def numbers(run: Run) -> pd.DataFrame:
    """Return a run's recalls of the test split with their intervals, one row a direction."""
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


def facts(run: Run, data: Dataset) -> pd.DataFrame:
    """Return what a run was made of: data, model, budget, machine."""
    recipe, where = run.recipe, run.environment
    images, regions, width = data.train.regions.shape
    said = {
        "dataset": f"{data.name}: {images} / {len(data.dev.regions)} / {len(data.test.regions)} "
        f"images (train / dev / test), {regions} regions of {width}",
        "vocabulary": f"{len(data.vocabulary)} words",
        "recipe": f"{recipe.name}, seed {run.seed}",
        "matcher": ", ".join(f"{k} {v}" for k, v in vars(recipe.matcher).items()),
        "training": ", ".join(f"{k} {v}" for k, v in vars(recipe.training).items()),
        "device": f"{where['device_name']}, {where['threads']} threads",
        "minutes": f"{where['seconds_training'] / 60:.1f} of training",
        "versions": f"Python {where['python']}, torch {where['packages']['torch']}",
        "commit": where["commit"] or "not a git checkout",
    }
    return pd.DataFrame({"": said.keys(), "value": said.values()})


def best(scores: np.ndarray, count: int = 5) -> np.ndarray:
    """Return the places of the largest scores, best first."""
    return np.argsort(-scores, kind="stable")[:count]


def controls(scores: Mapping[str, np.ndarray], chance: Mapping[str, float]) -> pd.DataFrame:
    """Return the recalls of control matchers with intervals, and chance below them."""
    rows = []
    for name, one in scores.items():
        found = retrieval.metrics(one, ties="mean").flat()
        limits = retrieval.bootstrap(one, ties="mean")
        row: dict[str, object] = {"matcher": name}
        for key in ("i2t_r1", "i2t_r10", "t2i_r1", "t2i_r10"):
            low, high = limits[key]
            row[_title(key)] = f"{found[key]:.1f} [{low:.1f}, {high:.1f}]"
        rows.append(row)
    guess: dict[str, object] = {"matcher": "chance"}
    guess |= {_title(k): f"{chance[k]:.1f}" for k in ("i2t_r1", "i2t_r10", "t2i_r1", "t2i_r10")}
    return pd.DataFrame([*rows, guess])


def _title(key: str) -> str:
    side, cut = key.split("_r")
    return f"{'image to text' if side == 'i2t' else 'text to image'} R@{cut}"


def claims(verdicts: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return the verdicts of `verdicts.claim` as a table."""
    return pd.DataFrame(list(verdicts))


def quote(text: str) -> Markdown:
    """Return a caption as a quotation."""
    return Markdown(f"> {text}")


@dataclass(frozen=True)
class Note:
    """What stands behind a cell: a text such as the source of a number, and where it leads.

    Raises `InputError` for a link that is no address of a page (``javascript:``, for one).
    """

    text: str = ""
    link: str = ""

    def __post_init__(self) -> None:
        # Browsers leave out blanks and control characters before they read an address.
        odd = any(sign <= " " or sign == "\x7f" for sign in self.link)
        if odd or urlsplit(self.link).scheme not in ("", "http", "https"):
            expected = "https://..., a path such as ../book/runs.html#run-1, or nothing"
            raise InputError("no link for a page", expected=expected, found=repr(self.link))


Notes = Mapping[str, Sequence[Note | str | None]]  # column: one for each row; "" or None for none


def html(
    table: pd.DataFrame, caption: str, *, wrap: bool = False, notes: Notes | None = None
) -> HTML:
    """Return a table with a caption, which scrolls where the page is narrow.

    ``wrap`` lets long cells take more lines, for tables of words rather than numbers; without it
    only the columns that the table names in ``attrs["wrap"]`` do. ``notes``
    puts a note or a link behind the cells of some columns: under the mouse, and in the book also
    for keys and fingers; by default those that the table brings along, ``attrs["notes"]``. A cell
    without a value, but with a note, shows a dash.

    Raises `InputError` for notes of a column that isn't there, or not one for each row.
    """
    notes = table.attrs.get("notes") if notes is None else notes
    styled = _marked(table, notes or {}).style.hide(axis="index")
    styled = styled.format_index(escape="html", axis="columns")
    plain = [name for name in table if name not in notes] if notes else None
    styled = styled.format(precision=1, na_rep="", escape="html", subset=plain)
    if notes:
        styled = styled.format(str, escape=None, subset=list(notes))  # escaped by _noted
    wordy = list(table) if wrap else [c for c in table.attrs.get("wrap", ()) if c in table]
    if wordy:
        styled = styled.set_properties(wordy, **{"white-space": "normal", "min-width": "7em"})
    body = styled.set_table_attributes('class="dataframe"').to_html()
    return HTML(
        f'<figure style="margin: 0 0 1rem"><figcaption>{escape(caption)}</figcaption>'
        '<div class="table-scroll" style="margin: 0; overflow-x: auto; font-size: 0.8em">'
        f"{body}</div></figure>"
    )


def _marked(table: pd.DataFrame, notes: Notes) -> pd.DataFrame:
    """Return the table with HTML in the cells of the columns that have notes."""
    marked = table.reset_index(drop=True) if notes else table
    for name, said in notes.items():
        if name not in table or len(said) != len(table):
            raise InputError(
                "notes that do not fit their table",
                expected=f"{len(table)} for one of the columns {', '.join(map(str, table))}",
                found=f"{len(said)} for {name}",
            )
        cells = [_noted(value, note) for value, note in zip(table[name], said, strict=True)]
        marked = marked.assign(**{name: pd.Series(cells, dtype=object)})
    return marked


def _noted(value: object, note: Note | str | None) -> str:
    """Return a cell as HTML; a note is within reach of keys, and JupyterLab shows it too."""
    note = note if isinstance(note, Note) else Note(note or "")
    shown = escape(_shown(value) or ("–" if note.text or note.link else ""))
    link, text = escape(note.link), escape(note.text)
    if not note.text:
        return f'<a href="{link}">{shown}</a>' if link else shown
    marked = (
        f'<span class="note" style="text-decoration: underline dotted" tabindex="0" role="note" '
        f'title="{text}" aria-label="{shown}: {text}">{shown}</span>'
    )
    leads = f' <a class="note-link" href="{link}" aria-label="{shown}: open">↗</a>'
    return marked + leads if link else marked


def _shown(value: Any) -> str:
    """Return a value as the cells without notes show it."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    return f"{value:.1f}" if pd.api.types.is_float(value) else str(value)
