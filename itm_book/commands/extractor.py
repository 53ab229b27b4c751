"""``itm data extractor``: train what makes regions and features of photographs.

Page: "From photographs to features".
"""

from __future__ import annotations

import argparse

from itm_book.commands.convert import add_annotations
from itm_core import option_types
from itm_core.command_parser import Commands, add_command, add_data, add_device


def add(commands: Commands) -> None:
    """Add ``extractor`` to the commands of ``itm data``."""
    command = add_command(
        commands,
        "extractor",
        "train the box scorer and the projection of region features",
        _extractor,
        "itm data extractor data/extractor",
    )
    command.add_argument("out", type=option_types.path, metavar="DEST", help="the folder to write")
    add_annotations(command)
    command.add_argument(
        "--epochs", type=option_types.whole(), metavar="N", help="of the box scorer; default: 4"
    )
    command.add_argument(
        "--seed", type=option_types.seed, metavar="N", help="of the training; default: 0"
    )
    add_device(command)
    add_data(command)


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
