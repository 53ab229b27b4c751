"""``itm book``: run the notebooks and build the book."""

from __future__ import annotations

import argparse

from itm_core import option_types


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``book`` to the commands."""
    command = commands.add_parser("book", help="run the notebooks and build the book")
    command.add_argument(
        "--preset", default="small", help="of Scenes: tiny, small (minutes) or full (hours)"
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    command.add_argument(
        "--workers",
        type=option_types.workers,
        metavar="N",
        help="runs, and notebooks, at once; default: the cores",
    )
    command.add_argument(
        "--pdf", action="store_true", help="print the built book to one PDF, and do nothing else"
    )
    command.set_defaults(run=_book, group="read and record")


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
