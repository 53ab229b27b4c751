"""Code and equations: one switch a page, remembered; everything there without JavaScript."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Visit, new_context

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
CODE = ".cell.tag_foldable > .cell_input"


def test_one_switch_shows_the_code_of_a_page_and_is_remembered(visit: Visit, site: Path) -> None:
    page = visit.open(site / "notebooks" / "scan.html")
    code, switch = page.locator(CODE).first, page.locator(".code-switch")
    assert switch.count() == 1
    assert not code.is_visible()
    switch.click()
    assert code.is_visible()
    assert switch.inner_text() == "Hide code"
    visit.open(site / "notebooks" / "scan.html")
    assert code.is_visible()
    page.emulate_media(media="print")
    assert "Show code" not in page.locator("body").inner_text()


def test_without_scripts_all_code_is_shown(browser: Browser, site: Path) -> None:
    context = new_context(browser, scripts=False)
    page = context.new_page()
    page.goto((site / "notebooks" / "scan.html").as_uri())
    assert all(code.is_visible() for code in page.locator(CODE).all())
    context.close()


def test_every_equation_is_drawn(visit: Visit, site: Path) -> None:
    page = visit.open(site / "notebooks" / "scan.html")
    drawn = "document.querySelectorAll('.math .katex').length"
    page.wait_for_function(f"0 < {drawn} && {drawn} === document.querySelectorAll('.math').length")
    assert page.locator(".katex-error").count() == 0
