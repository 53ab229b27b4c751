from __future__ import annotations

from pathlib import Path

import nbformat
import papermill
import pytest

from itm_book.batch import notebook_runner
from itm_book.batch.notebook_runner import NotebookError
from tests.tiny_book import write_notebook

BAR = "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)):\n    pass\nprint(word)"


def test_progress_bars_are_shown_while_it_runs_and_not_kept(tmp_path: Path) -> None:
    write_notebook(tmp_path / "in.ipynb", "# Bars", BAR)
    notebook_runner.run_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", {"word": "a ball"})
    notebook = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output["text"] for output in outputs] == ["a ball\n"]
    assert "widgets" not in notebook.metadata


@pytest.mark.parametrize(("deaths", "runs"), [(1, True), (notebook_runner.STARTS, False)])
def test_a_kernel_that_dies_before_it_answers_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: int, runs: bool
) -> None:
    write_notebook(tmp_path / "in.ipynb", "# Ports", "print(word)")
    execute, left = papermill.execute_notebook, [*range(deaths)]

    def dying(*args: object, **options: object) -> object:
        if left:
            left.pop()
            options["extra_arguments"] = ["--IPKernelApp.no_such_port=1", "--no-such-option"]
        return execute(*args, **options)

    monkeypatch.setattr(papermill, "execute_notebook", dying)
    place = tmp_path / "out.ipynb"
    if runs:
        notebook_runner.run_notebook(tmp_path / "in.ipynb", place, {"word": "a ball"})
        assert "a ball" in place.read_text()
    else:
        with pytest.raises(NotebookError, match="Kernel died before replying"):
            notebook_runner.run_notebook(tmp_path / "in.ipynb", place, {"word": "a ball"})
        assert not place.exists()
    assert not left
