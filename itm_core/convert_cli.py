"""``itm data convert``: bottom-up-attention features into the SCAN layout.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command ``convert`` to those of ``itm data``."""
    command = commands.add_parser(
        "convert", help="convert bottom-up-attention features (.tsv, .npz) to the SCAN layout"
    )
    command.add_argument("source", type=Path, help="a .tsv, or a folder of .tsv or .npz files")
    command.add_argument("folder", type=Path, metavar="DEST", help="the dataset to write")
    command.add_argument(
        "--captions",
        type=Path,
        required=True,
        metavar="FILE",
        help="Karpathy's or COCO's .json, or lines of name.jpg#0<TAB>caption",
    )
    command.add_argument("--split", help="train, dev or test, where the captions don't say it")
    command.set_defaults(run=_convert)


def _convert(given: argparse.Namespace) -> int:
    from itm_core.data.convert import convert

    done = convert(given.source, given.folder, given.captions, split=given.split)
    print("\n".join([*done.lines(), str(done.folder)]))
    return 0
