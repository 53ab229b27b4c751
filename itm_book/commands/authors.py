"""``itm parity`` and ``itm import``: reference numbers and checkpoints of the authors."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from itm_core import option_types
from itm_core.errors import InputError, escaped


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``parity`` and ``import`` to the commands."""
    command = commands.add_parser(
        "parity", help="compare with reference numbers of the authors' implementations"
    )
    command.add_argument("paths", type=option_types.path, nargs="+", metavar="DIR_OR_FILE")
    command.set_defaults(run=_parity, group="use the authors' files")
    command = commands.add_parser("import", help="convert a checkpoint of the authors, safely")
    command.add_argument("checkpoint", type=option_types.path, metavar="CHECKPOINT")
    command.add_argument(
        "--folder", type=option_types.path, help="default: data/imported/<its name>"
    )
    command.add_argument(
        "--vocabulary",
        type=option_types.path,
        metavar="FILE",
        help="of the authors, to be kept with it",
    )
    command.set_defaults(run=_import, group="use the authors' files")


def _parity(options: argparse.Namespace) -> int:
    from itm_book import parity

    reports = [report for path in options.paths for report in parity.compare(path)]
    for report in reports:
        print(report.line())
    counts = Counter(report.verdict for report in reports)
    summary = [f"{counts['ok']} agree", f"{counts['FAIL']} fail", f"{counts['????']} unknown"]
    summary += [f"{counts['skip']} skipped"] if counts["skip"] else []
    print(", ".join(summary))
    failed = counts["FAIL"] + counts["????"]
    return 1 if failed else 0


def _import(options: argparse.Namespace) -> int:
    from itm_book.checkpoints.importing import import_checkpoint

    name = options.checkpoint.name.partition(".")[0]
    if options.folder is None and not name:
        raise InputError(
            "this file's name gives no name for a folder",
            file=options.checkpoint,
            remedy="name the folder with --folder DIR",
        )
    folder = options.folder or Path("data") / "imported" / name
    imported = import_checkpoint(options.checkpoint, folder, vocabulary=options.vocabulary)
    print("\n".join(imported.lines()))
    print(f"imported: {escaped(imported.folder)}")
    print(f"next: itm score {escaped(imported.folder)} DATASET")
    return 0
