"""What staging does to the pages of the book: executed notebooks made readable, tables written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from itm_book.pages.chapters import METADATA

WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
COVER_TAG = "cover"
COVER_WORDS = """Point at a word: regions light up by how much it looks at them. Point at a region:
words do. Left the host, right the same host with a regulator, trained alike on this machine when
this copy of the book was built, for [the chapter on RCAR](../notebooks/rcar.ipynb).
"""


def lay_over(executed: Path, place: Path) -> None:
    """Write an executed notebook as a page: no widget that needs a kernel, every picture described.

    A picture's description is, in this order, the cell's ``mystnb.image.alt``, the output's own
    ``alt``, or the heading that the cell stands under.
    """
    notebook = nbformat.read(executed, as_version=4)
    for key in ("widgets", METADATA):
        notebook.metadata.pop(key, None)
    heading = executed.stem
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = _last_heading(cell.source) or heading
        elif cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
            _describe(cell, heading)
    nbformat.write(notebook, place)


def _last_heading(markdown: str) -> str | None:
    prose = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,6} +(.+?) *#*$", prose, flags=re.MULTILINE)
    return re.sub(r"[*_`]|\{[^}]*\}", "", headings[-1]).strip() if headings else None


def _describe(cell: NotebookNode, heading: str) -> None:
    pictures = [(o, kind) for o in cell.outputs for kind in PICTURES if kind in o.get("data", {})]
    if not pictures:
        return
    own = [o.get("metadata", {}).get(kind, {}).get("alt") for o, kind in pictures]
    alt = next(filter(None, own), f"Picture of the section “{heading}”")
    image = cell.metadata.setdefault("mystnb", {}).setdefault("image", {})
    image.setdefault("alt", alt)


def write_generated(folder: Path, records: Sequence[dict[str, Any]], *, cover_from: Path) -> None:
    """Write the pieces that the prose includes: ``execution.md`` and ``cover.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "execution.md").write_text(execution_page(records), encoding="utf-8")
    (folder / "cover.md").write_text(_cover(cover_from), encoding="utf-8")


def execution_page(records: Sequence[dict[str, Any]]) -> str:
    """Return two Markdown tables: when and how long each notebook ran, and with what."""
    if not records:
        return "No notebook has been run for this copy of the book.\n"
    runs = [
        [
            f"[{r['notebook']}](../notebooks/{r['notebook']}.ipynb)",
            r["started"],
            _duration(r["seconds"]),
            str(r.get("device_name") or r.get("device")),
            ", ".join(f"`{k}={v}`" for k, v in r["parameters"].items()),
        ]
        for r in records
    ]
    last = records[-1]
    facts = {
        "Python": last.get("python"),
        **(last.get("packages") or {}),
        "System": last.get("system"),
        "Device": last.get("device"),
        "Processor cores": last.get("cores"),
        "Threads of torch": last.get("threads"),
        "Commit": last.get("commit"),
    }
    total = _duration(sum(r["seconds"] for r in records))
    return (
        _table(["Notebook", "Started", "Took", "On", "Parameters"], runs)
        + f"\nAll of them together took {total}. A run that was there already was loaded, not "
        "trained again; the time that its training took stands with the run.\n\n## With what\n\n"
        + _table(["What", "Which"], [[k, f"{v}"] for k, v in facts.items() if v is not None])
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"

    return line(head) + line(["---"] * len(head)) + "".join(map(line, rows))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _cover(notebook: Path) -> str:
    """Return what the landing page opens with: the HTML of the cell tagged `COVER_TAG`, if any."""
    cells = nbformat.read(notebook, as_version=4).cells if notebook.exists() else []
    tagged = [cell for cell in cells if COVER_TAG in cell.metadata.get("tags", [])]
    shown = [
        o.data["text/html"] for c in tagged for o in c.outputs if "text/html" in o.get("data", {})
    ]
    if not shown:
        return ""
    return f"~~~~~{{raw}} html\n{shown[0]}\n~~~~~\n\n" + COVER_WORDS
