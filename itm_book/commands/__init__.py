"""The commands of ``itm`` that this package adds."""

from __future__ import annotations

import argparse

from itm_book.commands import authors, bench, book, data, grid, results, scenes, score, search


def add(commands: argparse._SubParsersAction) -> None:
    """Add them to the commands of `itm_core`; what each needs is imported when it runs."""
    for command in (scenes, score, results, grid, authors, book, data, bench, search):
        command.add(commands)
