from __future__ import annotations

from pathlib import Path

import nbformat

from itm_book.batch import notebook_runner
from tests.tiny_book import write_notebook

BAR = "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)):\n    pass\nprint(word)"


def test_progress_bars_are_shown_while_it_runs_and_not_kept(tmp_path: Path) -> None:
    write_notebook(tmp_path / "in.ipynb", "# Bars", BAR)
    notebook_runner.run_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", {"word": "a ball"})
    notebook = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output["text"] for output in outputs] == ["a ball\n"]
    assert "widgets" not in notebook.metadata
