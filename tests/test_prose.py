"""What the prose of a page must be: short enough for one sitting, and opened by what it found."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tests.places import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
PAGES = [*NOTEBOOKS, *sorted((PROJECT / "book").glob("*.md"))]
BUDGET = 1600  # words of prose
LONGER = {  # pages that are looked up, not read through
    "why_is_my_number_lower.ipynb": 2300,  # a cause a section, each for itself
    "attention_metrics.md": 2000,
}
NOT_PROSE = re.compile(r"^(`{3,}|~{3,}).*?^\1[ \t]*$|\$\$.*?\$\$|^\|.*?$", re.MULTILINE | re.DOTALL)
ADDRESS = re.compile(r"\]\([^)]*\)|<[^>]*>")
FINDING = "finding"  # the id of the cell
NO_FINDING = {"own_regulator", "figures", "your_pictures"}  # pages that show how to do something


def prose(path: Path) -> str:
    """The Markdown of a page."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def words(text: str) -> int:
    """The number of words outside of code blocks, equations, tables and addresses."""
    left = ADDRESS.sub("] ", NOT_PROSE.sub(" ", text))
    return sum(any(sign.isalnum() for sign in word) for word in left.split())


def test_words_are_counted_without_code_equations_and_tables() -> None:
    assert words("Two words.\n\n```bash\nitm grid\n```\n\n$$a + b$$\n\n| a | b |\n|---|---|\n") == 2
    assert words("See [the page](../book/page.md) – now.") == 4


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_is_read_in_one_sitting(path: Path) -> None:
    count = words(prose(path))
    assert count <= LONGER.get(path.name, BUDGET), f"{count} words"


def test_longer_pages_need_their_budget() -> None:
    counts = {path.name: words(prose(path)) for path in PAGES}
    assert all(counts[name] > BUDGET for name in LONGER)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_opens_with_what_it_found(path: Path) -> None:
    """Before any heading but the title, in a sentence that is computed."""
    cells = nbformat.read(path, as_version=4).cells
    places = [place for place, cell in enumerate(cells) if cell.id == FINDING]
    assert len(places) == int(path.stem not in NO_FINDING)
    for place in places:
        before = [cell.source for cell in cells[:place] if cell.cell_type == "markdown"]
        assert not re.search(r"^##", "\n".join(before), re.MULTILINE)
        assert re.search(r"\b(finding|headline|best)\(", cells[place].source)
