"""The explorer in a browser without a network: what is drawn is what the records say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page

from itm_book.explorer import in_page
from itm_book.explorer.explorer import explorer, explorer_menu, payload
from itm_book.pairs.pair_records import PairRecord
from tests import scenes_pair
from tests.e2e.conftest import open_page

pytestmark = pytest.mark.e2e
EVIL = "<img src=x onerror=alert(1)></script><b>bold"


@pytest.fixture(scope="module")
def records(scenes_folder: Path) -> list[PairRecord]:
    return scenes_pair.records(scenes_folder, "scan-t2i-mean", "rcar-t2i")


@pytest.fixture(scope="module")
def both_ways(scenes_folder: Path) -> list[PairRecord]:
    return scenes_pair.records(scenes_folder, "bfan-equal")


def show(page: Page, place: Path, *shown: str) -> Locator:
    """Open a page with explorers; return the first."""
    return open_page(page, place, ".itm-explorer", *shown)


def lit(panel: Locator) -> np.ndarray:
    """Return how bright every region is drawn, 0 to 255."""
    found = panel.locator("[data-spot]").evaluate_all(
        "all => all.map(one => [Number(one.dataset.spot), one.getAttribute('fill')])"
    )
    bright = np.zeros(len(found))
    for region, fill in found:
        bright[region] = 255 - int(re.findall(r"\d+", fill)[0])
    return bright


def content_word(record: PairRecord) -> int:
    """Return the place of a word that names something."""
    assert record.pair.true_boxes is not None
    return next(k for k, boxes in enumerate(record.pair.true_boxes) if len(boxes))


def test_a_word_lights_up_its_regions(
    page: Page, records: list[PairRecord], tmp_path: Path
) -> None:
    root, word = show(page, tmp_path, explorer(records).data), content_word(records[0])
    root.locator(f"[data-word='{word}']").hover()
    for record, panel in zip(records, root.locator(".panel").all(), strict=True):
        weights = record.directions[0].weights[-1][word]
        bright = lit(panel)
        assert bright[weights.argmax()] == bright.max()  # others may round to the same
        np.testing.assert_allclose(bright, 255 * weights / weights.max(), atol=1)
        best = panel.locator("[data-marked][data-rank='1']").get_attribute("data-marked")
        assert int(best or -1) == weights.argmax()
        assert f"region {weights.argmax()} (" in panel.locator(".facts").inner_text()
    page.mouse.move(5, 5)
    assert root.locator(".picture > rect[visibility='hidden']").count() == 2


def test_a_region_lights_up_its_words(
    page: Page, records: list[PairRecord], tmp_path: Path
) -> None:
    root = show(page, tmp_path, explorer(records[0]).data)
    weights = records[0].directions[0].weights[0]
    region = int(weights.max(0).argmax())
    root.locator(f".hits [data-region='{region}']").dispatch_event("pointerover")
    opacity = root.locator("[data-word] i").evaluate_all(
        "all => all.map(one => Number(one.style.opacity))"
    )
    np.testing.assert_allclose(opacity, weights[:, region] / weights[:, region].max(), atol=2e-3)
    tip = root.locator(".tip").inner_text()
    best = int(weights[:, region].argmax())
    assert f"{records[0].pair.words[best]}: {weights[best, region]:.4f}" in tip


def test_bars_add_up_to_the_score(page: Page, records: list[PairRecord], tmp_path: Path) -> None:
    root = show(page, tmp_path, explorer(records).data)
    for record, panel in zip(records, root.locator(".panel").all(), strict=True):
        values = panel.locator(".bar[data-of='contribution']").evaluate_all(
            "all => all.map(one => Number(one.dataset.value))"
        )
        assert len(values) == len(record.pair.words) + 1  # and the rest
        assert sum(values) == pytest.approx(record.score, abs=1e-5)
        assert f"= score {record.score:.3f}" in panel.locator(".sum").text_content()


def test_up_to_three_words_are_pinned_and_escape_clears(
    page: Page, records: list[PairRecord], tmp_path: Path
) -> None:
    root = show(page, tmp_path, explorer(records[0]).data)
    words = root.locator("[data-word]")
    for k in range(4):
        words.nth(k).click()
    pressed = words.evaluate_all("all => all.map(one => one.getAttribute('aria-pressed'))")
    assert pressed[:5] == ["false", "true", "true", "true", "false"]  # the fourth took a place
    assert root.locator(".facts b").count() == 3
    page.keyboard.press("Escape")
    page.mouse.move(5, 5)
    assert root.locator("[aria-pressed='true']").count() == 0


def test_the_steps_of_a_regulator_can_be_walked_and_played(
    page: Page, records: list[PairRecord], tmp_path: Path
) -> None:
    root, word = show(page, tmp_path, explorer(records[1]).data), content_word(records[1])
    root.locator(f"[data-word='{word}']").click()
    page.mouse.move(5, 5)
    slider = root.locator("input[type='range']")
    for step in (0, 1):
        slider.fill(str(step))
        weights = records[1].directions[0].weights[step][word]
        np.testing.assert_allclose(lit(root), 255 * weights / weights.max(), atol=1)
        drawn = root.locator(".bar[data-of='temperature λ']").evaluate_all(
            "all => all.map(one => Number(one.dataset.value))"
        )
        np.testing.assert_allclose(drawn, records[1].directions[0].temperature[step], atol=1e-3)
    root.get_by_role("button", name="Play the steps").click()
    page.wait_for_function("document.querySelector('.itm-explorer output').textContent[0] === '1'")
    page.wait_for_function("document.querySelector('.itm-explorer output').textContent[0] === '2'")
    page.wait_for_function("document.querySelector('.tools button').textContent.includes('play')")


def test_the_truth_and_its_numbers(page: Page, records: list[PairRecord], tmp_path: Path) -> None:
    root, word = show(page, tmp_path, explorer(records[0]).data), content_word(records[0])
    root.locator("input.truth").check()
    root.locator(f"[data-word='{word}']").click()
    quality = records[0].directions[0].quality[0][word]
    assert quality is not None
    message = "precision {:.2f}, recall {:.2f}, F1 {:.2f}".format(*quality)
    assert message in root.locator(".facts").inner_text()
    assert records[0].pair.true_boxes is not None
    assert root.locator("[data-true]").count() == len(records[0].pair.true_boxes[word])


def test_without_annotations_there_is_no_truth_to_show(
    page: Page, records: list[PairRecord], tmp_path: Path
) -> None:
    pair = replace(records[0].pair, true_boxes=None)
    shown = explorer(replace(records[0], pair=pair), pinned=[pair.words[1]], truth=True)
    root = show(page, tmp_path, shown.data)
    assert root.locator(".facts b").count() == 1
    assert root.locator("input.truth, [data-true]").count() == 0


def test_both_directions_of_a_method(
    page: Page, both_ways: list[PairRecord], tmp_path: Path
) -> None:
    root = show(page, tmp_path, explorer(both_ways).data)
    by_name = {side.direction: side for side in both_ways[0].directions}
    word = content_word(both_ways[0])
    for mode, direction in (("t2i", "t2i"), ("i2t", "i2t")):
        root.locator("select.mode").select_option(mode)
        root.locator(f"[data-word='{word}']").hover()
        weights = by_name[direction].weights[0][word]
        np.testing.assert_allclose(lit(root), 255 * weights / weights.max(), atol=1)
        page.mouse.move(5, 5)


def test_the_keyboard_reaches_everything(
    page: Page, records: list[PairRecord], tmp_path: Path
) -> None:
    root = show(page, tmp_path, explorer(records[0]).data)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    focused = "document.activeElement.dataset.word"
    assert page.evaluate(focused) == "1"
    weights = records[0].directions[0].weights[0]
    assert lit(root).argmax() == weights[1].argmax()
    page.keyboard.press("Enter")
    assert root.locator("[data-word='1']").get_attribute("aria-pressed") == "true"
    page.keyboard.press("End")
    assert page.evaluate(focused) == str(len(records[0].pair.words) - 1)
    root.locator(".hits [data-region]").first.focus()
    page.keyboard.press("Enter")
    assert "region" in root.locator(".facts b").last.inner_text()
    assert root.locator(".hits [aria-pressed='true']").count() == 1
    page.wait_for_timeout(300)
    assert "region" in root.locator("[aria-live]").text_content()


@pytest.mark.parametrize("kind", ["png", "svg", "html"])
def test_what_is_shown_can_be_saved(
    page: Page, records: list[PairRecord], tmp_path: Path, kind: str
) -> None:
    root = show(page, tmp_path, explorer(records, pinned=[records[0].pair.words[1]]).data)
    with page.expect_download() as waiting:
        root.get_by_role("button", name=f"Save as {kind.upper()}").click()
    saved = tmp_path / f"saved.{kind}"
    waiting.value.save_as(saved)
    content = saved.read_bytes()
    if kind == "png":
        assert content.startswith(b"\x89PNG")
        assert len(content) > 20_000
        return
    page.goto(saved.as_uri())
    if kind == "svg":
        assert page.locator("svg rect").count() > 500
    else:
        again = page.locator(".itm-explorer")
        assert again.locator("[aria-pressed='true']").count() == 1
        assert again.locator(".panel").count() == 2


def test_a_caption_made_of_html_stays_text(
    page: Page, records: list[PairRecord], tmp_path: Path
) -> None:
    pair = replace(records[0].pair, caption=EVIL, words=[EVIL, *records[0].pair.words[1:]])
    root = show(page, tmp_path, explorer(replace(records[0], pair=pair, name=EVIL)).data)
    assert root.locator("[data-word='0']").inner_text().strip() == EVIL
    root.locator("[data-word='0']").click()
    assert EVIL in root.locator(".facts b").inner_text()
    assert page.locator("b", has_text="bold").count() == 1  # that line; nothing was parsed
    with page.expect_download() as waiting:
        root.get_by_role("button", name="Save as HTML").click()
    waiting.value.save_as(tmp_path / "saved.html")
    page.goto((tmp_path / "saved.html").as_uri())
    assert page.locator("[data-word='0']").inner_text().strip() == EVIL
    assert page.locator("img").count() == 0


def test_it_fits_a_phone_and_the_dark(
    browser: Browser, records: list[PairRecord], tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page = context.new_page()
    root = show(page, tmp_path, explorer(records).data)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert "dark" in (root.get_attribute("class") or "")
    context.close()


def test_a_menu_changes_pair_and_methods(
    page: Page, records: list[PairRecord], tmp_path: Path
) -> None:
    other = replace(records[0].pair, image="other", words=records[0].pair.words[::-1])
    pairs = [records, [replace(record, pair=other) for record in records]]
    root = show(page, tmp_path, explorer_menu(pairs, groups=["first", "second"]).data)
    titles = [f"{record.name}: score {record.score:.3f}" for record in records]
    assert root.locator(".panel .title").all_inner_texts() == titles[:1]
    assert root.locator("[aria-pressed='true']").count() == 1  # of the largest contribution
    root.locator("[data-word='0']").click()
    root.locator("[data-choice='method']").select_option("1")
    assert page.locator(".panel .title").all_inner_texts() == titles[1:]
    assert page.locator("[aria-pressed='true']").count() == 2
    page.locator("[data-choice='beside']").select_option("1")
    assert page.locator(".panel .title").all_inner_texts() == titles[1:]  # beside itself: once
    page.locator("[data-choice='beside']").select_option("0")
    assert page.locator(".panel .title").all_inner_texts() == titles[::-1]
    labels = page.locator("optgroup").evaluate_all("all => all.map(one => one.label)")
    assert labels == ["first", "second"]
    page.locator("[data-choice='pair']").select_option("1")
    words = page.locator("[data-word]").all_inner_texts()
    assert [word.strip() for word in words] == other.words
    assert page.locator("[aria-pressed='true']").count() == 1
    assert page.evaluate("document.activeElement.dataset.choice") == "pair"
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save as HTML").click()
    waiting.value.save_as(tmp_path / "saved.html")
    page.goto((tmp_path / "saved.html").as_uri())
    assert page.locator(".panel").count() == 2
    assert page.locator(".menu").count() == 0


def test_what_was_chosen_outlives_a_problem(
    page: Page, records: list[PairRecord], tmp_path: Path
) -> None:
    """A widget gets a problem in the place of its records, then records again."""
    script = f"<script type='module'>{in_page.module('explorer')}\nwindow.draw = render;</script>"
    open_page(page, tmp_path, "#here", "<div id='here'>-</div>", script)
    page.wait_for_function("() => Boolean(window.draw)")
    page.evaluate(
        """data => {
            const get = (name) => (name === "records" ? window.records : "");
            const on = (_, again) => (window.again = again);
            window.records = data;
            draw({ model: { get, on, off() {} }, el: document.querySelector("#here") });
        }""",
        payload(records[:1]),
    )
    page.locator("input[type='number']").fill("5")
    page.get_by_label("true boxes").check()
    page.evaluate("() => { window.drawn = records; records = { problem: 'no run' }; again(); }")
    assert page.get_by_role("alert").inner_text() == "no run"
    assert page.locator(".itm-explorer").count() == 0
    page.evaluate("() => { records = drawn; again(); }")
    assert page.locator("input[type='number']").input_value() == "5"
    assert page.get_by_label("true boxes").is_checked()


def test_what_is_replaced_no_longer_follows_the_theme(
    page: Page, records: list[PairRecord], tmp_path: Path
) -> None:
    page.add_init_script("""window.followers = 0;
        for (const [name, by] of [["addEventListener", 1], ["removeEventListener", -1]])
            MediaQueryList.prototype[name] = () => { followers += by; };""")
    root = show(page, tmp_path, explorer_menu([records, records]).data)
    root.locator("[data-choice='pair']").select_option("1")
    assert page.evaluate("followers") == 1


def test_several_on_a_page_do_not_meddle(
    page: Page, records: list[PairRecord], tmp_path: Path
) -> None:
    show(page, tmp_path, explorer(records[0]).data, explorer(records[1]).data)
    first, second = page.locator(".itm-explorer").all()
    first.locator("[data-word='1']").click()
    assert second.locator("[aria-pressed='true']").count() == 0
    masks = page.locator("mask").evaluate_all("all => all.map(one => one.id)")
    assert len(set(masks)) == 2
