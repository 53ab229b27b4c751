"""The gallery in a browser without a network: what is drawn is what was found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page

from itm_book.explorer.gallery import gallery
from itm_book.search.searcher import Hit, Searcher, SearchResult
from tests import scenes_pair
from tests.e2e.conftest import open_page

pytestmark = pytest.mark.e2e
EVIL = "<img src=x onerror=alert(1)></script><b>bold"
OWN = "a giraffe near a red ball"


@pytest.fixture(scope="module")
def searchers(scenes_folder: Path) -> list[Searcher]:
    split = scenes_pair.scenes(scenes_folder)
    methods = ("scan-t2i-mean", "scan-i2t-mean")
    return [
        Searcher(scenes_pair.trained(scenes_folder, name), split, name=name) for name in methods
    ]


@pytest.fixture(scope="module")
def sentences(searchers: list[Searcher]) -> list[list[SearchResult]]:
    known = searchers[0].split.captions[5]
    return [[one.images_for(text) for one in searchers] for text in (known, OWN)]


def show(page: Page, place: Path, *shown: str) -> Locator:
    """Open a page with galleries; return the first."""
    return open_page(page, place, ".itm-gallery", *shown)


def sections(root: Locator, query: list[SearchResult]) -> list[tuple[SearchResult, Locator]]:
    return list(zip(query, root.locator("section").all(), strict=True))


def results(section: Locator, found: SearchResult) -> list[tuple[Hit, Locator]]:
    return list(zip(found.hits, section.locator("li").all(), strict=True))


def outlined(where: Locator) -> list[tuple[int, float]]:
    """Return the regions that are outlined and how strongly, the strongest first."""
    found = where.locator("[data-marked]").evaluate_all(
        "all => all.map(one => [Number(one.dataset.marked), Number(one.dataset.strength)])"
    )
    return [(region, strength) for region, strength in reversed(found)]


def bars(result: Locator) -> list[float]:
    return result.locator(".bar [data-value]").evaluate_all(
        "all => all.map(one => Number(one.dataset.value))"
    )


def best(values: np.ndarray) -> set[int]:
    """Return where the largest value stands, all that are as large to rounding."""
    return set(np.flatnonzero(values >= values.max() - 2e-5).tolist())


def test_results_stand_in_the_order_of_their_scores(
    page: Page, sentences: list[list[SearchResult]], tmp_path: Path
) -> None:
    root = show(page, tmp_path, gallery(sentences).data)
    for found, section in sections(root, sentences[0]):
        shown = [float(text) for text in section.locator(".head b:last-child").all_inner_texts()]
        assert shown == sorted(shown, reverse=True)
        assert f"at rank {found.rank} of {found.of}" in section.locator(".title").inner_text()
        for hit, result in results(section, found):
            assert result.locator(".picture").get_attribute("aria-label") == (
                f"image {hit.record.pair.image}"
            )
            assert ("✓ right" in result.inner_text()) == hit.right
            assert "right" in (result.get_attribute("class") or "") or not hit.right


def test_bars_add_up_and_the_regions_that_decided_are_outlined(
    page: Page, sentences: list[list[SearchResult]], tmp_path: Path
) -> None:
    root = show(page, tmp_path, gallery(sentences).data)
    for found, section in sections(root, sentences[0]):
        for hit, result in results(section, found):
            evidence, values = hit.record.evidence(), bars(result)
            np.testing.assert_allclose(values[:-1], evidence.sum(1), atol=1e-3)
            assert sum(values) == pytest.approx(hit.record.score, abs=1e-5)
            regions = evidence.sum(0)
            marked = outlined(result)
            assert marked[0][0] in best(regions)
            for region, strength in marked:
                assert strength == pytest.approx(regions[region] / regions.max(), abs=0.02)


def test_a_word_shows_its_region_in_all_results(
    page: Page, sentences: list[list[SearchResult]], tmp_path: Path
) -> None:
    root = show(page, tmp_path, gallery(sentences).data)
    word = root.locator(".query [data-word='2']")
    word.hover()
    check_word(root, sentences[0], 2)
    page.mouse.move(5, 5)
    assert root.locator("li").first.locator("[data-marked]").count() > 1
    word.click()
    page.mouse.move(5, 5)
    check_word(root, sentences[0], 2)
    assert word.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Escape")
    assert root.locator("[aria-pressed='true']").count() == 0


def check_word(root: Locator, query: list[SearchResult], word: int) -> None:
    for found, section in sections(root, query):
        for hit, result in results(section, found):
            sizes = np.abs(hit.record.evidence()[word])
            marked = outlined(result)
            assert len(marked) == int(sizes.max() > 5e-6)
            assert not marked or marked[0][0] in best(sizes)
            assert hit.record.pair.words[word] in result.locator(".facts").inner_text()


def test_queries_are_chosen_and_unknown_words_shown_as_such(
    page: Page, sentences: list[list[SearchResult]], tmp_path: Path
) -> None:
    root = show(page, tmp_path, gallery(sentences).data)
    assert root.locator(".query .unknown").count() == 0
    root.get_by_role("tab", name=OWN).click()
    assert root.get_by_role("tab", name=OWN).get_attribute("aria-selected") == "true"
    panel = root.get_by_role("tabpanel", name=OWN)  # the chosen query labels it
    assert [tab.get_attribute("aria-controls") for tab in root.get_by_role("tab").all()] == [
        panel.get_attribute("id")
    ] * 2
    unknown = root.locator(".query .unknown")
    assert unknown.all_inner_texts() == ["giraffe"]
    assert unknown.get_attribute("title") == "not in the vocabulary"
    for found, section in sections(root, sentences[1]):
        assert f"no relevant item is known among {found.of}" in section.inner_text()
        first = section.locator("li .picture").first.get_attribute("aria-label")
        assert first == f"image {found.hits[0].record.pair.image}"
    assert root.locator(".belongs").count() == 0


def test_captions_with_the_words_that_decided(
    page: Page, searchers: list[Searcher], tmp_path: Path
) -> None:
    query = [one.captions_for(1) for one in searchers]
    root = show(page, tmp_path, gallery([query]).data)
    assert root.get_by_role("tab").count() == 0
    for found, section in sections(root, query):
        for hit, result in results(section, found):
            assert result.locator("[data-word].on").count() == 0
            words, shares = hit.record.pair.words, hit.record.evidence().sum(1)
            assert result.locator("button").all_inner_texts() == words
            assert ("✓ right" in result.inner_text()) == hit.right
            if shares.max() > 1e-4:
                light = result.locator("button").evaluate_all(
                    "all => all.map(one => Number(one.style.background.match(/[\\d.]+(?=\\))/)[0]))"
                )
                expected = 0.7 * np.clip(shares, 0, None) / shares.max()
                np.testing.assert_allclose(light, expected, atol=0.02)
        hit, result = results(section, found)[1]
        result.locator("button").nth(1).hover()
        sizes = np.abs(hit.record.evidence()[1])
        assert {region for region, _ in outlined(section.locator(".both > .picture"))} <= best(
            sizes
        )


def test_the_keyboard_reaches_everything(
    page: Page, sentences: list[list[SearchResult]], tmp_path: Path
) -> None:
    root = show(page, tmp_path, gallery(sentences).data)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert root.locator("[role=tab][aria-selected=true]").inner_text() == OWN
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.innerText") == "giraffe"
    check_word(root, sentences[1], 1)
    page.wait_for_timeout(300)
    assert "giraffe" in root.locator("[aria-live]").inner_text()
    page.keyboard.press("Enter")
    assert root.locator(".query [data-word='1']").get_attribute("aria-pressed") == "true"


def test_a_caption_made_of_html_stays_text(
    page: Page, sentences: list[list[SearchResult]], searchers: list[Searcher], tmp_path: Path
) -> None:
    pages = []
    for found in (sentences[0][0], searchers[0].captions_for(1)):
        hits = [evil(hit) for hit in found.hits]
        query = [replace(found, name=EVIL, query=EVIL, hits=hits)]
        pages.append(gallery([query, query]).data)
    show(page, tmp_path, *pages)
    for root in page.locator(".itm-gallery").all():
        root.locator("[data-word='0']").first.click()
        assert EVIL in root.locator(".title").inner_text()
        assert EVIL in root.locator(".facts").first.inner_text()
        assert root.locator(".picture text").first.text_content() == EVIL  # where a picture lacks
    assert page.locator("img").count() == 0
    assert page.locator("b", has_text="bold").count() == 0


def evil(hit: Hit) -> Hit:
    pair = hit.record.pair
    words = [EVIL, *pair.words[1:]]
    spoilt = replace(pair, image=EVIL, caption=EVIL, words=words, picture=None, boxes=None)
    return replace(hit, record=replace(hit.record, pair=spoilt))


def test_it_fits_a_phone_and_the_dark(
    browser: Browser, sentences: list[list[SearchResult]], searchers: list[Searcher], tmp_path: Path
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page = context.new_page()
    captions = [[one.captions_for(k) for one in searchers] for k in (0, 1)]
    root = show(page, tmp_path, gallery(sentences).data, gallery(captions).data)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert "dark" in (root.get_attribute("class") or "")
    context.close()
