"""The page of ``itm search --html`` in a browser without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from itm_book.galleries.page import write_page
from itm_book.galleries.results import GalleryHit, GalleryResult
from itm_book.search.searcher import Searcher
from tests import scenes_pair
from tests.e2e.conftest import Keep

pytestmark = pytest.mark.e2e
NAME = "<b>photographs</b>"


def test_names_words_and_boxes_are_shown(
    page: Page, tmp_path: Path, scenes_folder: Path, keep: Keep
) -> None:
    split = scenes_pair.scenes(scenes_folder)
    run = scenes_pair.trained(scenes_folder, "scan-t2i-mean")
    searched = Searcher(run, split).images_for("a giraffe near a red ball", 3)
    hits = [
        GalleryHit(hit.place, hit.record.score, [hit.record.pair.image], hit.record)
        for hit in searched.hits
    ]
    result = GalleryResult(searched.query, ["giraffe"], hits, searched.of, 0.1)
    write_page(tmp_path / "page.html", run, NAME, [result])
    page.goto((tmp_path / "page.html").as_uri())
    root = page.locator(".itm-gallery")
    root.locator("li").first.wait_for()
    assert page.locator("h1").inner_text() == NAME
    names = root.locator(".name").all_inner_texts()
    assert names == [hit.record.pair.image for hit in searched.hits]
    assert f"the best 3 of {searched.of}" in root.locator(".title").inner_text()
    assert "giraffe" in root.locator(".missing").inner_text()
    first = root.locator("li").first
    content = {
        searched.hits[0].record.pair.words[k] for k in searched.hits[0].record.pair.content()
    }
    labels = first.locator("[data-marked] text").all_text_contents()
    assert labels
    assert {word for label in labels for word in label.split()} <= content
    keep(page, "search-page")
    root.locator(".query [data-word='4']").hover()
    assert first.locator("[data-marked]").count() == 1
    sizes = abs(searched.hits[0].record.evidence()[4])
    region = int(first.locator("[data-marked]").get_attribute("data-marked") or -1)
    assert sizes[region] == pytest.approx(sizes.max(), abs=2e-5)
