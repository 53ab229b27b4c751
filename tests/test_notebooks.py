"""What every notebook's source must be: parameterised, without outputs, without logic."""

from __future__ import annotations

import ast
import pkgutil
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ALLOWED = {"sys", "pathlib", "itm_core", "itm_book"}
TEACHES_A_CLASS = "own_regulator.ipynb"  # the one notebook whose subject is a class of one's own
LONGEST_CLASS = 20  # lines
READ_THE_RECORD = {"findings.ipynb": "size", "same_seed.ipynb": "recipe"}  # and train nothing


def code(path: Path) -> list[nbformat.NotebookNode]:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_one_cell_holds_the_parameters(path: Path) -> None:
    tagged = [c for c in code(path) if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    names = {t.id for s in ast.parse(tagged[0].source).body for t in s.targets}
    if path.name in READ_THE_RECORD:
        assert names == {READ_THE_RECORD[path.name]}
        return
    assert "device" in names
    trains = {"dataset", "root"} <= names or {"data", "size", "record", "seeds", "root"} <= names
    assert trains or {"pictures", "matcher"} <= names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_the_first_lines_tell_the_time_and_what_to_know_before(path: Path) -> None:
    title, empty, line, *_ = nbformat.read(path, as_version=4).cells[0].source.splitlines()
    assert title.startswith("# ")
    assert not empty
    needs = re.fullmatch(r"\*\*(\d+) minutes\*\* · needs: (.+)", line)
    assert needs, line
    assert 0 < int(needs[1]) <= 30
    pages = re.findall(r"\]\((\S+?)\)", needs[2])
    assert pages or needs[2] == "nothing"
    assert all((FOLDER / page).exists() and page != path.name for page in pages)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_sources_hold_no_outputs(path: Path) -> None:
    assert all(not c.outputs and c.execution_count is None for c in code(path))
    assert nbformat.read(path, as_version=4).metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_call_and_define_nothing(path: Path) -> None:
    teaches = path.name == TEACHES_A_CLASS
    allowed = ALLOWED | {"torch"} if teaches else ALLOWED
    classes = 0
    for cell in code(path):
        for node in ast.walk(ast.parse(cell.source)):
            if teaches and isinstance(node, ast.ClassDef):
                classes += 1
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < LONGEST_CLASS
            elif not teaches:
                assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed
            if isinstance(node, ast.ImportFrom):
                assert node.module is not None
                assert node.module.split(".")[0] in allowed
    assert classes == int(teaches)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_every_figure_has_a_text_for_those_who_cannot_see_it(path: Path) -> None:
    imported: dict[str, str] = {}
    for cell in code(path):
        tree = ast.parse(cell.source)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                imported |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        last = tree.body[-1]
        call = last.value if isinstance(last, ast.Expr) else None
        if isinstance(call, ast.Call) and "Figure" in returned(ast.unparse(call.func), imported):
            assert len(cell.metadata["mystnb"]["image"]["alt"]) > 20, ast.unparse(last)


def returned(name: str, imported: dict[str, str]) -> str:
    """Return the annotation of what a call of an imported function returns; empty for others."""
    first, _, rest = name.partition(".")
    dotted = f"{imported.get(first, first)}.{rest}".rstrip(".")
    try:
        function = pkgutil.resolve_name(dotted)
    except (ImportError, AttributeError, ValueError):  # a method of an object of the notebook
        return ""
    return str(getattr(function, "__annotations__", {}).get("return", ""))
