"""The landing page of the built book, served on this machine with every other address cut off.

What is drawn is compared with the numbers that the page carries, which are those of the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, Route

from tests.e2e.conftest import Keep
from tests.tiny_book import PROJECT

pytestmark = pytest.mark.e2e
BOOK = PROJECT / "data" / "book" / "_build" / "html"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The built book on a free port of this machine."""
    if not (BOOK / "book" / "intro.html").exists():
        pytest.skip("no built book here (make book)")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(BOOK)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def scheme() -> str:
    return "light"


@pytest.fixture
def page(browser: Browser, address: str, scheme: str) -> Iterator[Page]:
    """A page that may ask this address alone, and has nothing to complain about at the end."""
    context = browser.new_context(viewport=DESK, color_scheme=scheme)  # type: ignore[arg-type]
    complaints: list[str] = []

    def only_here(route: Route) -> None:
        if route.request.url.startswith((address, "data:", "blob:")):
            route.continue_()
        else:
            complaints.append(f"asked {route.request.url}")
            route.abort()

    context.route("**/*", only_here)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    yield page
    context.close()
    assert not complaints


def opened(page: Page, address: str) -> tuple[Locator, dict[str, Any]]:
    """Return the explorer that the landing page opens with, and the numbers of its menu."""
    page.goto(f"{address}/book/intro.html")
    root = page.locator(".itm-explorer").first
    root.wait_for()
    text = page.locator("script[data-explorer-records]").first.text_content()
    assert text is not None
    return root, json.loads(text)


def chosen(root: Locator, data: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the pair and the methods that the menu shows now."""
    pair = data["pairs"][int(root.locator("[data-choice='pair']").input_value())]
    places = root.locator(".menu select:not([data-choice='pair'])").evaluate_all(
        "all => all.map(one => Number(one.value))"
    )
    return pair, [pair["methods"][place] for place in dict.fromkeys(places) if place >= 0]


def weights(method: dict[str, Any], step: int) -> np.ndarray:
    """Return the attention ``[L, R]`` of a method at a step, the last one if it has fewer."""
    steps = method["directions"][0]["weights"]
    return np.array(steps[min(step, len(steps) - 1)])


def brightness(panel: Locator) -> np.ndarray:
    """Return how bright every region is drawn, 0 to 255."""
    spots = panel.locator("[data-spot]").evaluate_all(
        "all => all.map(one => [Number(one.dataset.spot), one.getAttribute('fill')])"
    )
    bright = np.zeros(len(spots))
    for region, fill in spots:
        bright[region] = 255 - int(re.findall(r"\d+", fill)[0])
    return bright


def test_the_data_of_the_page_is_small(page: Page, address: str) -> None:
    opened(page, address)
    text = page.locator("script[data-explorer-records]").first.text_content()
    assert text is not None
    assert len(text.encode()) <= 1_500_000
    assert "data:image/jpeg" in text  # photographs
    assert "data:image/png" not in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_with_a_photograph_and_a_lit_word(
    page: Page, address: str, scheme: str, keep: Keep
) -> None:
    root, data = opened(page, address)
    pair, methods = chosen(root, data)
    place = root.bounding_box()
    assert place is not None
    assert place["y"] < DESK["height"] / 2  # seen without scrolling
    (word,) = pair["pins"]
    for method, panel in zip(methods, root.locator(".panel").all(), strict=True):
        seen = weights(method, 99)[word]
        np.testing.assert_allclose(brightness(panel), 255 * seen / seen.max(), atol=1)
        best = panel.locator("[data-marked][data-rank='1']").get_attribute("data-marked")
        assert best == str(seen.argmax())
    keep(page, f"landing-{scheme}")


def test_the_menu_has_every_photograph_and_method(page: Page, address: str, keep: Keep) -> None:
    root, data = opened(page, address)
    assert len(data["pairs"]) == 10
    root.locator("[data-choice='pair']").select_option("0")
    for place in range(len(data["pairs"][0]["methods"])):
        root = page.locator(".itm-explorer").first
        root.locator("[data-choice='method']").select_option(str(place))
        root = page.locator(".itm-explorer").first
        pair, methods = chosen(root, data)
        assert pair is data["pairs"][0]
        assert methods[0] is pair["methods"][place]
        assert root.locator(".panel").count() == len(methods)
        assert methods[0]["name"] in root.locator(".panel .title").first.inner_text()
        shown = root.locator("[data-word]").all_inner_texts()
        assert [word.strip() for word in shown] == pair["words"]
        keep(root, f"landing-method-{place}")


def test_steps_and_bars_show_the_numbers_of_the_record(
    page: Page, address: str, keep: Keep
) -> None:
    root, data = opened(page, address)
    pair, methods = chosen(root, data)
    (word,) = pair["pins"]
    for method, panel in zip(methods, root.locator(".panel").all(), strict=True):
        for step in range(len(method["directions"][0]["weights"])):
            if root.locator("input[type='range']").count():
                root.locator("input[type='range']").fill(str(step))
            assert brightness(panel).argmax() == weights(method, step)[word].argmax()
        contributions = panel.locator(".bar[data-of='contribution']").evaluate_all(
            "all => all.map(one => Number(one.dataset.value))"
        )
        assert sum(contributions) == pytest.approx(method["score"], abs=1e-5)
    keep(root, "landing-pinned")


def test_the_matrix_is_folded_and_opens(page: Page, address: str, keep: Keep) -> None:
    root, _ = opened(page, address)
    first = root.locator(".panel").first
    assert not first.locator("svg.matrix").is_visible()
    first.locator("summary").click()
    first.locator("svg.matrix").wait_for(state="visible")
    keep(root, "landing-matrix")


def test_it_can_be_read_with_the_keyboard_alone(page: Page, address: str) -> None:
    root, data = opened(page, address)
    words = chosen(root, data)[0]["words"]
    root.locator("[data-word='0']").focus()
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    last = len(words) - 1
    assert root.locator(f"[data-word='{last}']").get_attribute("aria-pressed") == "true"
    page.wait_for_timeout(300)
    assert words[last] in (root.locator("[aria-live]").text_content() or "")
    assert root.locator(".facts b").first.inner_text() == words[last]
    page.keyboard.press("Escape")
    assert root.locator("[aria-pressed='true']").count() == 0


@pytest.mark.parametrize("kind", ["png", "svg", "html"])
def test_it_can_be_taken_along(page: Page, address: str, tmp_path: Path, kind: str) -> None:
    root, data = opened(page, address)
    with page.expect_download() as waiting:
        root.get_by_role("button", name=f"Save as {kind.upper()}").click()
    saved = tmp_path / f"saved.{kind}"
    waiting.value.save_as(saved)
    if kind == "png":
        assert saved.read_bytes().startswith(b"\x89PNG")
    else:
        assert chosen(root, data)[1][0]["name"] in saved.read_text(encoding="utf-8")


def test_it_fits_a_phone(page: Page, address: str, keep: Keep) -> None:
    page.set_viewport_size(PHONE)
    root, data = opened(page, address)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert chosen(root, data)[0]["pins"]
    for panel in root.locator(".panel").all():
        assert panel.locator("[data-marked]").count() >= 1
    keep(root, "landing-phone")
