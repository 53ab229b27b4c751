"""The last step of a build: what Jupyter Book wrote, made light and fit to be found.

Sources lose their outputs, pictures become WebP, the theme's style sheets and icons are cut down to
what is used, and every page gets a description. The pages stay readable from disk, without a
network, and without JavaScript.
"""

from __future__ import annotations

import re
import shutil
from html import escape, unescape
from pathlib import Path

import nbformat

from itm_book.pages.site.pictures import Sizes, shrink_pictures, with_pictures
from itm_book.pages.site.styles import names_in, used_rules, with_used_icons

ICONS = Path("_static", "vendor", "fontawesome")
OWN_STYLES = {"book.css", "katex.min.css"}
START = Path("book", "intro.html")
LONGEST = 200  # characters of a description
# What the theme loads and no page here needs: icons as a script, fonts ahead of their use, and the
# index of the search on pages other than the search's.
SCRIPTS = r'\s*<script\b[^>]*\ssrc="[^"]*(?:{names})[^"]*"[^>]*></script>'
ICON_SCRIPT = re.compile(SCRIPTS.format(names=r"scripts/fontawesome\.js"))
SEARCH_SCRIPTS = re.compile(
    SCRIPTS.format(names=r"searchtools\.js|language_data\.js|searchindex\.js")
)
FONTS = re.compile(r'\s*<link\b[^>]*\sas="font"[^>]*>')
LISTINGS = "_modules"  # the folder of the pages with the code of each module
# Half of the elements in a listing colour names, operators and numbers: those stay without one.
PLAIN_CODE = re.compile(
    r'<span class="(?:n|o|p|w|nn|nb|bp|fm|vm|nd|si|mi|mf|ow|kc|kn|sa)">([^<]*)</span>'
)
DOCSTRINGS = Path("book", "code")  # the folder of the pages of a package's docstrings
UNBROKEN_NAME = re.compile(r'<span class="pre">([^<]*)</span>')  # names may break there
UNBROKEN = re.compile(r"(<pre\b.*?</pre>|<script\b.*?</script>)", re.DOTALL)
# Markup of Sphinx and its themes that a screen reader reads wrongly.
REPAIRS = {
    '<div role="list" class="citation-list">': '<div class="citation-list">',
    ' role="doc-biblioentry"': "",
    '<summary aria-label="Toggle hidden content">': "<summary>",  # its text names it
    '<th class="head"><p></p></th>': '<td class="head"></td>',
}
MORE_PAGES = re.compile(r"(>([^<>]+)</a><details[^>]*>)<summary>")
PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
HEADING = re.compile(r"<h1>(.*?)<a class=\"headerlink\"", re.DOTALL)


def finish(html: Path, title: str) -> None:
    """Make the pages of a built site light, and name and describe each of them.

    Args:
        html: the folder that Jupyter Book wrote.
        title: of the book.
    """
    for path in html.rglob("*.map"):
        path.unlink()
    shutil.rmtree(html / "_static" / "locales", ignore_errors=True)  # the theme's, read by Sphinx
    for path in (html / "_sources").rglob("*.ipynb"):
        _strip_outputs(path)
    sizes = shrink_pictures(html)
    pages = sorted(html.rglob("*.html"))
    for path in pages:
        text = path.read_text(encoding="utf-8")
        is_search = path == html / "search.html"
        text = finished(text, sizes, title, search=is_search)
        if path.is_relative_to(html / LISTINGS):
            text = without_indents(text)
        elif path.is_relative_to(html / DOCSTRINGS):
            text = UNBROKEN_NAME.sub(r"\1", text)
        path.write_text(text, encoding="utf-8")
    _write_index(html, title)
    _cut_styles(html, pages)


def _strip_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, path)


def finished(page: str, sizes: Sizes, title: str, *, search: bool = False) -> str:
    """Return a page without what it need not load, with its description and its landmarks.

    ``search``: this is the page of the search, which needs the index.
    """
    page = PLAIN_CODE.sub(r"\1", FONTS.sub("", ICON_SCRIPT.sub("", page)))
    page = page if search else SEARCH_SCRIPTS.sub("", page)
    page = with_landmarks(with_pictures(page, sizes))
    return page.replace("</head>", f"{meta_of(page, title)}</head>", 1)


def without_indents(page: str) -> str:
    """Return a page without blank lines and indents, but for its code and scripts.

    >>> without_indents("<p>\\n\\n  a\\n</p><pre>\\n  b</pre>")
    '<p>\\na\\n</p><pre>\\n  b</pre>'
    """
    parts = UNBROKEN.split(page)  # every second one is kept as it is
    parts[::2] = [re.sub(r"\n\s+", "\n", part) for part in parts[::2]]
    return "".join(parts)


def with_landmarks(page: str) -> str:
    """Return a page whose side bar is a landmark, whose buttons are named and lists are lists."""
    page = page.replace(
        '<div id="pst-primary-sidebar" ',
        '<div id="pst-primary-sidebar" role="complementary" aria-label="Side bar" ',
    )
    for markup, better in REPAIRS.items():
        page = page.replace(markup, better)
    page = MORE_PAGES.sub(r'\1<summary aria-label="Pages of \2">', page)
    return re.sub(r'(<button class="btn search-button-field[^>]*?) aria-label="[^"]*"', r"\1", page)


def meta_of(page: str, title: str) -> str:
    """Return the elements that say to search engines and in previews what a page is about.

    The description is the first paragraph with more than a few words.
    """
    article = page.partition("<article")[2]
    heading = HEADING.search(article)
    name = _plain(heading[1]) if heading else title
    paragraphs = (_plain(text) for text in PARAGRAPH.findall(article))
    description = next((text for text in paragraphs if len(text.split()) > 8), "")
    return _meta(name if name == title else f"{name}, {title}", description)


def _meta(name: str, description: str) -> str:
    lines = {"og:type": "article", "og:title": name, "og:description": description}
    meta = [f'<meta name="description" content="{escape(_short(description))}" />']
    meta += [
        f'<meta property="{key}" content="{escape(_short(text))}" />' for key, text in lines.items()
    ]
    return "".join(f"    {line}\n" for line in (meta if description else meta[1:3]))


def _plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())


def _short(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST].rpartition(' ')[0]} …"


def _write_index(html: Path, title: str) -> None:
    """Write the first page, which leads to the start of the book."""
    start = START.as_posix()
    meta = meta_of((html / START).read_text(encoding="utf-8"), title)
    (html / "index.html").write_text(
        '<!doctype html>\n<html lang="en">\n  <head>\n    <meta charset="utf-8" />\n'
        f"    <title>{escape(title)}</title>\n{meta}"
        f'    <meta http-equiv="refresh" content="0; url={start}" />\n'
        f'  </head>\n  <body><p><a href="{start}">{escape(title)}</a></p></body>\n</html>\n',
        encoding="utf-8",
    )


def _cut_styles(html: Path, pages: list[Path]) -> None:
    scripts = [path for path in (html / "_static").rglob("*.js") if "vendor" not in path.parts]
    names = names_in(path.read_text(encoding="utf-8") for path in [*pages, *scripts])
    for path in (html / "_static").rglob("*.css"):
        if path.name in OWN_STYLES:
            continue
        css = used_rules(path.read_text(encoding="utf-8"), names)
        path.write_text(with_used_icons(css, html / ICONS / "webfonts"), encoding="utf-8")
    shutil.rmtree(html / ICONS, ignore_errors=True)
    (html / "_static" / "scripts" / "fontawesome.js").unlink(missing_ok=True)
