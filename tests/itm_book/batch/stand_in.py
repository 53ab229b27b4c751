"""A notebook that stands for the experiment notebook where no training is needed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

PARAMETERS = 'dataset = recipe = device = root = ""\nseed = 0\noverrides = []'
STAND_IN = """
import os, time
from pathlib import Path
folder = next(Path(root).glob(f"*/{recipe}/{seed}-*"))
with (folder / "executed").open("a") as file:
    file.write(os.environ["OMP_NUM_THREADS"] + "\\n")
if (folder / "wait").exists():
    time.sleep(100)
if (folder / "break").exists():
    raise ValueError("told\\nto fail")
(folder / "metrics.json").write_text("{}")
"""


def write_notebook(path: Path, body: str) -> Path:
    first = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    notebook = new_notebook(cells=[first, new_code_cell(body)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    notebook.metadata["language_info"] = {"name": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def wait_for(what: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
