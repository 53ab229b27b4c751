"""A notebook that was run is no change to git, whatever is or is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from itm_book.pages import clean_notebooks
from itm_book.pages.clean_notebooks import FILTER, after_save, keep_outputs_out
from tests.places import PROJECT

NAME = Path("notebooks", "one.ipynb")
WRITTEN = {"name": "python", "version": "3.11.2", "mimetype": "text/x-python"}  # by JupyterLab
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git")


def git(folder: Path, *words: str) -> str:
    names = {"GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x@x", "GIT_CONFIG_GLOBAL": os.devnull}
    names |= {"GIT_COMMITTER_NAME": "x", "GIT_COMMITTER_EMAIL": "x@x"}
    done = subprocess.run(
        ["git", *words], cwd=folder, env=os.environ | names, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "a clone"
    (folder / NAME).parent.mkdir(parents=True)
    notebook = new_notebook(cells=[new_markdown_cell("# One"), new_code_cell("seed = 0")])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, folder / NAME)
    shutil.copy2(PROJECT / ".gitattributes", folder)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def run_as_lab_does(folder: Path, source: str = "seed = 0") -> None:
    notebook = nbformat.read(folder / NAME, as_version=4)
    cell = notebook.cells[1]
    cell.source, cell.execution_count = source, 7
    cell.outputs = [new_output("stream", name="stdout", text="ran\n")]
    cell.metadata["execution"] = {"shell.execute_reply": "2026-01-01"}
    notebook.metadata["language_info"] = dict(WRITTEN)
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}
    nbformat.write(notebook, folder / NAME)
    after_save(os_path=str(folder / NAME), model={"type": "notebook"}, contents_manager=None).join()


def test_outputs_are_no_change_and_a_parameter_is(clone: Path) -> None:
    assert keep_outputs_out(clone)
    run_as_lab_does(clone)
    assert git(clone, "status", "--porcelain") == ""
    assert "ran" in (clone / NAME).read_text()  # the reader's file keeps its outputs
    run_as_lab_does(clone, "seed = 3")
    assert git(clone, "status", "--porcelain") == f" M {NAME}\n"
    changed = [line for line in git(clone, "diff").splitlines() if line[:1] in "+-"][2:]
    assert [line.split('"')[1] for line in changed] == ["seed = 0", "seed = 3"]


def test_without_the_environment_git_takes_notebooks_as_they_are(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = str(clone / ".venv" / "bin" / "python")
    command_of = clean_notebooks.command
    monkeypatch.setattr(clean_notebooks, "command", lambda: command_of(gone))
    assert keep_outputs_out(clone)
    run_as_lab_does(clone)
    assert git(clone, "status", "--porcelain") == f" M {NAME}\n"  # and no message of a filter


def test_a_notebook_of_your_own_is_not_added(clone: Path) -> None:
    assert keep_outputs_out(clone)
    own = clone / "notebooks" / "own.ipynb"
    shutil.copy2(clone / NAME, own)
    after_save(os_path=str(own), model={"type": "notebook"}).join()
    assert git(clone, "status", "--porcelain") == "?? notebooks/own.ipynb\n"


def test_a_clone_where_it_was_never_set_up_works(clone: Path) -> None:
    run_as_lab_does(clone)
    assert git(clone, "status", "--porcelain") == f" M {NAME}\n"


def test_an_archive_and_a_folder_of_another_clone_are_left_alone(
    clone: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    assert not keep_outputs_out(archive)
    inside = clone / "unpacked"
    inside.mkdir()
    assert not keep_outputs_out(inside)
    assert FILTER not in (clone / ".git" / "config").read_text()


def test_the_notebooks_of_the_book_are_as_the_filter_writes_them() -> None:
    names = sorted(str(path) for path in (PROJECT / "notebooks").glob("*.ipynb"))
    done = subprocess.run(
        [*clean_notebooks.program(), "--verify", *names], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
