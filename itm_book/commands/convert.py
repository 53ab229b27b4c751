"""What others hand out, made ready for a dataset: ``itm data convert`` and ``itm data entities``.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``convert`` and ``entities`` to the commands of ``itm data``."""
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
    command = commands.add_parser(
        "entities", help="write what words name, from Flickr30K Entities, beside a split"
    )
    command.add_argument("root", type=Path, help="the folder of Entities")
    command.add_argument("folder", type=Path, metavar="DATASET", help="in the SCAN layout")
    command.add_argument("--split", default="test", help="default: test")
    command.add_argument("--words", default="heads", help="heads (of phrases) or phrases")
    command.set_defaults(run=_entities)


def _convert(given: argparse.Namespace) -> int:
    from itm_book.datasets.convert import convert

    done = convert(given.source, given.folder, given.captions, split=given.split)
    print("\n".join([*done.lines(), str(done.folder)]))
    return 0


def _entities(given: argparse.Namespace) -> int:
    from itm_book.datasets.entities import write_truth
    from itm_core.data.dataset import load_split

    counts = write_truth(load_split(given.folder, given.split), given.root, words=given.words)
    print("\n".join(counts.lines()))
    return 0
