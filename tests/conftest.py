"""Which tests run where, and the small book that several of them look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from itm_core import environment
from tests.chromium import FLAGS, find_chromium
from tests.scenes_pair import scenes
from tests.tiny_book import make_tiny_book

if TYPE_CHECKING:
    from playwright.sync_api import Browser


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
def browser() -> Iterator[Browser]:
    """A Chromium for the tests that look at pages."""
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


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
