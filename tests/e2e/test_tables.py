"""Tables of the book in a browser: sorted, copied, and the notes of their cells."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page

from itm_book.pages.run_entries import RunEntry
from itm_book.pages.run_pages import run_anchor, runs_page
from itm_book.tables.notes import Note
from itm_book.tables.report import html
from tests.tiny_book import PROJECT

pytestmark = pytest.mark.e2e
PHONE = {"width": 390, "height": 844}
SOURCE = "SCAN (ECCV 2018), Table 1"
METHODS = pd.DataFrame(
    {
        "": ["SCAN", "", "BFAN", ""],
        "method": ["t2i & <LSE>", "i2t_mean", "10 steps", '9, "equal"'],
        "rSum": ["340.8 [331.0, 350.2] ± 8.1", "", "98.6 [90.0, 99.9]", "1,020.5 [9.0, 9.9]"],
        "gain": ["+3.2", "−1.0", "", "0.5"],
        "seeds": ["3", "3", "2", "1"],
    }
)
METHODS.attrs["more"] = ["seeds"]
NOTES = {"rSum": [Note(SOURCE, "../book/runs.html#run-1"), None, SOURCE, None]}


RUNS = [
    RunEntry(place=("tiny", name, "0-f00"), run_state="failed", error="out of memory")
    for name in ("saf", "sgr")
]


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with the book's script and look, tables of several kinds, and two runs."""
    folder = tmp_path_factory.mktemp("tables")
    for name in ("book.js", "book.css"):
        shutil.copy2(PROJECT / "book" / "_static" / name, folder)
    spanned = pd.DataFrame({("a", "x"): [1, 2], ("a", "y"): [3, 4]})
    bodies = {
        "methods": html(METHODS, "Methods, 100% < all", notes=NOTES).data,
        "one": html(METHODS[:1], "One row").data,
        "levels": spanned.to_html(border=1),
        "runs": runs_page(RUNS).replace("## Settings and environment of each run", ""),
    }
    tables = "".join(f'<div id="{name}">{body}</div>' for name, body in bodies.items())
    path = folder / "page.html"
    path.write_text(
        '<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>t</title>'
        '<link rel="stylesheet" href="book.css"><script src="book.js"></script>'
        f'<body><article class="bd-article">{tables}</article><textarea id="paste"></textarea>',
        encoding="utf-8",
    )
    return path


@pytest.fixture
def page(browser: Browser, page_path: Path) -> Iterator[Page]:
    context = browser.new_context()
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(page_path.as_uri())
    yield opened
    context.close()
    assert not complaints


def column(table: Locator, number: int) -> list[str]:
    return table.locator(f"tbody td:nth-child({number})").all_inner_texts()


def header(table: Locator, number: int) -> Locator:
    return table.locator(f"thead th:nth-child({number})")


def pasted(page: Page) -> str:
    """Return what the clipboard holds, by pasting it."""
    field = page.locator("#paste")
    field.fill("")
    field.focus()
    page.keyboard.press("Control+V")
    return field.input_value()


def test_a_click_on_a_header_sorts_numbers_as_numbers(page: Page) -> None:
    table = page.locator("#methods table")
    assert header(table, 3).get_attribute("aria-sort") == "none"
    header(table, 3).get_by_role("button", name="rSum").click()
    first = ["".join(text.split()[:1]) for text in column(table, 3)]
    assert first == ["98.6", "340.8", "1,020.5", ""]
    assert header(table, 3).get_attribute("aria-sort") == "ascending"
    header(table, 3).get_by_role("button").click()
    assert ["".join(text.split()[:1]) for text in column(table, 3)] == [
        "1,020.5",
        "340.8",
        "98.6",
        "",
    ]
    assert header(table, 3).get_attribute("aria-sort") == "descending"
    header(table, 4).get_by_role("button").click()
    assert column(table, 4) == ["−1.0", "0.5", "+3.2", ""]
    assert header(table, 3).get_attribute("aria-sort") == "none"


def test_words_sort_as_words_and_the_numbers_in_them_by_size(page: Page) -> None:
    table = page.locator("#methods table")
    header(table, 2).get_by_role("button").click()
    assert [text[:3] for text in column(table, 2)] == ["9, ", "10 ", "i2t", "t2i"]


def test_rows_that_move_take_their_group_along(page: Page) -> None:
    table = page.locator("#methods table")
    back = page.locator("#methods").get_by_role("button", name="Original order")
    assert not back.is_visible()
    header(table, 4).get_by_role("button").click()
    assert column(table, 1) == ["SCAN", "BFAN", "SCAN", "BFAN"]
    back.click()
    assert column(table, 1) == ["SCAN", "", "BFAN", ""]
    assert column(table, 4) == ["+3.2", "−1.0", "", "0.5"]
    assert header(table, 4).get_attribute("aria-sort") == "none"
    assert not back.is_visible()


def test_the_keyboard_sorts_too(page: Page) -> None:
    table = page.locator("#methods table")
    header(table, 1).get_by_role("button").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert header(table, 2).get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert header(table, 2).get_attribute("aria-sort") == "descending"


def test_one_row_and_headers_of_two_levels(page: Page) -> None:
    assert page.locator("#one thead button").count() == 0
    assert page.locator("#one").get_by_role("button", name="Copy CSV").is_visible()
    page.locator("#levels").get_by_role("button", name="y", exact=True).click()
    page.locator("#levels").get_by_role("button", name="y", exact=True).click()
    assert column(page.locator("#levels table"), 3) == ["4", "3"]
    page.locator("#levels").get_by_role("button", name="Copy CSV").click()
    assert pasted(page) == ",a x,a y\n1,2,4\n0,1,3\n"


