"""``itm data extractor``: train what makes regions and features of photographs.

Page: "From photographs to features".
"""

from __future__ import annotations

import argparse
from pathlib import Path

from itm_book.commands.convert import add_annotations
from itm_core import option_types


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``extractor`` to the commands of ``itm data``."""
    command = commands.add_parser(
        "extractor", help="train the box scorer and the projection of region features"
    )
    command.add_argument("out", type=option_types.path, metavar="DEST", help="the folder to write")
    add_annotations(command)
    command.add_argument(
        "--epochs", type=option_types.whole(), help="of the box scorer; default: 4"
    )
    command.add_argument("--seed", type=option_types.seed, help="default: 0")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    command.add_argument(
        "--data", type=option_types.path, default=Path("data"), help="folder of datasets"
    )
    command.set_defaults(run=_extractor)


def _extractor(options: argparse.Namespace) -> int:
    from itm_book.photographs.extractor_training import train_extractor
    from itm_book.photographs.picture_sources import of_flickr8k
    from itm_book.regions.scorer_training import ScorerSettings

    train = next(s for s in of_flickr8k(options.data / "flickr8k") if s.split == "train")
    given = {"epochs": options.epochs, "seed": options.seed}
    changes = {name: value for name, value in given.items() if value is not None}
    settings = ScorerSettings().replace(**changes)
    lines = train_extractor(
        train, options.annotations, options.out, settings, device=options.device
    )
    print("\n".join(lines))
    return 0
