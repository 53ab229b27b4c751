"""The gallery's page: whole, small, true to what was found, and safe from what a caption says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from itm_book.explorer import gallery_widget, in_page
from itm_book.explorer.gallery import gallery, payload
from itm_book.explorer.live import NONE
from itm_book.search.searcher import Searcher, SearchResult
from itm_core.errors import InputError
from tests import scenes_pair

EVIL = '</script><script>alert(1)</script><b onmouseover="x">'
OWN = "a giraffe near a red ball"


@pytest.fixture(scope="module")
def searchers(scenes_folder: Path) -> list[Searcher]:
    split = scenes_pair.scenes(scenes_folder)
    methods = ("scan-t2i-mean", "scan-i2t-mean")
    return [
        Searcher(scenes_pair.trained(scenes_folder, name), split, name=name) for name in methods
    ]


@pytest.fixture(scope="module")
def query(searchers: list[Searcher]) -> list[SearchResult]:
    return [one.images_for(OWN) for one in searchers]


def data_of(page: str) -> dict[str, object]:
    found = re.search(r'data-gallery-records="\w+">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_it_is_small(query: list[SearchResult], searchers: list[Searcher]) -> None:
    assert len((in_page.FOLDER / "gallery.js").read_bytes()) <= 20_000
    assert len(gallery([query]).data.encode()) <= 300_000
    assert len(gallery([[one.captions_for(1) for one in searchers]]).data.encode()) <= 300_000


def test_the_page_holds_what_was_found(query: list[SearchResult]) -> None:
    data = data_of(gallery([query, query[:1]]).data)
    assert data["target"] == "images"
    queries, images = data["queries"], data["images"]
    assert isinstance(queries, list)
    assert isinstance(images, dict)
    assert [len(one["methods"]) for one in queries] == [2, 1]
    assert set(images) == {str(hit.place) for found in query for hit in found.hits}
    for method, found in zip(queries[0]["methods"], query, strict=True):
        assert (method["name"], method["rank"], method["of"]) == (found.name, None, found.of)
        for shown, hit in zip(method["hits"], found.hits, strict=True):
            np.testing.assert_allclose(shown["evidence"], hit.record.evidence(), atol=1e-5)
            whole = np.sum(shown["evidence"]) + shown["remainder"]
            assert whole == pytest.approx(shown["score"], abs=2e-6)
            assert shown["score"] == pytest.approx(hit.record.score, abs=1e-6)
            assert shown["unknown"] == [False, True, False, False, False, False]
            assert images[str(shown["image"])]["id"] == hit.record.pair.image


def test_captions_share_the_picture_of_their_image(searchers: list[Searcher]) -> None:
    data = payload([[one.captions_for(2) for one in searchers]])
    assert list(data["images"]) == [2]
    assert data["queries"][0]["image"] == 2
    assert data["images"][2]["picture"].startswith("data:image/webp;base64,")


def test_what_a_caption_says_cannot_end_its_script(query: list[SearchResult]) -> None:
    hit = query[0].hits[0]
    pair = replace(hit.record.pair, caption=EVIL, words=[EVIL, *hit.record.pair.words[1:]])
    evil = replace(hit, record=replace(hit.record, pair=pair))
    page = gallery([[replace(query[0], name=EVIL, query=EVIL, hits=[evil])]]).data
    assert page.count("</script>") == 2  # of the records, and of the module
    assert "<b onmouseover" not in page
    assert data_of(page)["queries"][0]["query"] == EVIL  # type: ignore[index]


def test_what_does_not_fit_is_refused(query: list[SearchResult], searchers: list[Searcher]) -> None:
    captions = [searchers[0].captions_for(0)]
    for wrong in ([], [[]], [query, captions]):
        with pytest.raises(InputError, match="shows either images or captions"):
            gallery(wrong)
    with pytest.raises(InputError, match="wrong number of methods"):
        gallery([[*query, query[0]]])
    other = searchers[0].images_for("a red ball")
    with pytest.raises(InputError, match="different queries.*giraffe.*red ball"):
        gallery([[query[0], other]])


def test_the_live_one_asks_the_model_again(searchers: list[Searcher]) -> None:
    runs, split = {one.name: one.run for one in searchers}, searchers[0].split
    asked, second_row, (first, second), shown = parts(gallery_widget.live(runs, split, image=2))
    pictures, way = second_row
    assert shown.records == payload([[one.images_for(split.captions[0]) for one in searchers]])
    asked.value = OWN
    assert shown.records == payload([[one.images_for(OWN) for one in searchers]])
    pictures.value = 3
    assert way.value == "captions"
    assert shown.records == payload([[one.captions_for(3) for one in searchers]])
    second.value = NONE
    assert shown.records == payload([[searchers[0].captions_for(3)]])
    first.value = searchers[1].name
    way.value = "images"
    assert shown.records == payload([[searchers[1].images_for(OWN)]])
    asked.value = " "
    assert "describe a picture" in shown.records["problem"]
    asked.value = "giraffes, zebras"
    assert "unknown: giraffes, zebras" in shown.records["problem"]
    asked.value = "a red ball"
    assert "problem" not in shown.records
    with pytest.raises(InputError, match="nothing to show"):
        gallery_widget.live({}, split)
    with pytest.raises(InputError, match="no such image"):
        gallery_widget.live(runs, split, image=10_000)


def test_photographs_without_captions_are_found(searchers: list[Searcher]) -> None:
    run, captioned = searchers[0].run, searchers[0].split
    split = replace(captioned, captions=[], caption_image=np.zeros(0, np.int64))
    asked, (_, way), _, shown = parts(gallery_widget.live({"scan": run}, split))
    assert way.options == ("images",)
    assert "no sentence to search with" in shown.records["problem"]
    asked.value = OWN
    assert shown.records["queries"][0]["query"] == OWN


def test_features_that_do_not_fit_a_method_are_said(
    searchers: list[Searcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise InputError("other features than the run was trained on")

    monkeypatch.setattr(gallery_widget, "Searcher", refused)
    box = gallery_widget.live({"scan": searchers[0].run}, searchers[0].split)
    assert "other features" in parts(box)[3].records["problem"]


def parts(box: object) -> tuple:
    """Return the line to type in, image and way, the two methods, and what is drawn."""
    asked, second, methods, shown = box.children  # type: ignore[attr-defined]
    return asked, second.children, methods.children, shown
