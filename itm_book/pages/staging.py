"""Pages written when the book is staged: executed notebooks, generated tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from nbformat import NotebookNode

from itm_book.batch.parameters import with_values
from itm_book.pages.chapters import METADATA
from itm_book.records.markdown import code, inert, table

PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
INJECTED_TAG = "injected-parameters"  # papermill's
HIDDEN = {"hide-input", "parameters"}  # tags of cells whose code the page's switch shows
FOLDABLE = "foldable"  # the tag that such a cell gets: book/_static/code.js folds its code
INCLUDED = {"cover": "first_match", "findings": "findings"}  # tag of a cell: its notebook
COVER_WORDS = """One of ten photographs that no matcher was trained on, with a sentence for it: the
pair whose score has the largest margin over the sentence's best score with another photograph, so
it works well by construction. The menu has the other photographs and methods; RCAR attends in
several *steps*, and its regulators change the attention from one to the next. The matchers come
with the project; [First match](../notebooks/first_match.ipynb) explains the picture.
"""


def lay_over(executed: Path, place: Path) -> None:
    """Write an executed notebook as a page, with a text for every picture.

    papermill's cell of parameters is left out; its values take the place of the defaults. Code of
    cells tagged `HIDDEN` is shown and hidden by one switch of the page.

    The alternative text of a picture is the cell's ``mystnb.image.alt``, else the output's
    ``alt``, else the last heading before the cell.
    """
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop(METADATA, None)
    notebook.cells = _with_one_cell_of_parameters(notebook.cells)
    heading = executed.stem
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = _last_heading(cell.source) or heading
        elif cell.cell_type == "code":
            _describe(cell, heading)
            _fold(cell)
    nbformat.write(notebook, place)


def _with_one_cell_of_parameters(cells: list[NotebookNode]) -> list[NotebookNode]:
    injected = [cell for cell in cells if INJECTED_TAG in cell.metadata.get("tags", [])]
    for cell in cells:
        if "parameters" in cell.metadata.get("tags", []) and injected:
            cell.source = with_values(cell.source, injected[-1].source)
    return [cell for cell in cells if cell not in injected]


def _fold(cell: NotebookNode) -> None:
    tags = cell.metadata.get("tags", [])
    if HIDDEN & set(tags):
        cell.metadata["tags"] = [*(tag for tag in tags if tag != "hide-input"), FOLDABLE]


def _last_heading(markdown: str) -> str | None:
    prose = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,6} +(.+?) *#*$", prose, flags=re.MULTILINE)
    return re.sub(r"[*_`]|\{[^}]*\}", "", headings[-1]).strip() if headings else None


def _describe(cell: NotebookNode, heading: str) -> None:
    pictures = [(o, kind) for o in cell.outputs for kind in PICTURES if kind in o.get("data", {})]
    if not pictures:  # a sentence may stand for a picture, and needs no number and caption
        cell.metadata.get("mystnb", {}).pop("figure", None)
        return
    texts = [o.get("metadata", {}).get(kind, {}).get("alt") for o, kind in pictures]
    alt = next(filter(None, texts), f"Picture of the section “{heading}”")
    image = cell.metadata.setdefault("mystnb", {}).setdefault("image", {})
    image.setdefault("alt", alt)


def write_generated(folder: Path, records: Sequence[dict[str, Any]], *, notebooks: Path) -> None:
    """Write the parts that the prose includes.

    ``execution.md``, and for each tag of `INCLUDED` the output of the cells with this tag in an
    executed notebook of the folder ``notebooks``; empty where there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "execution.md").write_text(execution_page(records), encoding="utf-8")
    for tag, name in INCLUDED.items():
        text = _tagged(notebooks / f"{name}.ipynb", tag)
        if text and tag == "cover":
            text += COVER_WORDS
        (folder / f"{tag}.md").write_text(text, encoding="utf-8")


def execution_page(records: Sequence[dict[str, Any]]) -> str:
    """Return two Markdown tables: start and duration of every notebook, and versions."""
    if not records:
        return "No notebook has been run for this copy of the book.\n"
    runs = [
        [
            f"[{inert(r['notebook'])}](../notebooks/{quote(r['notebook'])}.ipynb)",
            inert(r["started"]),
            _duration(r["seconds"]),
            inert(r.get("device_name") or r.get("device")),
            inert(r.get("threads")),
            ", ".join(code(f"{k}={v}") for k, v in r["parameters"].items()),
        ]
        for r in records
    ]
    last = records[-1]
    facts = {
        "Python": last.get("python"),
        **(last.get("packages") or {}),
        "System": last.get("system"),
        "Device": last.get("device"),
        "Processor cores available": last.get("cores"),
        "Commit": last.get("commit"),
    }
    total = _duration(sum(r["seconds"] for r in records))
    return (
        table(["Notebook", "Started", "Duration", "Device", "Threads", "Parameters"], runs)
        + f"\nTheir durations add up to {total}. Runs that existed were loaded, not trained again; "
        "how long their training took is recorded with each run.\n\n## Versions and machine\n\n"
        + table(
            ["Component", "Value"],
            [[inert(k), inert(v)] for k, v in facts.items() if v is not None],
        )
        + "\nAnother number of threads adds in another order, and a training ends in other bytes: "
        "`environment.json` of a run says how many it had, [the task](task.md) what that moves.\n"
    )


def _duration(seconds: float) -> str:
    minutes, remainder = divmod(round(seconds), 60)
    return f"{minutes} min {remainder:02d} s" if minutes else f"{seconds:.1f} s"


def _tagged(notebook: Path, tag: str) -> str:
    """Return the HTML of the cells with a tag as raw blocks; empty if there is none."""
    cells = nbformat.read(notebook, as_version=4).cells if notebook.exists() else []
    tagged = [cell for cell in cells if tag in cell.metadata.get("tags", [])]
    outputs = [
        o.data["text/html"] for c in tagged for o in c.outputs if "text/html" in o.get("data", {})
    ]
    return "".join(f"~~~~~{{raw}} html\n{output}\n~~~~~\n\n" for output in outputs)
