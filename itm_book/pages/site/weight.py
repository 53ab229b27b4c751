"""How heavy the built site is: each page, what pages share, and all of it.

A page weighs what it alone brings: its text and the pictures that it shows. What several pages
load (styles, scripts) is counted once, apart; fonts and what a script loads later are not counted
here, the tests in a browser count those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LIMITS = {"page": 1_500_000, "shared": 1_000_000, "site": 25_000_000}  # bytes
LOADED = re.compile(
    r'<(?:script|img|source)\b[^>]*?\ssrc="([^"]+)"|<link\b[^>]*?\shref="([^"]+)"[^>]*>'
)
FOLDERS = ("book", "notebooks")  # of the pages that are written for readers


@dataclass(frozen=True)
class Weight:
    """Bytes of a built site.

    Attributes:
        pages: of each page by its address, with the pictures that it shows.
        shared: what the page that loads most of it takes from ``_static/``.
        site: of all files.
    """

    pages: dict[str, int]
    shared: int
    site: int

    def heaviest(self) -> tuple[str, int]:
        """Return address and size of the heaviest page."""
        return max(self.pages.items(), key=lambda page: page[1])

    def line(self) -> str:
        """Return the weight in one line, with the limits."""
        name, size = self.heaviest()
        return (
            f"the site has {_mb(self.site)} (limit {_mb(LIMITS['site'])}); the heaviest page, "
            f"{name}, {_mb(size)} (limit {_mb(LIMITS['page'])}) and shared files of "
            f"{_mb(self.shared)} (limit {_mb(LIMITS['shared'])})"
        )

    def excess(self) -> list[str]:
        """Return a line for each limit that is passed; empty when the site is light enough."""
        pages = ((name, size) for name, size in self.pages.items() if size > LIMITS["page"])
        heavy = [f"{name}: {_mb(size)}" for name, size in pages]
        heavy += [f"shared files: {_mb(self.shared)}"] * (self.shared > LIMITS["shared"])
        return heavy + [f"the whole site: {_mb(self.site)}"] * (self.site > LIMITS["site"])


def weigh(html: Path) -> Weight:
    """Return the weight of the built site in a folder."""
    pages, shared = {}, 0
    for path in reader_pages(html):
        loaded = set(_loaded(html, path))
        own = {file for file in loaded if not _is_shared(html, file)}
        pages[path.relative_to(html).as_posix()] = _size([path, *own])
        shared = max(shared, _size(loaded - own))
    return Weight(pages, shared, _size(path for path in html.rglob("*") if path.is_file()))


def reader_pages(html: Path) -> list[Path]:
    """Return the pages that are written for readers: no index, no source of a module."""
    return sorted(path for folder in FOLDERS for path in (html / folder).rglob("*.html"))


def _loaded(html: Path, page: Path) -> Iterator[Path]:
    """Yield the files of the site that a page's text names as scripts, styles and pictures."""
    text = page.read_text(encoding="utf-8")
    for found in LOADED.finditer(text):
        is_link = found[2] is not None
        if is_link and not re.search(r'rel="(?:stylesheet|preload|icon)"', found[0]):
            continue
        address = (found[1] or found[2]).partition("?")[0].partition("#")[0]
        if ":" not in address and (file := (page.parent / address).resolve()).is_file():
            yield file


def _is_shared(html: Path, file: Path) -> bool:
    return file.relative_to(html.resolve()).parts[0] != "_images"


def _size(paths: Iterator[Path] | list[Path] | set[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
