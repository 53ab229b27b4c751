"""What is cut off or lost in the tables of a page: on a desk, on a phone, on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page, ViewportSize

DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
PAPER: ViewportSize = {"width": 680, "height": 900}  # A4 between its margins, in CSS pixels

# Tables whose frame has more than it shows or that reach beyond the page, and full cells that are
# not shown: but for those behind the switch of their table, and heads where a row is a card.
HIDDEN = """([edge, desk, screen]) => [...document.querySelectorAll("article table")]
  .filter((table) => table.getClientRects().length)
  .map((table) => {
    const frame = table.closest(".table-scroll, .pst-scrollable-table-container") || table;
    const cards = !desk && table.matches(".cards");
    const lost = [...table.querySelectorAll("td, th")].filter((cell) =>
      cell.textContent.trim() && !cell.getClientRects().length &&
      !(screen && table.matches(".folded") && cell.matches(".more")) &&
      !(cards && cell.closest("thead")));
    const heads = [...table.querySelectorAll("thead th")].map((th) => th.textContent.trim());
    const beyond = table.getBoundingClientRect().right - edge;
    return {
      over: Math.round(Math.max(frame.scrollWidth - frame.clientWidth, beyond)),
      lost: lost.length, columns: heads.join(" | ").slice(0, 120),
    };
  })
  .filter(({ over, lost }) => over > 1 || lost)"""


def hidden_columns(page: Page, path: Path) -> list[str]:
    """Return what the tables of an open page hide, a line for each table and size."""
    found = _hidden(page, path, DESK) + _hidden(page, path, PHONE)
    return found + _hidden(page, path, PAPER, media="print")


def _hidden(page: Page, path: Path, size: ViewportSize, *, media: Any = "screen") -> list[str]:
    page.emulate_media(media=media)
    page.set_viewport_size(size)
    page.evaluate("() => new Promise(requestAnimationFrame)")
    found = page.evaluate(HIDDEN, [size["width"], size is DESK, media == "screen"])
    return [f"{path.stem} at {size['width']} ({media}): {one}" for one in found]
