"""Which tests run where, and the small book that several of them look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from itm_core import environment
from itm_core.parallel import cores
from tests.chromium import FLAGS, find_chromium
from tests.scenes_pair import scenes
from tests.tiny_book import make_tiny_book

if TYPE_CHECKING:
    from playwright.sync_api import Browser


# The files that take longest, so that no process is left with one of them at the end.
LONGEST = (
    "kills/test_kills.py",
    "browser/test_every_page.py",
    "itm_book/batch/test_engine.py",
    "itm_book/pages/test_building.py",
    "test_pretend_device.py",
    "kills/test_interrupts.py",
    "itm_book/batch/test_score_job.py",
    "test_installation.py",
    "e2e/test_lab.py",
    "attack/test_files.py",
    "attack/test_known_inputs.py",
    "attack/test_options.py",
    "itm_core/evaluation/test_compiled.py",
    "itm_book/photographs/test_interrupted_features.py",
    "test_paths_that_fail.py",
    "itm_book/bench/test_training.py",
    "itm_book/bench/test_spread.py",
)
TESTS = Path(__file__).parent


@pytest.hookimpl(optionalhook=True)  # where pytest-xdist is switched off
def pytest_xdist_auto_num_workers() -> int | None:
    """Return more processes than a few cores, since tests of commands wait for other processes.

    None where the environment says how many.
    """
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return max(cores(), min(8, cores() * 3 // 2))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run (no GPU) and what was not asked for (slow).

    The `LONGEST` files come first.
    """
    first = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))
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
    """A folder with the tiny Scenes and the runs on it, made once for all processes of pytest.

    `tests.scenes_pair` knows its layout. The dataset and every run in it are made under a lock.
    Tests change nothing that is there.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of the other processes, too
    folder = folder / "shared-scenes"
    folder.mkdir(exist_ok=True)
    scenes(folder)
    return folder
