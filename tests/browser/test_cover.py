"""The cover: a photograph with a lit word, and findings that are those of the records."""

from __future__ import annotations

import json
import re
from html import unescape
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from itm_book.chapters import findings
from itm_book.chapters.findings import Found
from tests.browser.conftest import DESK, Visit

pytestmark = pytest.mark.e2e


@pytest.fixture
def cover(visit: Visit, site: Path) -> Page:
    page = visit.open(site / "book" / "intro.html")
    page.locator(".itm-explorer .panel").first.wait_for()
    return page


@pytest.fixture(scope="module")
def found() -> Found:
    return findings.load()


def test_the_first_thing_seen_is_a_photograph_with_a_lit_word(cover: Page) -> None:
    picture = cover.locator(".itm-explorer .picture").first
    assert re.match(r"data:image/(jpeg|webp)", picture.locator("image").get_attribute("href") or "")
    place = picture.bounding_box()
    assert place is not None
    assert place["y"] + place["height"] / 2 < DESK["height"]  # without scrolling
    lit = np.asarray(Image.open(BytesIO(picture.screenshot())).convert("L"), float)
    cover.locator("[data-word]").first.focus()
    cover.keyboard.press("Escape")
    cover.mouse.move(2, 2)
    plain = np.asarray(Image.open(BytesIO(picture.screenshot())).convert("L"), float)
    assert lit.mean() < 0.9 * plain.mean()  # dark where the word does not look
    assert np.mean(lit > 0.9 * plain) > 0.005  # and bright where it does


def test_one_method_is_shown_and_a_menu_has_the_others(cover: Page) -> None:
    root = cover.locator(".itm-explorer").first
    assert root.locator("[aria-pressed='true']").count() == 1
    assert root.locator(".panel").count() == 1
    assert not root.locator("svg.matrix").first.is_visible()
    text = cover.locator("script[data-explorer-records]").first.text_content()
    assert text is not None
    data = json.loads(text)
    assert root.locator("[data-choice='pair'] option").count() == len(data["pairs"]) == 10
    methods = [method["name"] for method in data["pairs"][0]["methods"]]
    assert root.locator("[data-choice='method'] option").all_inner_texts() == methods
    assert root.locator("[data-choice='beside'] option").count() == len(methods) + 1


def text_of(html: str) -> str:
    return one_line(unescape(re.sub(r"<[^>]+>", "", html)))


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_the_findings_on_the_cover_are_those_of_the_records(cover: Page, found: Found) -> None:
    expected = re.findall(r"<li>(.*?)</li>", findings.summary(found).data, re.DOTALL)
    assert len(expected) >= 4
    shown = [one_line(text) for text in cover.locator("article ul > li").all_text_contents()]
    assert [text_of(line) for line in expected] == shown[: len(expected)]


def test_what_we_found_has_a_row_for_each_claim_of_the_records(
    visit: Visit, site: Path, found: Found
) -> None:
    page = visit.open(site / "notebooks" / "findings.html")
    rows = [
        [one_line(cell) for cell in row.locator("th, td").all_text_contents()]
        for row in page.locator("article table").first.locator("tbody tr").all()
    ]
    table = findings.table(found).data
    body = table.partition("<tbody>")[2].partition("</tbody>")[0]
    expected = [
        [text_of(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
    ]
    assert len(expected) == len(found.verdicts)
    assert rows == expected
