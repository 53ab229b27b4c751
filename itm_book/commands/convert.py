"""``itm data convert``, ``entities`` and ``coverage``: external features and annotations.

Page: "How to use it three ways", "Your own data"; "The data".
"""

from __future__ import annotations

import argparse
from pathlib import Path

from itm_core import option_types
from itm_core.command_parser import Commands, add_command

ENTITIES = Path("data/flickr30k-entities")


def add(commands: Commands) -> None:
    """Add ``convert``, ``entities`` and ``coverage`` to the commands of ``itm data``."""
    command = add_command(
        commands,
        "convert",
        "convert region features (.tsv, .npz, .npy, .h5, LMDB) to the SCAN layout",
        _convert,
        "itm data convert trainval_resnet101.tsv data/coco --captions dataset_coco.json",
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
        help="Karpathy's, COCO's or BLIP's .json, .jsonl, .csv, or lines of name.jpg#0<TAB>caption",
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
    command = add_command(
        commands,
        "entities",
        "write the boxes that words refer to, from Flickr30K Entities",
        _entities,
        "itm data entities data/flickr8k-regions --split test",
    )
    command.add_argument(
        "folder", type=option_types.path, metavar="DATASET", help="a folder in the SCAN layout"
    )
    add_annotations(command)
    command.add_argument("--split", action="append", help="repeatable; default: train, dev, test")
    command.add_argument(
        "--words", default="heads", help="heads (of phrases) or phrases; default: heads"
    )
    command.add_argument(
        "--strict", action="store_true", help="refuse photographs without annotation"
    )
    command = add_command(
        commands,
        "coverage",
        "measure the share of the boxes of phrases that the regions of a dataset cover",
        _coverage,
        "itm data coverage data/flickr8k-regions --split test --iou 0.5",
    )
    command.add_argument(
        "folder",
        type=option_types.path,
        metavar="DATASET",
        help="with the files of itm data entities",
    )
    command.add_argument("--split", default="test", help="train, dev or test; default: test")
    command.add_argument(
        "--iou",
        type=option_types.fraction,
        default=0.5,
        metavar="X",
        help="the least IoU that counts as covered; default: 0.5",
    )


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
