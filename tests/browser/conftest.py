"""The built site that these tests look at, and what a browser met on each of its pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, ViewportSize

from itm_book.pages.site.weight import reader_pages
from tests.places import PROJECT

PLACE = "ITM_SITE"  # in the environment: the folder of a built site to look at instead
LOCAL = ("file:", "data:", "blob:", "about:")
DESK: ViewportSize = {"width": 1280, "height": 900}
PATIENCE = 180_000  # milliseconds


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built site, by default that of `make book`."""
    folder = Path(os.environ.get(PLACE) or PROJECT / "data" / "book" / "_build" / "html")
    if not (folder / "index.html").exists():
        pytest.skip(f"no built book in {folder} (make book, or set {PLACE})")
    return folder.resolve()


@dataclass
class Visit:
    """What happened while a page was open.

    Attributes:
        complaints: errors of the console and of scripts, failed and foreign requests.
        files: of the site, that the page loaded.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", self._asked)
        self.page.on(
            "console", lambda m: self.complaints.append(m.text) if m.type == "error" else None
        )

    def open(self, path: Path) -> Page:
        """Open a page; return it as soon as everything is drawn."""
        self.page.goto(path.as_uri())
        self.page.wait_for_load_state("load")
        self.page.evaluate("window.equationsDrawn")
        return self.page

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(LOCAL):
            self.complaints.append(f"asked {request.url}")
        elif request.url.startswith("file:"):
            self.files.add(Path(unquote(urlparse(request.url).path)))

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # given up because the next page was opened
            self.complaints.append(f"failed: {request.url}, {request.failure}")


def new_context(browser: Browser, *, scripts: bool = True) -> BrowserContext:
    """Return a context as wide as a desk, patient enough for a machine that does other things."""
    context = browser.new_context(viewport=DESK, color_scheme="light", java_script_enabled=scripts)
    context.set_default_timeout(PATIENCE)
    return context


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = new_context(browser)
    yield opened
    opened.close()


@pytest.fixture
def visit(context: BrowserContext) -> Visit:
    """A page on which nothing has happened yet."""
    return Visit(context.new_page())


@pytest.fixture(scope="session")
def pages(site: Path) -> list[Path]:
    """The pages that are written for readers."""
    return reader_pages(site)
