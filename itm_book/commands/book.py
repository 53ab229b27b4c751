"""``itm book``: run the notebooks and build the book."""

from __future__ import annotations

import argparse

from itm_core import option_types
from itm_core.command_parser import Commands, add_command, add_device


def add(commands: Commands) -> None:
    """Add ``book`` to the commands."""
    command = add_command(
        commands,
        "book",
        "make the data, run the notebooks and build the book",
        _book,
        "itm book",
        "itm book --preset tiny --workers 1",
        "itm book --pdf",
        group="read and record",
    )
    command.add_argument(
        "--preset",
        default="small",
        help="of Scenes: tiny, small (minutes) or full (hours); default: small",
    )
    add_device(command)
    command.add_argument(
        "--workers",
        type=option_types.workers,
        metavar="N",
        help="runs, and notebooks, at once; default: the cores",
    )
    command.add_argument(
        "--pdf", action="store_true", help="print the built book to one PDF, and do nothing else"
    )


def _book(options: argparse.Namespace) -> int:
    from itm_book.pages.clone import find_root
    from itm_core.extras import require

    require("itm book", "jupyter_book", "papermill")
    root = find_root()
    if options.pdf:
        require("itm book --pdf", "playwright", "pypdf")
        from itm_book.pages.pdf import make_pdf

        print(f"open {make_pdf(root)}")
        return 0
    from itm_book.pages.building import make_book

    page = make_book(options.preset, device=options.device, workers=options.workers, root=root)
    print(f"open {page}")
    return 0
