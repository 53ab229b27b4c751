"""Pages of a Chromium, and the book that the tests open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page

from tests.tiny_book import PROJECT

SCREENSHOTS = PROJECT / "data" / "screenshots"  # what the tests saw, to be looked at
Keep = Callable[[Page | Locator, str], None]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page without a network, on which nothing may go wrong."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, color_scheme="light")
    context.set_offline(True)
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    yield page
    assert not complaints
    context.close()


def open_page(page: Page, place: Path, wanted: str, *shown: str) -> Locator:
    """Open a page made of pieces; return the first of what is wanted."""
    file = place / "page.html"
    file.write_text(f'<!doctype html><meta charset="utf-8"><body>{"".join(shown)}</body>')
    page.goto(file.as_uri())
    first = page.locator(wanted).first
    first.wait_for()
    return first


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
