"""The commands of ``itm`` that this package adds."""

from __future__ import annotations

import argparse

from itm_book.commands import (
    authors,
    bench,
    book,
    data,
    gallery,
    grid,
    results,
    scenes,
    score,
    search,
)


def add(commands: argparse._SubParsersAction) -> None:
    """Add the commands of the book to ``itm``; each imports what it needs when it runs."""
    for command in (scenes, data, grid, score, search, gallery, book, results, bench, authors):
        command.add(commands)
