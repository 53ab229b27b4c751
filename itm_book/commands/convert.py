"""``itm data convert`` and ``itm data entities``: external features and annotations.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

import argparse
from pathlib import Path

ENTITIES = Path("data/flickr30k-entities")


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
    command.add_argument("--split", help="train, dev or test, if the caption file has no splits")
    command.set_defaults(run=_convert)
    command = commands.add_parser(
        "entities", help="write the boxes that words refer to, from Flickr30K Entities"
    )
    command.add_argument("folder", type=Path, metavar="DATASET", help="in the SCAN layout")
    command.add_argument(
        "--annotations",
        type=Path,
        default=ENTITIES,
        metavar="FOLDER",
        help=f"the folder of Entities; default: {ENTITIES}",
    )
    command.add_argument("--split", action="append", help="repeatable; default: train, dev, test")
    command.add_argument("--words", default="heads", help="heads (of phrases) or phrases")
    command.add_argument(
        "--strict", action="store_true", help="refuse photographs without annotation"
    )
    command.set_defaults(run=_entities)


def _convert(options: argparse.Namespace) -> int:
    from itm_book.datasets.convert import convert

    converted = convert(options.source, options.folder, options.captions, split=options.split)
    print("\n".join([*converted.lines(), str(converted.folder)]))
    return 0


def _entities(options: argparse.Namespace) -> int:
    from itm_book.datasets.entities import write_annotations

    for annotated in write_annotations(
        options.folder,
        options.annotations,
        splits=options.split,
        words=options.words,
        strict=options.strict,
    ):
        print("\n".join(annotated.lines()))
    return 0
