"""The book as a PDF: pages in the order of the contents, links that stay in the file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from itm_book.pages import pdf
from itm_book.pages.clone import home_of
from itm_core.errors import InputError

TOC = "format: jb-book\nroot: book/intro\nchapters:\n- file: notebooks/scan\n- file: book/task\n"
CONFIG = "title: A book of <two>\nauthor: Nobody\ncopyright: '2026'\n"


def page(title: str, body: str) -> str:
    return (
        '<!doctype html><meta charset="utf-8"><style>@media print { .screen { display: none } }'
        f'</style><article><h1>{title}<a href="#x">#</a></h1>{body}</article>'
    )


def write_book(root: Path) -> Path:
    """Return a folder with a built book of three pages, the first of them two sheets long."""
    html = home_of(root) / "_build" / "html"
    for folder in (root / "book", root / "notebooks", html / "book", html / "notebooks"):
        folder.mkdir(parents=True)
    (root / "book" / "_toc.yml").write_text(TOC)
    (root / "_config.yml").write_text(CONFIG)
    links = (
        '<a href="../notebooks/scan.html#far">scan</a> <a href="secret.csv">data</a> '
        '<a href="https://example.org/">out</a> <p class="screen">screen</p>'
        '<p style="break-before: page">second sheet</p>'
    )
    (html / "book" / "intro.html").write_text(page("Cover", links))
    (html / "notebooks" / "scan.html").write_text(page("SCAN", "of regions"))
    (html / "book" / "task.html").write_text(page("The task", "of matching"))
    return root


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        pdf.find_chromium()
    except InputError as error:
        pytest.skip(str(error))
    root = write_book(tmp_path_factory.mktemp("book"))
    with ThreadPoolExecutor(1) as pool:  # in this thread the browser of other tests has its loop
        return pool.submit(pdf.make_pdf, root, progress=False).result()


def test_pages_are_in_order_behind_title_and_contents(printed: Path) -> None:
    from pypdf import PdfReader

    reader = PdfReader(printed)
    texts = [sheet.extract_text() for sheet in reader.pages]
    assert len(texts) == 6
    assert "A book of <two>" in texts[0]
    assert "Contents" in texts[1]
    assert [("Cover" in texts[2]), ("second sheet" in texts[3])] == [True, True]
    assert "of regions" in texts[4]
    assert "of matching" in texts[5]
    assert all("screen" not in text for text in texts)
    assert texts[1].split()[-4:] == ["3", "The", "task", "4"]
    assert [text.split()[-1] for text in texts[2:]] == ["1", "2", "3", "4"]
    assert [item["/Title"] for item in reader.outline] == ["Cover", "SCAN", "The task"]
    assert reader.metadata is not None
    assert reader.metadata.title == "A book of <two>"


def test_links_lead_into_the_file_or_out_to_the_web_and_never_to_this_machine(
    printed: Path,
) -> None:
    from pypdf import PdfReader

    reader = PdfReader(printed)
    links = [note.get_object() for note in reader.pages[2]["/Annots"]]
    addresses = [str(link["/A"]["/URI"]) for link in links if "/A" in link]
    assert addresses == ["https://example.org/"]
    inside = [link["/Dest"][0].get_object() for link in links if "/Dest" in link]
    assert reader.pages[4].get_object() in inside
    assert b"file:" not in printed.read_bytes()


def test_without_a_built_page_or_a_browser_there_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_book(tmp_path)
    monkeypatch.setenv(pdf.VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(InputError, match=r"no Chromium to print with.*nothing.*apt-get install"):
        pdf.make_pdf(root, progress=False)
    (home_of(root) / "_build" / "html" / "book" / "task.html").unlink()
    with pytest.raises(InputError, match=r"has not been built.*itm book builds"):
        pdf.make_pdf(root, progress=False)
