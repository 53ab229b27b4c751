"""Parameters of notebooks: names and types, by the rule that papermill lacks."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from itm_book.batch.notebook_runner import check_parameters
from itm_book.batch.parameters import UNKNOWN, assigned, check_cells
from itm_core.errors import InputError
from tests.itm_book.batch.stand_in import write_notebook
from tests.places import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
DECLARED = """\
recipe = "scan"  # a text
seed = 0
rate = 0.5
fast = False
overrides = []  # of texts
seeds = [0]
curated = [[35, 1], [0, 0]]
recipes = {"SCAN": "scan"}
workers = None
folder = Path("x")
"""


@pytest.mark.parametrize(
    "injected",
    [
        "recipe = 'bfan'\nseed = 3\nrate = 1\nfast = True",
        "overrides = ['training.epochs=2']\nseeds = [1, 2]\ncurated = [[1, 1]]",
        "overrides = []\nseeds = []\nrecipes = {}\nworkers = 4\nfolder = 'y'",
        "workers = None",
    ],
)
def test_values_of_the_types_of_the_defaults_are_taken(injected: str) -> None:
    check_cells(["", DECLARED, f"# Parameters\n{injected}\n", "x = 1"])


@pytest.mark.parametrize(
    ("injected", "message"),
    [
        ("sede = 1", "the notebook has no parameter sede; expected some of recipe, seed, "),
        ("seed = '3'", "seed has the wrong type; expected a whole number, found '3' \\(str\\)"),
        ("seed = True", "seed has the wrong type"),
        ("seed = 1.5", "give it to papermill as -p seed VALUE"),
        ("recipe = 8", "expected a text, found 8 .int.. Remedy: .* -r recipe VALUE"),
        ("fast = 1", "expected True or False, found 1"),
        ("rate = '1'", "expected a number, found '1'"),
        ("overrides = 'training.epochs=2'", "as -y 'overrides: \\[...\\]'"),
        ("overrides = [1]", "expected a list, each entry text"),
        ("seeds = ['0']", "expected a list, each entry whole number"),
        ("curated = [35, 1]", "curated has the wrong type"),
        ("recipes = ['scan']", "expected a dictionary"),
        ("workers = '2'", "expected a whole number, or None"),
        ("seed = -1", "not a seed; expected a whole number from 0 to 4294967295, found -1"),
        ("seeds = [0, 4294967296]", "not a seed.*found 4294967296"),
        ("seed = 1e22", "seed has the wrong type.*found 1e.22 .float."),
        ("seed = None", "seed has the wrong type.*found None"),
        ("rate = 1e999", "rate has the wrong type.*found inf"),
        ("rate = float('nan')", "the parameter rate is no finite value; expected a number"),
        ("seeds = [float('inf')]", "the parameter seeds is no finite value"),
    ],
)
def test_other_names_and_types_are_refused(injected: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        check_cells(["", DECLARED, f"# Parameters\n{injected}\n"])
    assert re.search(message, str(raised.value))


def test_a_notebook_without_papermill_takes_everything() -> None:
    check_cells(["", DECLARED, "seed = '3'\nsede = 1"])


def test_a_cell_of_a_grid_is_checked_before_its_kernel_starts(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "x.ipynb", "")
    check_parameters(notebook, {"seed": 1, "overrides": ["a=b"]})
    with pytest.raises(InputError, match=r"x\.ipynb: the parameter seed has the wrong type"):
        check_parameters(notebook, {"seed": "1"})


def test_papermill_that_only_warns_ends_with_the_message(tmp_path: Path) -> None:
    program = "from itm_book.batch import parameters\nparameters.check()\nprint(seed)"
    notebook = write_notebook(tmp_path / "x.ipynb", program)
    message = "the notebook has no parameter sede; expected some of dataset, recipe"
    with pytest.raises(papermill.PapermillExecutionError, match=message):
        papermill.execute_notebook(
            notebook, tmp_path / "out.ipynb", {"sede": 1, "seed": 5}, progress_bar=False
        )
    papermill.execute_notebook(notebook, tmp_path / "out.ipynb", {"seed": 5}, progress_bar=False)
    assert '"5\\n"' in (tmp_path / "out.ipynb").read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_every_notebook_checks_its_parameters_first(path: Path) -> None:
    code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    declared, first = (cell.source for cell in code[:2])
    values: dict[str, Any] = assigned(declared)
    assert UNKNOWN not in values.values()
    statements = ast.parse(first).body
    calls = [n for n in statements if not isinstance(n, ast.Import | ast.ImportFrom)]
    assert ast.unparse(calls[0]) == "parameters.check()"
