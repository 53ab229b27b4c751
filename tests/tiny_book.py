"""A clone with notebooks that run in a second each, for tests of the book."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from itm_book.pages.building import build, execute
from itm_book.pages.chapters import chapters_of, notebooks_of

PROJECT = Path(__file__).resolve().parents[1]
PLOT = """\
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 2))
axes.imshow([[0.1, 0.6, 0.3], [0.7, 0.2, 0.1]])
plt.show()"""
TABLE = """\
import pandas as pd
pd.DataFrame({f"a rather wide column {i}": [i / 7, word] for i in range(12)})"""
WIDGET = "import ipywidgets\nipywidgets.IntSlider()"
TOUCH = "from IPython.display import HTML\nHTML('<div class=\"itm-explorer\">\\n\\n**word**</div>')"
SPECIAL = {
    "scenes": ["# Scenes", TABLE],
    "first_match": ["# First match", "## Where the words look", PLOT, TOUCH],
    "experiment": ["# One experiment", WIDGET, PLOT],
    "scan": ["# SCAN", "The score {cite}`scan` of $S = \\sum_l \\rho_l$.", "1 + 1"],
    "methods": ["# Every method", TABLE],
    "own_regulator": ["# Add your own regulator", "1 + 1"],
}
# the page of the code with one module: those of all the others take minutes
CODE = """\
# The code

```{eval-rst}
.. autosummary::
   :toctree: code
   :recursive:

   itm_core.errors
```
"""
# every other notebook of the table of contents, as a page with nothing but its name
CHAPTERS = {name: SPECIAL.get(name, [f"# {name}", "1 + 1"]) for name in notebooks_of(PROJECT)}


def write_notebook(path: Path, *sources: str, cover: bool = False) -> None:
    """Write a notebook with a parameter ``word``, which the book sets to ball.

    Sources that look like prose become Markdown.
    """
    cells = [new_code_cell("word = 'none'", metadata={"tags": ["parameters"]})]
    for source in sources:
        prose = source.startswith(("#", "The "))
        cells.append(new_markdown_cell(source) if prose else new_code_cell(source))
    if cover:
        cells[-1].metadata["tags"] = ["cover"]
    notebook = new_notebook(cells=[*cells[1:2], cells[0], *cells[2:]])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["book"] = {"parameters": {"word": "ball"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def write_clone(folder: Path, chapters: Mapping[str, list[str]] = CHAPTERS) -> Path:
    """Return ``folder`` with the prose of this project and small notebooks."""
    shutil.copytree(PROJECT / "book", folder / "book")
    for name in ("_config.yml", "CITATION.cff"):
        shutil.copy2(PROJECT / name, folder)
    for name, sources in chapters.items():
        path = folder / "notebooks" / f"{name}.ipynb"
        write_notebook(path, *sources, cover=name == "first_match")
    return folder


def make_tiny_book(folder: Path) -> Path:
    """Return the first page of a small book with all the prose of the real one, but one module."""
    write_clone(folder)
    (folder / "book" / "code.md").write_text(CODE)
    execute(folder, chapters_of(folder), device="cpu", progress=False)
    return build(folder)