CSV = """\
,method,rSum,gain,seeds
SCAN,t2i & <LSE>,"340.8 [331.0, 350.2] ± 8.1",+3.2,3
SCAN,i2t_mean,,−1.0,3
BFAN,10 steps,"98.6 [90.0, 99.9]",,2
BFAN,"9, ""equal""\","1,020.5 [9.0, 9.9]",0.5,1
"""
LATEX = r"""% Methods, 100% < all
\begin{tabular}{llrrr}
\toprule
 & method & rSum & gain & seeds \\
\midrule
SCAN & t2i \& \textless{}LSE\textgreater{} & 340.8 [331.0, 350.2] $\pm$ 8.1 & +3.2 & 3 \\
 & i2t\_mean &  & $-$1.0 & 3 \\
BFAN & 10 steps & 98.6 [90.0, 99.9] &  & 2 \\
 & 9, "equal" & 1,020.5 [9.0, 9.9] & 0.5 & 1 \\
\bottomrule
\end{tabular}
"""


@pytest.mark.parametrize("refused", [False, True])
def test_tables_are_copied_with_and_without_a_clipboard_of_the_browser(
    page: Page, refused: bool
) -> None:
    if refused:
        page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    tools = page.locator("#methods .table-tools")
    tools.get_by_role("button", name="Copy CSV").click()
    tools.get_by_role("button", name="Copied").wait_for()
    assert pasted(page) == CSV
    tools.get_by_role("button", name="Copy CSV").wait_for()
    tools.get_by_role("button", name="Copy LaTeX").click()
    tools.get_by_role("button", name="Copied").wait_for()
    assert pasted(page) == LATEX
    assert page.locator("textarea").count() == 1


def test_what_is_copied_is_in_the_order_that_is_shown(page: Page) -> None:
    header(page.locator("#methods table"), 4).get_by_role("button").click()
    page.locator("#methods").get_by_role("button", name="Copy CSV").click()
    assert [line.split(",")[0] for line in pasted(page).splitlines()[1:]] == [
        "SCAN",
        "BFAN",
        "SCAN",
        "BFAN",
    ]


def test_a_note_shows_for_keys_and_fingers_and_goes_again(page: Page) -> None:
    page.set_viewport_size(PHONE)
    bubble = page.locator(".note-shown")
    note = page.locator("#methods .note").first
    told = f"95 % interval [331.0, 350.2]; {SOURCE}"
    assert note.get_attribute("title") == told
    note.click()
    assert bubble.inner_text() == told
    box = bubble.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    page.keyboard.press("Escape")
    assert bubble.count() == 0
    page.locator("#methods .note").nth(1).focus()
    assert bubble.inner_text() == f"95 % interval [90.0, 99.9]; {SOURCE}"
    page.locator("#one figcaption").click()
    assert bubble.count() == 0


def test_a_phone_and_paper(page: Page) -> None:
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.locator("#methods .table-tools").is_visible()
    page.emulate_media(media="print")
    assert not page.locator("#methods .table-tools").is_visible()
    assert not page.locator("#methods .note-link").is_visible()
    assert page.locator("#methods thead").get_by_text("rSum").is_visible()


def test_a_switch_shows_further_columns_and_intervals(page: Page) -> None:
    table, switch = page.locator("#methods table"), page.locator("#methods .table-more")
    interval = table.locator(".interval").first
    seeds = table.get_by_role("columnheader", name="seeds")
    assert switch.get_attribute("aria-pressed") == "false"
    assert not interval.is_visible()
    assert not seeds.is_visible()
    switch.click()
    assert interval.is_visible()
    assert seeds.is_visible()
    switch.click()
    assert not seeds.is_visible()
    page.emulate_media(media="print")
    assert seeds.is_visible()


def test_without_a_script_everything_is_shown(browser: Browser, page_path: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(page_path.as_uri())
    assert opened.locator("#methods .interval").first.is_visible()
    assert opened.locator("#methods th.more").is_visible()
    context.close()


def test_a_row_is_a_card_on_a_phone_with_every_column(page: Page) -> None:
    page.set_viewport_size(PHONE)
    cells = page.locator("#methods tbody tr").first.locator("td")
    assert not cells.nth(4).is_visible()  # behind the switch, as on a desk
    page.locator("#methods .table-more").click()
    assert [cells.nth(k).is_visible() for k in range(cells.count())] == [True] * 5
    boxes = [cells.nth(k).bounding_box() for k in range(1, 5)]
    tops = [box["y"] for box in boxes if box]
    assert tops == sorted(tops)
    assert len(set(tops)) == 4  # one below the other
    labels = cells.evaluate_all("all => all.map(c => getComputedStyle(c, '::before').content)")
    assert labels[2:] == ['"rSum"', '"gain"', '"seeds"']
    assert page.locator("#methods .interval").first.is_visible()


def test_a_recipe_leads_to_the_folded_part_of_its_run(page: Page) -> None:
    made = page.locator(f"#{run_anchor('tiny/sgr/0-f00')}-made")
    assert not made.is_visible()
    page.locator("#runs").get_by_role("link", name="sgr").click()
    made.get_by_text("out of memory").wait_for()
    assert page.locator("#runs details[open]").count() == 1


def test_a_link_from_another_page_opens_it_too(page: Page, page_path: Path) -> None:
    made = f"{run_anchor('tiny/saf/0-f00')}-made"
    page.goto("about:blank")
    page.goto(f"{page_path.as_uri()}#{made}")
    page.locator(f"#{made}").get_by_text("out of memory").wait_for()
