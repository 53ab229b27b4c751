"""What Jupyter Book wrote is made light, described, and left readable."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from itm_book.pages.site.finishing import LONGEST, finish, finished, meta_of, with_landmarks

PAGE = """<html><head>
    <script src="../_static/book.js"></script>
  <script defer src="../_static/scripts/fontawesome.js?digest=1"></script>
    <script src="../_static/searchtools.js?v=2"></script>
    <script src="../_static/language_data.js?v=2"></script>
    <script src="../searchindex.js"></script>
  </head><body><div id="pst-primary-sidebar" class="bd-sidebar"></div>
<button class="btn search-button-field search-button__button" title="Search" aria-label="Search">
Search</button>
<article class="bd-article"><h1>SCAN<a class="headerlink" href="#scan">#</a></h1>
<p>Short.</p>
<p>Every <em>word</em> attends to the &amp; regions and is compared with its vector.</p>
</article></body></html>"""


def test_a_page_loads_neither_icons_nor_the_index_of_the_search() -> None:
    page = finished(PAGE, {}, "Where Words Look")
    assert "book.js" in page
    for script in ("fontawesome.js", "searchtools.js", "language_data.js", "searchindex.js"):
        assert script not in page
    search = finished(PAGE, {}, "Where Words Look", search=True)
    assert "searchindex.js" in search
    assert "fontawesome.js" not in search


def test_what_a_screen_reader_reads_wrongly_is_repaired() -> None:
    page = (
        '<a href="x">Parts</a><details><summary><i></i></summary></details>'
        '<summary aria-label="Toggle hidden content"><p>Show</p></summary>'
        '<div role="list" class="citation-list"><th class="head"><p></p></th></div>'
    )
    assert with_landmarks(page) == (
        '<a href="x">Parts</a><details><summary aria-label="Pages of Parts"><i></i></summary>'
        "</details><summary><p>Show</p></summary>"
        '<div class="citation-list"><td class="head"></td></div>'
    )


def test_a_page_has_landmarks_and_buttons_are_called_what_they_say() -> None:
    page = finished(PAGE, {}, "Where Words Look")
    assert 'role="complementary" aria-label="Side bar"' in page
    assert '<button class="btn search-button-field search-button__button" title="Search">' in page


def test_a_page_is_described_by_its_first_paragraph() -> None:
    meta = meta_of(PAGE, "Where Words Look")
    text = "Every word attends to the &amp; regions and is compared with its vector."
    assert f'<meta name="description" content="{text}" />' in meta
    assert '<meta property="og:title" content="SCAN, Where Words Look" />' in meta
    assert f'<meta property="og:description" content="{text}" />' in meta
    long = meta_of(PAGE.replace("Every", "Every " * 99), "Where Words Look")
    assert max(map(len, long.splitlines())) < LONGEST + 60
    bare = meta_of("<html><body></body></html>", "Where Words Look")
    assert '<meta property="og:title" content="Where Words Look" />' in bare
    assert "description" not in bare


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for folder in ("book", "_static/scripts", "_static/vendor/fontawesome", "_sources/notebooks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "book" / "intro.html").write_text(PAGE)
    (tmp_path / "_static" / "scripts" / "fontawesome.js").write_text("icons")
    (tmp_path / "_static" / "scripts" / "fontawesome.js.map").write_text("map")
    (tmp_path / "_static" / "theme.css").write_text(".bd-article { top: 0 } .unused { top: 0 }")
    (tmp_path / "_static" / "book.css").write_text(".unused { top: 0 }")
    cell = new_code_cell("1 + 1", outputs=[new_output("stream", text="2")], execution_count=1)
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "_sources" / "notebooks" / "a.ipynb")
    return tmp_path


def test_a_site_is_cut_down_to_what_is_used(site: Path) -> None:
    finish(site, "Where Words Look")
    assert not list((site / "_static" / "scripts").iterdir())
    assert not (site / "_static" / "vendor" / "fontawesome").exists()
    assert "unused" not in (site / "_static" / "theme.css").read_text()
    assert "bd-article" in (site / "_static" / "theme.css").read_text()
    assert "unused" in (site / "_static" / "book.css").read_text()  # our own is as it is
    source = nbformat.read(site / "_sources" / "notebooks" / "a.ipynb", as_version=4)
    assert source.cells[0].source == "1 + 1"
    assert not source.cells[0].outputs
    assert source.cells[0].execution_count is None


def test_the_index_leads_to_the_cover_and_is_described(site: Path) -> None:
    finish(site, "Where Words Look")
    index = (site / "index.html").read_text()
    assert 'content="0; url=book/intro.html"' in index
    assert '<a href="book/intro.html">Where Words Look</a>' in index
    assert 'name="description" content="Every word attends' in index
    assert 'property="og:title"' in index
