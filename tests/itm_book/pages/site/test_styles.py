"""Style sheets keep the rules that a page could need, and icons the glyphs that they name."""

from __future__ import annotations

import base64
import re
from io import BytesIO
from pathlib import Path

import pydata_sphinx_theme
import pytest
from fontTools.ttLib import TTFont

from itm_book.pages.site.styles import names_in, used_rules, with_used_icons

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"


@pytest.mark.parametrize(
    ("css", "kept"),
    [
        (".card { top: 0 }", ""),
        (".btn { top: 0 }", ".btn { top: 0 }"),
        (".btn, .card { top: 0 }", ".btn { top: 0 }"),
        (".btn .card { top: 0 }", ""),
        ("a:hover { top: 0 }", "a:hover { top: 0 }"),
        (".btn:not(.card) { top: 0 }", ".btn:not(.card) { top: 0 }"),
        (":is(.card, .btn) b { top: 0 }", ":is(.card, .btn) b { top: 0 }"),
        ("@media print{.card { top: 0 }.btn { top: 0 }}", "@media print{.btn { top: 0 }}"),
        ("@media print{.card { top: 0 }}", ""),
        ("@font-face{font-family:F}", "@font-face{font-family:F}"),
        ("@keyframes a{0%{top:0}}", "@keyframes a{0%{top:0}}"),
        ('@charset "utf-8";', '@charset "utf-8";'),
        ("/* a note */.btn::after { content: '.card' }", ".btn::after { content: '.card' }"),
    ],
)
def test_a_rule_is_kept_where_one_of_its_selectors_can_apply(css: str, kept: str) -> None:
    found = used_rules(css, {"btn"})
    assert re.sub(r"[\s\"']", "", found) == re.sub(r"[\s\"']", "", kept)


def test_names_of_classes_are_found_in_pages_and_scripts() -> None:
    texts = ['<p class="one two-three">', 'root.classList.add("is_open")']
    assert {"one", "two-three", "is_open"} <= names_in(texts)


def test_icons_are_in_the_style_sheet_and_only_those_that_it_names() -> None:
    css = (THEME / "styles" / "pydata-sphinx-theme.css").read_text(encoding="utf-8")
    used = used_rules(css, {"fa-solid", "fa-sun", "fa-moon", "btn"})
    small = with_used_icons(used, THEME / "vendor" / "fontawesome" / "webfonts")
    assert "webfonts" not in small
    assert len(small) < len(css) / 3
    fonts = re.findall(r"base64,([^\"]+)\"", small)
    assert len(fonts) == 3  # solid, regular, brands
    solid = TTFont(BytesIO(base64.b64decode(fonts[0])))
    assert {0xF185, 0xF186} <= set(solid.getBestCmap())  # sun and moon
    assert 0xF0F4 not in solid.getBestCmap()  # a cup of coffee
    assert max(map(len, fonts)) < 30_000
