"""The book as one PDF: its pages printed by Chromium, in the order of the table of contents.

Chromium prints each page of the built book by the rules of ``book.css`` for paper. The prints are
then joined behind a title page with a table of contents: pages are numbered, links between pages
of the book lead to their place in the file, and links to files that are not in it are removed.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tqdm.auto import tqdm

from itm_book.pages.chapters import pages_of
from itm_book.pages.clone import find_root, home_of
from itm_book.records.yaml_files import read_yaml
from itm_core.errors import InputError
from itm_core.files import whole_file

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from pypdf import PdfReader, PdfWriter

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
VARIABLE = "CHROMIUM"  # the path of the browser, in the place of a search for one
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MARGIN = {"top": "16mm", "bottom": "18mm", "left": "15mm", "right": "15mm"}
PATIENCE_MS = 300_000  # for one page, on a machine that has other work
# Pictures load when they are scrolled to, and nothing scrolls a print; answers are unfolded.
READY = """async () => {
  document.querySelectorAll(".cell details").forEach((part) => (part.open = true));
  document.querySelectorAll("img[loading=lazy]").forEach((img) => (img.loading = "eager"));
  await Promise.all([...document.images].map((img) => img.decode().catch(() => null)));
  await window.equationsDrawn;
  await document.fonts.ready;
}"""
STYLE = (
    "<style>body { font-family: Georgia, serif; color: #22303a; margin: 0 } "
    "h1 { font-size: 30pt; margin: 60mm 0 4mm } h2 { font-size: 14pt; break-before: page } "
    "table { width: 100%; border-collapse: collapse; font-size: 10pt } td { padding: 1mm 0 } "
    "td:last-child { text-align: right }</style>"
)


@dataclass(frozen=True)
class Printed:
    """A page of the book as a PDF.

    Attributes:
        page: its name, such as ``notebooks/rcar``.
        title: its first heading.
        pdf: the document.
    """

    page: str
    title: str
    pdf: bytes


def find_chromium() -> str:
    """Return the path of a Chromium: that of `VARIABLE`, else the first of `NAMES` on the PATH.

    Raises `InputError` when there is none.
    """
    named = os.environ.get(VARIABLE, "")
    candidates = (named,) if named else NAMES
    path = next(filter(None, map(shutil.which, candidates)), None)
    if path is None:
        raise InputError(
            "no Chromium to print with",
            expected=f"a program in the variable {VARIABLE}, or {', '.join(NAMES)} on the PATH",
            found=named or "none of them",
            remedy="install it (Debian, Ubuntu: apt-get install chromium)",
        )
    return path


@contextmanager
def chromium() -> Iterator[Browser]:
    """A Chromium without a window, closed at the end; raises `InputError` when there is none."""
    path = find_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def make_pdf(
    root: Path | str | None = None, *, to: Path | None = None, progress: bool = True
) -> Path:
    """Return the path of the built book as one PDF; by default ``data/book/book.pdf``.

    Raises `InputError` when the book is not built or there is no Chromium.
    """
    root = find_root(root)
    html, names = home_of(root) / "_build" / "html", pages_of(root)
    for name in names:
        if not (html / f"{name}.html").exists():
            raise InputError(
                "a page of the book has not been built",
                file=html / f"{name}.html",
                remedy="itm book builds all of them",
            )
    config = read_yaml(root / "_config.yml")
    with chromium() as browser:
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(PATIENCE_MS)
        page.emulate_media(media="print")
        bar = tqdm(names, desc="printing", unit="page", disable=not progress)
        printed = [_printed(page, html, name) for name in bar]
        whole = _joined(page, printed, html, config)
    path = to or home_of(root) / "book.pdf"
    with whole_file(path) as partial:
        partial.write_bytes(whole)
    return path


def _printed(page: Page, html: Path, name: str) -> Printed:
    page.goto((html / f"{name}.html").resolve().as_uri())
    page.wait_for_load_state("load")
    page.evaluate(READY)
    heading = page.locator("article h1").first.inner_text() if page.locator("h1").count() else name
    return Printed(page=name, title=heading.strip("# \n"), pdf=_pdf(page))


def _pdf(page: Page) -> bytes:
    return page.pdf(format="A4", margin=MARGIN, print_background=True)  # type: ignore[arg-type]


# --- one file ----------------------------------------------------------------------------------


def _joined(page: Page, printed: Sequence[Printed], html: Path, config: Mapping[str, Any]) -> bytes:
    """Return title page, contents and prints as one document."""
    from pypdf import PdfReader, PdfWriter

    readers = [PdfReader(io.BytesIO(one.pdf)) for one in printed]
    counts = [len(reader.pages) for reader in readers]
    starts = [sum(counts[:k]) for k in range(len(counts))]  # the first page of each, from 0
    titles = [one.title for one in printed]
    front = PdfReader(io.BytesIO(_front(page, titles, starts, config)))
    numbers = PdfReader(io.BytesIO(_numbers(page, sum(counts))))
    writer, first = PdfWriter(), len(front.pages)
    for sheet in front.pages:
        writer.add_page(sheet)
    for reader in readers:
        for sheet in reader.pages:
            writer.add_page(sheet)
    for place, number in enumerate(numbers.pages):
        writer.pages[first + place].merge_page(number)
        writer.pages[first + place].compress_content_streams()
    for one, start in zip(printed, starts, strict=True):
        writer.add_outline_item(title=one.title, page_number=first + start)
    places = {
        str((html / f"{one.page}.html").resolve()): first + start
        for one, start in zip(printed, starts, strict=True)
    }
    for reader, start in zip(readers, starts, strict=True):
        _relink(writer, reader, first + start, places)
    writer.add_metadata({"/Title": str(config["title"]), "/Author": str(config["author"])})
    writer.compress_identical_objects()
    whole = io.BytesIO()
    writer.write(whole)
    return whole.getvalue()


def _front(
    page: Page, titles: Sequence[str], starts: Sequence[int], config: Mapping[str, Any]
) -> bytes:
    """Return the title page and the table of contents, with the number of each first page."""
    lines = (
        f"<tr><td>{escape(title)}</td><td>{start + 1}</td></tr>"
        for title, start in zip(titles, starts, strict=True)
    )
    page.set_content(
        f"{STYLE}<h1>{escape(str(config['title']))}</h1><p>{escape(str(config['author']))}, "
        f"{escape(str(config['copyright']))}</p><h2>Contents</h2><table>{''.join(lines)}</table>"
    )
    return _pdf(page)


def _numbers(page: Page, count: int) -> bytes:
    """Return a document of empty pages with their numbers at the foot."""
    sheets = (f'<div class="sheet">{number + 1}</div>' for number in range(count))
    page.set_content(
        "<style>body { margin: 0; font: 9pt Georgia, serif; color: #55606a } .sheet {"
        " height: 296mm; display: flex; align-items: end; justify-content: center;"
        " padding-bottom: 8mm; box-sizing: border-box; break-after: page }"
        " .sheet:last-child { break-after: auto }"
        f"</style>{''.join(sheets)}"
    )
    return page.pdf(format="A4", margin=dict.fromkeys(MARGIN, "0"))  # type: ignore[arg-type]


def _relink(writer: PdfWriter, reader: PdfReader, start: int, places: Mapping[str, int]) -> None:
    """Point the links of one print to pages of the whole document.

    ``start`` is the place of its first page; ``places`` that of the first page of each file. A
    link to another file on this machine is removed.
    """
    from pypdf.generic import ArrayObject, NameObject, NumberObject

    def at(place: int, top: float | None = None) -> ArrayObject:
        height = NumberObject(writer.pages[place].mediabox.top if top is None else top)
        reference = writer.pages[place].indirect_reference
        assert reference is not None
        return ArrayObject(
            [reference, NameObject("/XYZ"), NumberObject(0), height, NumberObject(0)]
        )

    named = reader.named_destinations
    for k in range(len(reader.pages)):
        sheet, kept = writer.pages[start + k], ArrayObject()
        for reference in sheet.get("/Annots", ArrayObject()):
            note = reference.get_object()
            uri = str(note.get("/A", {}).get("/URI", ""))
            if uri.startswith("file:"):
                target = places.get(unquote(urlsplit(uri).path))
                if target is None:
                    continue
                del note["/A"]
                note[NameObject("/Dest")] = at(target)
            elif "/Dest" in note and (found := named.get(str(note["/Dest"]))):
                number = reader.get_destination_page_number(found)
                if number is not None:
                    note[NameObject("/Dest")] = at(start + number, found.top)
            kept.append(reference)
        sheet[NameObject("/Annots")] = kept
