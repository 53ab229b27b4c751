"""The page of a search: whole in one file, without a network, safe from names and sentences."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from itm_book.galleries.indexing import index_photographs
from itm_book.galleries.page import write_page
from itm_book.galleries.photograph_gallery import PhotographGallery
from itm_core.cli import main
from itm_core.errors import InputError
from itm_core.experiments.run import Run
from tests.painted import paint

EVIL = "<img src=x onerror=alert(1)></script>"


@pytest.fixture
def gallery(photos: Path, tmp_path: Path, matcher: Run) -> PhotographGallery:
    paint(photos / "a<b>&" / "zwei\nZeilen.png", "red", seed=1)
    return index_photographs(photos, tmp_path / "made", matcher).gallery


def data_of(page: str) -> dict:
    text = re.search(r'data-gallery-records="\w+">(.*?)</script>', page, re.DOTALL)
    assert text is not None
    return json.loads(text[1])


def test_the_page_has_pictures_boxes_and_names_and_asks_no_network(
    gallery: PhotographGallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pages" / "red.html"
    sentences = ["a red zebra", EVIL + " a green dog"]
    command = ["search", str(gallery.folder), *sentences, "--top", "3", "--html", str(path)]
    assert main([*command, "--matcher", str(gallery.run.folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(path)
    page = path.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="?(https?:)?//|url\(|@import', page)
    assert "default-src 'none'" in page
    assert EVIL not in page
    data = data_of(page)
    assert [query["query"] for query in data["queries"]] == sentences
    (method,) = data["queries"][0]["methods"]
    assert (len(method["hits"]), method["of"], method["rank"]) == (3, 7, None)
    assert method["hits"][0]["unknown"] == [False, False, True]
    best = data["images"][str(method["hits"][0]["image"])]
    assert best["id"] in ("red.png", "a<b>&/zwei\nZeilen.png")
    assert best["picture"].startswith("data:image/png;base64,")
    assert len(best["boxes"]) == 36
    expected = gallery.scores(["a red zebra"])[:, 0]
    for hit in method["hits"]:
        assert hit["score"] == pytest.approx(float(expected[hit["image"]]), abs=1e-5)


def test_a_title_made_of_html_stays_text(gallery: PhotographGallery, tmp_path: Path) -> None:
    result = gallery.search("a red dog", 2)
    write_page(tmp_path / "page.html", gallery.run, EVIL, [result])
    assert EVIL not in (tmp_path / "page.html").read_text()
    with pytest.raises(InputError, match="a folder, not a page"):
        write_page(tmp_path, gallery.run, "x", [result])
    bare = replace(result, hits=[replace(hit, record=None) for hit in result.hits])
    with pytest.raises(InputError, match="put the dataset back"):
        write_page(tmp_path / "other.html", gallery.run, "x", [bare])
    assert not (tmp_path / "other.html").exists()


def test_the_page_is_whole_where_the_lines_have_no_reader(
    gallery: PhotographGallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*lines: object) -> None:  # as in ``itm search ... | head -1``
        raise BrokenPipeError

    path, matcher = tmp_path / "red.html", str(gallery.run.folder)
    command = ["search", str(gallery.folder), "a red dog", "--matcher", matcher]
    monkeypatch.setattr("builtins.print", closed)
    with pytest.raises(BrokenPipeError):
        main([*command, "--html", str(path)])
    assert path.read_text().rstrip().endswith("</html>")
