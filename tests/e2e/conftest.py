"""A Chromium for the tests, and the book that they open."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.tiny_book import PROJECT

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome")
SCREENSHOTS = PROJECT / "data" / "screenshots"  # what the tests saw, to be looked at
Keep = Callable[[Page | Locator, str], None]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def html(request: pytest.FixtureRequest) -> Path:
    """The folder of the built book: the real one when `make book` has made it."""
    real = PROJECT / "data" / "book" / "_build" / "html"
    if (real / "index.html").exists():
        return real
    tiny: Path = request.getfixturevalue("tiny_book")
    return tiny.parent


@pytest.fixture(scope="session")
def keep() -> Keep:
    """Keep a screenshot of a page or of a part of it, under a name."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def kept(seen: Page | Locator, name: str) -> None:
        seen.screenshot(path=SCREENSHOTS / f"{name}.png")

    return kept
