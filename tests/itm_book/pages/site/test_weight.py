"""The weight of a site: its pages, what they share, and the whole."""

from __future__ import annotations

from pathlib import Path

from itm_book.pages.site.weight import LIMITS, Weight, weigh


def write(path: Path, size: int = 0, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "x" * size, encoding="utf-8")
    return path


def test_a_page_weighs_its_text_and_pictures_and_what_is_shared_is_apart(tmp_path: Path) -> None:
    page = (
        '<link rel="stylesheet" href="../_static/a.css?v=1" /><link rel="next" href="b.html" />'
        '<script src="../_static/a.js"></script><script src="https://x.org/far.js"></script>'
        '<img src="../_images/a.webp" alt="">' * 2
    )
    write(tmp_path / "book" / "a.html", text=page)
    write(tmp_path / "book" / "b.html", text="small")
    write(tmp_path / "_static" / "a.css", 1000)
    write(tmp_path / "_static" / "a.js", 200)
    write(tmp_path / "_static" / "unused.js", 7)
    write(tmp_path / "_images" / "a.webp", 30)
    weight = weigh(tmp_path)
    assert weight.pages == {"book/a.html": len(page) + 30, "book/b.html": 5}
    assert weight.shared == 1200
    assert weight.site == len(page) + 30 + 5 + 1200 + 7
    assert weight.heaviest() == ("book/a.html", len(page) + 30)
    assert "book/a.html" in weight.line()
    assert not weight.excess()


def test_what_is_too_heavy_is_named() -> None:
    pages = {"book/a.html": LIMITS["page"] + 1, "book/b.html": 1}
    excess = Weight(pages, LIMITS["shared"] + 1, LIMITS["site"] + 1).excess()
    assert [line.partition(":")[0] for line in excess] == [
        "book/a.html",
        "shared files",
        "the whole site",
    ]
