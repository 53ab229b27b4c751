"""``itm data make``: region features of photographs.

Page: "From photographs to features".
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from itm_core import option_types
from itm_core.command_parser import Commands, add_command, add_data, add_device
from itm_core.parallel import cores

if TYPE_CHECKING:
    from itm_book.photographs.backbones import Backbone
    from itm_book.photographs.picture_sources import Source
    from itm_book.regions.region_boxes import Boxes

FLICKR8K = "flickr8k"


def add(commands: Commands) -> None:
    """Add ``make`` to the commands of ``itm data``."""
    command = add_command(
        commands,
        "make",
        "make region features of photographs, in the SCAN layout",
        _make,
        "itm data make flickr8k",
        "itm data make my-photographs --captions train=captions.json --workers 2",
    )
    command.add_argument(
        "what", metavar="WHAT", help=f"{FLICKR8K}, a folder of photographs, or a dataset with them"
    )
    command.add_argument(
        "--out",
        type=option_types.path,
        metavar="DEST",
        help="to write; default: data/<name>-regions",
    )
    command.add_argument(
        "--backbone",
        default="efficientnet-lite2",
        help="colour, a model's folder, or its name; default: efficientnet-lite2",
    )
    command.add_argument(
        "--boxes",
        default="own",
        help="own (of the dataset; of photographs: scored, with efficientnet-lite2, or grid), "
        "scored, grid, detector:MODEL, FILE",
    )
    command.add_argument(
        "--captions",
        action="append",
        default=[],
        metavar="[SPLIT=]FILE",
        help="captions of a folder of photographs; repeatable; optional for a search",
    )
    command.add_argument(
        "--side",
        type=option_types.whole(most=10_000),
        metavar="N",
        help="pixels of the longer side; default: 448 or 320",
    )
    add_device(command)
    command.add_argument(
        "--skip-damaged", action="store_true", help="leave out photographs that cannot be read"
    )
    command.add_argument(
        "--workers",
        type=option_types.processes,
        metavar="N",
        help="processes; default: one for each core, 1 on a GPU",
    )
    command.add_argument("--download", action="store_true", help="download a missing model")
    add_data(command)


def _make(options: argparse.Namespace) -> int:
    from itm_book.photographs.backbones import open_backbone
    from itm_book.photographs.region_features import Task, make_features

    sources = _sources(options)
    backbone = open_backbone(
        options.backbone, side=options.side, device=options.device, download=options.download
    )
    task = Task(sources=sources, backbone=backbone, boxes=_boxes(options, sources, backbone))
    folder = options.out or options.data / f"{Path(options.what).resolve().name}-regions"
    workers = _workers(options)
    features = make_features(task, folder, skip_damaged=options.skip_damaged, workers=workers)
    print("\n".join([*features.lines(), str(features.folder)]))
    return 0


def _workers(options: argparse.Namespace) -> int:
    """Return the number of processes."""
    from itm_core.environment import pick_device

    if options.workers is not None:
        return options.workers
    return cores() if pick_device(options.device).type == "cpu" else 1


def _sources(options: argparse.Namespace) -> list[Source]:
    from itm_book.photographs import picture_sources
    from itm_core.errors import InputError
    from itm_core.files import unique_keys

    folder = Path(options.what)
    has_captions = options.what == FLICKR8K or any(folder.glob("*_ims.npy"))
    if options.captions and has_captions:
        raise InputError(
            "--captions are of a folder of photographs",
            found=f"{options.what}, which has its own",
            remedy="leave them out",
        )
    if options.what == FLICKR8K:
        return picture_sources.of_flickr8k(options.data / FLICKR8K)
    if not folder.is_dir():
        expected = f"{FLICKR8K}, or a folder"
        raise InputError("unknown source of photographs", expected=expected, found=options.what)
    if has_captions:
        return picture_sources.of_dataset(folder)
    parts = (argument.partition("=") for argument in options.captions)
    by_split = ((a, Path(b)) if equals else (None, Path(a)) for a, equals, b in parts)
    captions = unique_keys(by_split, None, what="--captions", remedy="give one file for each split")
    return picture_sources.of_folder(folder, captions)


def _boxes(options: argparse.Namespace, sources: list[Source], backbone: Backbone) -> Boxes | None:
    from itm_book.regions.box_scorer import scorer_for
    from itm_book.regions.region_boxes import BoxFile, Grid

    if options.boxes == "own":
        with_boxes = any(source.boxes is not None for source in sources)
        return None if with_boxes else scorer_for(backbone, default=True)
    if options.boxes == "scored":
        return scorer_for(backbone)
    if options.boxes == "grid":
        return Grid()
    kind, colon, model = options.boxes.partition(":")
    if colon and kind == "detector":
        from itm_book.photographs.detector import Detector

        return Detector(model, device=options.device, download=options.download)
    return BoxFile(Path(options.boxes), [(source.split, source.ids) for source in sources])
