"""``itm scenes``: make the embedded dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from itm_core import option_types
from itm_core.command_parser import Commands, add_command, add_seed


def add(commands: Commands) -> None:
    """Add ``scenes`` to the commands."""
    command = add_command(
        commands,
        "scenes",
        "make the embedded dataset of rendered pictures and captions",
        _scenes,
        "itm scenes --preset small",
        group="get data",
    )
    command.add_argument(
        "--preset",
        default="full",
        help="full (4,000 training pictures), small or tiny; default: full",
    )
    add_seed(command, "what is drawn")
    command.add_argument(
        "--folder",
        type=option_types.path,
        metavar="DIR",
        help="the folder to write; default: data/scenes, or data/scenes-PRESET",
    )


def _scenes(options: argparse.Namespace) -> int:
    from itm_book.scenes.generate import make_scenes

    suffix = "" if options.preset == "full" else f"-{options.preset}"
    folder = options.folder or Path("data") / f"scenes{suffix}"
    print(make_scenes(folder, preset=options.preset, seed=options.seed))
    return 0
