"""``itm data make``: photographs into region features.

Page: "The data".
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itm_book.photographs.picture_sources import Source
    from itm_book.photographs.region_boxes import Boxes

FLICKR8K = "flickr8k"


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``make`` to the commands of ``itm data``."""
    command = commands.add_parser(
        "make", help="make region features of photographs, in the SCAN layout"
    )
    command.add_argument(
        "what", metavar="WHAT", help=f"{FLICKR8K}, a folder of photographs, or a dataset with them"
    )
    command.add_argument("--out", type=Path, metavar="DEST", help="default: data/<name>-regions")
    command.add_argument(
        "--backbone", help="colour, a model's folder, or its name; default: data/resnet-50"
    )
    command.add_argument("--boxes", default="own", help="own (or grid), grid, detector:MODEL, FILE")
    command.add_argument(
        "--captions",
        action="append",
        default=[],
        metavar="[SPLIT=]FILE",
        help="of a folder of photographs; repeatable; without them it can be searched",
    )
    command.add_argument("--side", type=int, help="pixels of the longer side; default: 320")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    command.add_argument(
        "--skip-damaged", action="store_true", help="leave out photographs that cannot be read"
    )
    command.add_argument("--download", action="store_true", help="fetch the model if need be")
    command.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")
    command.set_defaults(run=_make)


def _make(given: argparse.Namespace) -> int:
    from itm_book.photographs.backbones import SIDE, open_backbone
    from itm_book.photographs.region_features import Task, make_features

    default = "microsoft/resnet-50" if given.download else str(given.data / "resnet-50")
    name = given.backbone or default
    sources = _sources(given)
    side = SIDE if given.side is None else given.side
    backbone = open_backbone(name, side=side, device=given.device, download=given.download)
    task = Task(sources=sources, backbone=backbone, boxes=_boxes(given, sources))
    folder = given.out or given.data / f"{Path(given.what).resolve().name}-regions"
    done = make_features(task, folder, skip_damaged=given.skip_damaged)
    print("\n".join([*done.lines(), str(done.folder)]))
    return 0


def _sources(given: argparse.Namespace) -> list[Source]:
    from itm_book.photographs import picture_sources
    from itm_core.errors import InputError
    from itm_core.files import unique_keys

    if given.what == FLICKR8K:
        return picture_sources.of_flickr8k(given.data / FLICKR8K)
    folder = Path(given.what)
    if not folder.is_dir():
        expected = f"{FLICKR8K}, or a folder"
        raise InputError("nothing of this name to make", expected=expected, found=given.what)
    if any(folder.glob("*_ims.npy")):
        return picture_sources.of_dataset(folder)
    parts = (said.partition("=") for said in given.captions)
    named = ((a, Path(b)) if equals else (None, Path(a)) for a, equals, b in parts)
    captions = unique_keys(named, None, what="--captions", remedy="give one file for each split")
    return picture_sources.of_folder(folder, captions)


def _boxes(given: argparse.Namespace, sources: list[Source]) -> Boxes | None:
    from itm_book.photographs.region_boxes import BoxFile, Grid

    if given.boxes == "own":
        return None
    if given.boxes == "grid":
        return Grid()
    kind, colon, model = given.boxes.partition(":")
    if colon and kind == "detector":
        from itm_book.photographs.detector import Detector

        return Detector(model, device=given.device, download=given.download)
    return BoxFile(Path(given.boxes), [(source.split, source.ids) for source in sources])
