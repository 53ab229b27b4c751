"""The built book, opened from disk as a reader without a network does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request

pytestmark = pytest.mark.e2e
LOCAL = ("file:", "data:", "blob:", "about:")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


@dataclass
class Reader:
    """A page of the browser that remembers every complaint and every request off the disk."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on(
            "console", lambda m: self.complaints.append(m.text) if m.type == "error" else None
        )
        self.page.on(
            "request",
            lambda r: None if r.url.startswith(LOCAL) else self.complaints.append(f"asked {r.url}"),
        )

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # given up because the next page was opened
            self.complaints.append(f"failed: {request.url}, {request.failure}")

    def open(self, path: Path, query: str = "") -> None:
        self.page.goto(path.as_uri() + query)
        self.page.wait_for_load_state("load")


@pytest.fixture
def reader(browser: Browser) -> Iterator[Reader]:
    context = browser.new_context(viewport=DESK, color_scheme="light")
    yield Reader(context.new_page())
    context.close()


def pages(html: Path) -> list[Path]:
    return sorted([*(html / "book").glob("*.html"), *(html / "notebooks").glob("*.html")])


def test_the_index_leads_to_the_landing_page(reader: Reader, html: Path) -> None:
    reader.page.goto((html / "index.html").as_uri())
    reader.page.wait_for_url("**/book/intro.html")
    assert reader.page.locator("article h1").inner_text().startswith("Where Words Look")
    assert not reader.complaints


@dataclass(frozen=True)
class Seen:
    """What was seen on a page when it was opened."""

    path: Path
    headings: int
    complaints: list[str]
    picture_texts: list[str]


@pytest.fixture(scope="module")
def seen(browser: Browser, html: Path) -> list[Seen]:
    """Every page, opened once for the tests that look at all of them."""
    context = browser.new_context(viewport=DESK, color_scheme="light")
    reader, found = Reader(context.new_page()), []
    for path in pages(html):
        reader.open(path)
        headings = reader.page.locator("h1").count()
        texts = reader.page.eval_on_selector_all(
            "article img", "all => all.map(one => one.getAttribute('alt') || '')"
        )
        found.append(Seen(path, headings, reader.complaints.copy(), texts))
        reader.complaints.clear()
    context.close()
    return found


def test_no_page_complains_or_asks_for_the_network(seen: list[Seen]) -> None:
    assert seen
    for page in seen:
        assert page.headings >= 1, page.path
        assert not page.complaints, page.path


def test_every_picture_has_a_text_that_says_something(seen: list[Seen]) -> None:
    assert any(page.picture_texts for page in seen)
    for page in seen:
        for text in page.picture_texts:
            assert len(text) > 8, (page.path, text)
            assert "_images/" not in text, (page.path, text)


def test_no_page_is_wider_than_a_phone(reader: Reader, html: Path) -> None:
    reader.page.set_viewport_size(PHONE)
    for path in pages(html):
        reader.open(path)
        wide = reader.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE["width"], path
        outside = reader.page.evaluate(
            """frames => [...document.querySelectorAll('article table')]
                .filter(table => table.getBoundingClientRect().right > innerWidth + 1)
                .filter(table => !table.closest(frames)).length""",
            ".pst-scrollable-table-container, .table-scroll, .cell_output",
        )
        assert outside == 0, path


def test_code_and_runs_that_are_named_can_be_reached(html: Path) -> None:
    runs = (html / "book" / "runs.html").read_text(encoding="utf-8")
    for path in pages(html):
        text = path.read_text(encoding="utf-8")
        for anchor in set(re.findall(r'href="[^"]*runs\.html#([^"]+)"', text)):
            assert f'id="{anchor}"' in runs, (path, anchor)
        if path.parent.name == "notebooks":
            loose = re.findall(r'(?<!>)<code class="xref py [^>]*>.*?</code>', text)
            assert not loose, (path, loose)


def test_equations_are_drawn(reader: Reader, html: Path) -> None:
    reader.open(html / "book" / "task.html")
    reader.page.wait_for_selector(".katex")
    assert reader.page.locator(".katex").count() > 5
    assert reader.page.locator(".katex-error").count() == 0
    assert not reader.complaints


def test_the_search_finds_a_word(reader: Reader, html: Path) -> None:
    reader.open(html / "search.html", "?q=bootstrap")
    found = reader.page.locator("#search-results li a[href*='task.html']")
    found.first.wait_for()
    assert found.count() >= 1
    assert not reader.complaints


def test_light_and_dark_are_one_button_apart(reader: Reader, html: Path) -> None:
    reader.open(html / "book" / "intro.html")

    def lightness() -> float:
        colour = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(float, colour.strip("rgba()").split(",")[:3])) / 3

    seen = {round(lightness() / 255)}
    for _ in range(3):
        reader.page.locator("button.theme-switch-button:visible").first.click()
        reader.page.wait_for_timeout(100)
        seen.add(round(lightness() / 255))
    assert seen == {0, 1}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, html: Path, scheme: str) -> None:
    context = browser.new_context(viewport=DESK, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto((html / "book" / "task.html").as_uri())
    ground, text, link = page.evaluate(
        """() => [getComputedStyle(document.body).backgroundColor,
                  getComputedStyle(document.querySelector('article p')).color,
                  getComputedStyle(document.querySelector('article p a')).color]"""
    )
    context.close()
    assert contrast(ground, text) > 7
    assert contrast(ground, link) > 4.5


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two CSS colours (WCAG 2)."""

    def luminance(colour: str) -> float:
        parts = [float(part) / 255 for part in colour.strip("rgba()").split(",")[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
