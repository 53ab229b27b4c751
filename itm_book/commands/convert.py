"""``itm data convert``, ``entities`` and ``coverage``: external features and annotations.

Page: "How to use it three ways", "Your own data"; "The data".
"""

from __future__ import annotations

import argparse
from pathlib import Path

from itm_core import option_types

ENTITIES = Path("data/flickr30k-entities")


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``convert``, ``entities`` and ``coverage`` to the commands of ``itm data``."""
    command = commands.add_parser(
        "convert", help="convert region features (.tsv, .npz, .npy, .h5, LMDB) to the SCAN layout"
    )
    command.add_argument(
        "source",
        type=option_types.path,
        help="a .tsv or .h5, an LMDB, or a folder of .tsv, .tsv.0, .npz, .npy",
    )
    command.add_argument(
        "folder", type=option_types.path, metavar="DEST", help="the dataset to write"
    )
    command.add_argument(
        "--captions",
        type=option_types.path,
        required=True,
        metavar="FILE",
        help="Karpathy's, COCO's or BLIP's .json, a .csv, or lines of name.jpg#0<TAB>caption",
    )
    command.add_argument(
        "--captions-per-image",
        type=option_types.whole(),
        metavar="N",
        help="take the first N of each image (5: the SCAN release of MSCOCO); default: all",
    )
    command.add_argument(
        "--boxes",
        type=option_types.path,
        metavar="PATH",
        help="boxes of features that have none: a folder of .npy, or a .tsv",
    )
    command.add_argument(
        "--regions",
        type=option_types.whole(),
        metavar="N",
        help="keep the first N regions of an image, in the order of the source; default: all",
    )
    command.add_argument("--split", help="train, dev or test, if the caption file has no splits")
    command.set_defaults(run=_convert)
    command = commands.add_parser(
        "entities", help="write the boxes that words refer to, from Flickr30K Entities"
    )
    command.add_argument(
        "folder", type=option_types.path, metavar="DATASET", help="in the SCAN layout"
    )
    add_annotations(command)
    command.add_argument("--split", action="append", help="repeatable; default: train, dev, test")
    command.add_argument("--words", default="heads", help="heads (of phrases) or phrases")
    command.add_argument(
        "--strict", action="store_true", help="refuse photographs without annotation"
    )
    command.set_defaults(run=_entities)
    command = commands.add_parser(
        "coverage", help="the share of the boxes of phrases that the regions of a dataset cover"
    )
    command.add_argument(
        "folder", type=option_types.path, metavar="DATASET", help="with words, see `entities`"
    )
    command.add_argument("--split", default="test", help="default: test")
    command.add_argument(
        "--iou", type=option_types.fraction, default=0.5, help="least IoU; default: 0.5"
    )
    command.set_defaults(run=_coverage)


def add_annotations(command: argparse.ArgumentParser) -> None:
    """Add ``--annotations``, the folder of Flickr30K Entities, to a command."""
    command.add_argument(
        "--annotations",
        type=option_types.path,
        default=ENTITIES,
        metavar="FOLDER",
        help=f"the folder of Entities; default: {ENTITIES}",
    )


def _convert(options: argparse.Namespace) -> int:
    from itm_book.datasets.convert import convert

    converted = convert(
        options.source,
        options.folder,
        options.captions,
        split=options.split,
        per_image=options.captions_per_image,
        boxes=options.boxes,
        regions=options.regions,
    )
    print("\n".join([*converted.lines(), str(converted.folder)]))
    return 0


def _entities(options: argparse.Namespace) -> int:
    from itm_book.datasets.entities import write_annotations

    annotations = write_annotations(
        options.folder,
        options.annotations,
        splits=options.split,
        words=options.words,
        strict=options.strict,
    )
    print("\n".join(annotations.lines()))
    return 0


def _coverage(options: argparse.Namespace) -> int:
    from itm_book.regions.coverage import coverage
    from itm_core.data.dataset import load_split

    table = coverage(load_split(options.folder, options.split), options.iou)
    shares = list(table.columns[1:3])
    table[shares] *= 100
    formats = dict.fromkeys(shares, "{:.1f} %".format) | {"relevant regions": "{:.2f}".format}
    print(table.reset_index().to_string(index=False, formatters=formats, na_rep="-"))
    return 0
