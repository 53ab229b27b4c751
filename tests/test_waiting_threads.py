"""Waiting threads soon sleep, in every process of the project, unless the user says else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import itm_core
from itm_book.batch.notebook_runner import run_notebook
from itm_core.parallel import run_parallel, start_program
from itm_core.training.launch import launch
from tests.places import PROJECT

NAME, COUNT = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
SAY = (
    f"import os, sys; "
    f"print(os.environ.get('{NAME}'), os.environ.get('{COUNT}'), 'torch' in sys.modules)"
)
SAID = ["PASSIVE", "1000", "False"]  # torch is loaded later
MODULES = (  # what each door starts: Lab's kernels, workers and cells begin with one of them
    *("itm_core", "itm_core.cli", "itm_book", "itm_book.batch.experiment", "itm_book.batch.shard"),
    *("itm_book.batch.parameters", "itm_book.bench.isolated", "tests"),
)


def run(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an environment that says nothing about threads."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, **variables, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize("module", MODULES)
def test_it_is_set_before_torch_is_loaded(module: str) -> None:
    program = f"""
import builtins, os
real = builtins.__import__
def said():
    print(os.environ.get("{NAME}"), os.environ.get("{COUNT}"), flush=True)
    os._exit(0)  # torch itself takes seconds
def stopping(name, *rest, **others):
    return said() if name.partition(".")[0] == "torch" else real(name, *rest, **others)
builtins.__import__ = stopping
import {module}
said()
"""
    assert run(program).stdout == "PASSIVE 1000\n"


def test_torch_s_threads_are_told() -> None:
    told = run("import itm_core, torch; torch.ones(9).sum()", OMP_DISPLAY_ENV="verbose").stderr
    if NAME not in told:
        pytest.skip("these threads do not print their settings")
    assert f"{NAME} = 'PASSIVE'" in told
    if COUNT in told:  # GNU's threads
        assert f"{COUNT} = '1000'" in told


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({NAME: "ACTIVE"}, "ACTIVE None "),  # a count would replace the policy
        ({COUNT: "5"}, "PASSIVE 5 "),
        ({NAME: "ACTIVE", COUNT: "5"}, "ACTIVE 5 "),
    ],
)
def test_what_the_user_has_set_is_left(said: dict[str, str], expected: str) -> None:
    assert run(f"import itm_core; {SAY}", **said).stdout.startswith(expected)


def in_a_worker(name: str) -> str | None:
    return os.environ.get(name)


@pytest.fixture
def set_here(monkeypatch: pytest.MonkeyPatch) -> str:
    """What a parent hands on: what it has itself."""
    monkeypatch.setenv(NAME, "PASSIVE")
    monkeypatch.setenv(COUNT, "1000")
    return NAME


def test_workers_programs_and_processes_of_a_training_have_it(
    set_here: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert [*run_parallel(in_a_worker, [set_here], workers=1, progress=False)] == ["PASSIVE"]
    process = start_program(["-c", SAY], stdout=subprocess.PIPE)
    assert process.communicate()[0].decode().split() == SAID
    assert launch(["-c", SAY], 2) == 0
    assert capfd.readouterr().out.split() == SAID


def test_the_kernel_of_a_notebook_has_it(set_here: str, tmp_path: Path) -> None:
    notebook = new_notebook(cells=[new_code_cell(SAY)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "say.ipynb")
    run_notebook(tmp_path / "say.ipynb", tmp_path / "out" / "say.ipynb", {})
    done = nbformat.read(tmp_path / "out" / "say.ipynb", as_version=4)
    assert done.cells[-1].outputs[0].text.split() == SAID


def test_every_notebook_imports_the_package_before_torch() -> None:
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        lines = [line for c in cells if c.cell_type == "code" for line in c.source.splitlines()]
        imported = [line.split()[1].split(".")[0] for line in lines if is_import(line)]
        assert imported[0] in ("itm_book", "itm_core") or "torch" not in imported, path.name


def is_import(line: str) -> bool:
    return line.startswith(("import ", "from "))


def test_one_place_says_it() -> None:
    names = [*itm_core.ENVIRONMENT]
    assert names[:2] == [NAME, COUNT]
    sources = (p for package in ("itm_core", "itm_book") for p in (PROJECT / package).rglob("*.py"))
    naming = [
        p.relative_to(PROJECT)
        for p in sources
        if any(name in p.read_text(encoding="utf-8") for name in (NAME, COUNT))
    ]
    assert naming == [Path("itm_core/__init__.py")]
