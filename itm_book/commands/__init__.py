"""The commands of ``itm`` that this package adds."""

from __future__ import annotations

from itm_book.commands import (
    authors,
    bench,
    book,
    data,
    gallery,
    grid,
    lab,
    results,
    scenes,
    score,
    search,
)
from itm_core.command_parser import Commands


def add(commands: Commands) -> None:
    """Add the commands of the book to ``itm``; each imports what it needs when it runs."""
    for command in (scenes, data, grid, score, search, gallery, lab, book, results, bench, authors):
        command.add(commands)
