"""Every page of the site, opened once: no complaint, no barrier, no hidden column, no weight."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from itm_book.pages.site.weight import LIMITS, weigh
from tests.browser.conftest import Visit, new_context
from tests.browser.table_widths import hidden_columns

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
DOCSTRINGS = "code"  # the folder of pages that one template makes
SERIOUS = {"serious", "critical"}
FOUND = {  # once and for all; whatever else is found is reported by its name
    "label-content-name-mismatch",
    "heading-order",
    "landmark-unique",
    "region",
    "empty-table-header",
}
AXE = {
    "resultTypes": ["violations"],
    "preload": False,  # style sheets: from disk they cannot be read a second time
    "rules": {"label-content-name-mismatch": {"enabled": True}},
}


@dataclass(frozen=True)
class Seen:
    """What was met on a page.

    Attributes:
        files: that the page loaded.
        violations: what axe found; of pages of docstrings it reads three.
        hidden: columns of tables that are cut off or lost.
    """

    complaints: list[str]
    files: set[Path]
    violations: list[dict[str, Any]]
    hidden: list[str]


@pytest.fixture(scope="module")
def seen(browser: Browser, pages: list[Path]) -> dict[Path, Seen]:
    axe, found = Axe(), {}
    skipped = set([path for path in pages if path.parent.name == DOCSTRINGS][3:])
    for path in pages:
        context = new_context(browser)
        visit = Visit(context.new_page())
        page = visit.open(path)
        violations = [] if path in skipped else axe.run(page, options=AXE).response["violations"]
        hidden = hidden_columns(page, path)
        found[path] = Seen(visit.complaints, visit.files, violations, hidden)
        context.close()
    return found


def test_no_page_complains_or_asks_for_the_network(seen: dict[Path, Seen]) -> None:
    complaints = {path.name: page.complaints for path, page in seen.items() if page.complaints}
    assert not complaints


def test_axe_finds_nothing_serious(seen: dict[Path, Seen]) -> None:
    barriers = [
        f"{path.name}: {v['id']} ({v['impact']}), {len(v['nodes'])} times, "
        f"first {v['nodes'][0]['html'][:200]}"
        for path, page in seen.items()
        for v in page.violations
        if v["impact"] in SERIOUS or v["id"] in FOUND
    ]
    assert not barriers, "\n".join(barriers)


def test_what_a_browser_loads_is_light(site: Path, seen: dict[Path, Seen]) -> None:
    for path, page in seen.items():
        own = {file for file in page.files if "_images" in file.parts} | {path}
        shared = page.files - own
        assert sum(file.stat().st_size for file in own) <= LIMITS["page"], path.name
        assert sum(file.stat().st_size for file in shared) <= LIMITS["shared"], path.name


def test_no_table_hides_a_column(seen: dict[Path, Seen]) -> None:
    hidden = [line for page in seen.values() for line in page.hidden]
    assert not hidden, "\n".join(hidden)


def test_the_site_is_light(site: Path) -> None:
    assert not weigh(site).excess()
