"""Which tests run where, and the small book that several of them look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from itm_core import environment
from tests.scenes_pair import scenes
from tests.tiny_book import make_tiny_book


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run (no GPU) and what was not asked for (slow)."""
    left_out = set()
    if not config.getoption("--slow"):
        left_out.add("slow")
    if not torch.cuda.is_available():
        left_out.add("gpu")
    apart = [item for item in items if any(item.get_closest_marker(mark) for mark in left_out)]
    if apart:
        config.hook.pytest_deselected(items=apart)
        items[:] = [item for item in items if item not in set(apart)]


COMMIT = "c0082a58b567"


@pytest.fixture(scope="session", autouse=True)
def committed() -> Iterator[str]:
    """The commit that everything here is made by: no test depends on the state of the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "current_commit", lambda: COMMIT)
        yield COMMIT


@pytest.fixture(scope="session")
def tiny_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first page of a book with this project's prose and four small notebooks."""
    return make_tiny_book(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session")
def scenes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny Scenes in it, made once; `tests.scenes_pair` knows its layout."""
    folder = tmp_path_factory.mktemp("scenes")
    scenes(folder)
    return folder
