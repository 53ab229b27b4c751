"""How large the explorer is, and how fast it follows a pointer: ``python -m tests.bench_explorer``.

Methods with 36 regions, two side by side, in a headless Chromium on this machine.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from itm_book.explorer import explorer, in_page
from tests import scenes_pair
from tests.chromium import FLAGS, find_chromium

MEASURE = """() => {
    const words = [...document.querySelectorAll('[data-word]')], times = [];
    for (let k = 0; k < 200; k++) {
        const start = performance.now();
        words[k % words.length].dispatchEvent(new PointerEvent('pointerover', {bubbles: true}));
        document.body.getBoundingClientRect();
        times.push(performance.now() - start);
    }
    times.sort((a, b) => a - b);
    return [times[100], times[190]];
}"""


def main() -> None:
    """Print sizes in kB and milliseconds for an update: the median and the 95th of 100."""
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        records = scenes_pair.records(Path(folder), "scan-t2i-mean", "rcar-t2i")
        html = explorer.explorer(records).data
        place = Path(folder) / "page.html"
        place.write_text(f'<!doctype html><meta charset="utf-8"><body>{html}</body>')
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.goto(place.as_uri())
        page.locator(".itm-explorer").wait_for()
        middle, slow = page.evaluate(MEASURE)
        words, regions = len(records[0].pair.words), records[0].pair.regions
    print(f"module {len(in_page.module('explorer').encode()) / 1000:.1f} kB")
    print(f"one example, two methods, with its picture and the module {len(html) / 1000:.1f} kB")
    print(f"{words} words x {regions} regions: {middle:.2f} ms an update, {slow:.2f} ms the 95th")


if __name__ == "__main__":
    main()
