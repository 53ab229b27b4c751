"""``itm parity`` and ``itm import``: reference numbers and checkpoints of the authors."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from itm_core import option_types
from itm_core.command_parser import Commands, add_command
from itm_core.errors import InputError, escaped


def add(commands: Commands) -> None:
    """Add ``parity`` and ``import`` to the commands."""
    command = add_command(
        commands,
        "parity",
        "compare with reference numbers of the authors' implementations",
        _parity,
        "itm parity tests/golden",
        group="use the authors' files",
    )
    command.add_argument(
        "paths",
        type=option_types.path,
        nargs="+",
        metavar="DIR_OR_FILE",
        help="files of reference numbers (.npz), or folders of them",
    )
    command = add_command(
        commands,
        "import",
        "convert a checkpoint of the authors, safely",
        _import,
        "itm import model_best.pth.tar --vocabulary f30k_precomp_vocab.json",
        group="use the authors' files",
    )
    command.add_argument(
        "checkpoint",
        type=option_types.path,
        metavar="CHECKPOINT",
        help="a file of the authors' code, such as model_best.pth.tar",
    )
    command.add_argument(
        "--folder",
        type=option_types.path,
        metavar="DIR",
        help="the folder to write; default: data/imported/<its name>",
    )
    command.add_argument(
        "--vocabulary",
        type=option_types.path,
        metavar="FILE",
        help="the authors' vocabulary, which is kept with it",
    )


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
