"""The packages' structure: imports, dependencies, the page of the code, one module per chapter."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import itm_book
import itm_core
from itm_core.extras import EXTRAS
from tests.conftest import LONGEST, TESTS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]
EVERY = [*PROJECT["dependencies"], *chain.from_iterable(OPTIONAL.values())]
# bare installations list the shipped grids, which are written in YAML
BY_THE_COMMANDS = {"pyyaml"}
# never installed on purpose: there with some builds of torch
WHERE_INSTALLED = {"pynvml"}
# come with what is declared, and are part of its interface
WITH = {
    "IPython": "ipykernel",
    "huggingface_hub": "transformers",
    "pydantic_core": "pydantic",
    "traitlets": "ipywidgets",
}
MAX_DEPENDENCIES = 12
# no reader calls these: the command line, and what builds and measures for the book
NOT_FOR_READERS = {
    "itm_core.cli",
    *("itm_book.batch", "itm_book.bench", "itm_book.commands", "itm_book.pages"),
}


def names(requirements: list[str]) -> set[str]:
    """The names of the distributions that requirements ask for."""
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def imports(node: ast.AST) -> Iterator[str]:
    """The packages that a module imports, in functions too."""
    for part in ast.walk(node):
        match part:
            case ast.Import(names=modules):
                yield from (module.name.partition(".")[0] for module in modules)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]


def third_party(package: Path) -> set[str]:
    """The import names of the libraries that a package uses."""
    files = sorted(package.rglob("*.py"))
    used = {name for file in files for name in imports(ast.parse(file.read_text()))}
    return used - set(sys.stdlib_module_names) - {"itm_core", "itm_book"}


@cache
def installed() -> Mapping[str, list[str]]:
    """The distributions that install each import name."""
    return packages_distributions()


def distributions(libraries: set[str]) -> set[str]:
    """The names of the distributions that install libraries."""
    return {
        canonicalize_name(name)
        for library in libraries
        for name in installed().get(WITH.get(library, library), [library])
    }


def test_the_science_declares_what_it_imports() -> None:
    used = distributions(third_party(Path(itm_core.__file__).parent) - set(EXTRAS))
    assert names(PROJECT["dependencies"]) == used | BY_THE_COMMANDS
    assert len(PROJECT["dependencies"]) <= MAX_DEPENDENCIES


def test_the_book_imports_nothing_undeclared() -> None:
    used = third_party(Path(itm_book.__file__).parent) - WHERE_INSTALLED
    declared = names(EVERY)
    assert distributions(used) <= declared


@pytest.mark.parametrize(("library", "extra"), sorted(EXTRAS.items()))
def test_the_extra_that_is_named_installs_the_library(library: str, extra: str) -> None:
    assert distributions({library}) <= names(OPTIONAL[extra])


def test_every_optional_library_has_its_extra() -> None:
    used = third_party(Path(itm_book.__file__).parent) - WHERE_INSTALLED
    required = names(PROJECT["dependencies"])
    missing = {library for library in used if not distributions({library}) <= required}
    assert missing <= set(EXTRAS)


def test_listing_the_commands_imports_nothing_optional() -> None:
    code = f"import sys; sys.modules.update(dict.fromkeys({sorted(EXTRAS)}))\n"
    code += "from itm_core.cli import main\nmain(['--help'])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("train", "recipes", "check", "grid", "score", "data", "search", "book"):
        assert f"\n    {command} " in shown.stdout


def test_the_page_of_the_code_has_every_package() -> None:
    listed = re.findall(r"^   (itm_\S+)$", (ROOT / "book/code.md").read_text(), re.MULTILINE)
    children = {
        f"{package.__name__}.{path.stem}"
        for package in (itm_core, itm_book)
        for path in Path(str(package.__file__)).parent.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert set(listed) == {name for name in children if "._" not in name} - NOT_FOR_READERS


def test_the_tests_that_run_first_exist() -> None:
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []


def chapters_in(notebook: Path) -> set[str]:
    """The modules of `itm_book.chapters` that a notebook names."""
    text = notebook.read_text(encoding="utf-8")
    return set(re.findall(r"itm_book\.chapters(?:\.| import )(\w+)", text))


def test_a_chapter_module_is_used_by_its_notebook_alone() -> None:
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert chapters_in(notebook) <= {notebook.stem}, notebook.name
    folder = ROOT / "itm_book" / "chapters"
    names = {path.stem for path in folder.iterdir() if not path.name.startswith("_")}
    assert names <= {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
