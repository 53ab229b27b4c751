"""``itm scenes``: make the embedded dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from itm_core import option_types


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``scenes`` to the commands."""
    command = commands.add_parser("scenes", help="make the embedded dataset")
    command.add_argument("--preset", default="full", help="full, small or tiny (default: full)")
    command.add_argument("--seed", type=option_types.seed, default=0)
    command.add_argument("--folder", type=option_types.path, help="default: data/scenes[-PRESET]")
    command.set_defaults(run=_scenes, group="get data")


def _scenes(options: argparse.Namespace) -> int:
    from itm_book.scenes.generate import make_scenes

    suffix = "" if options.preset == "full" else f"-{options.preset}"
    folder = options.folder or Path("data") / f"scenes{suffix}"
    print(make_scenes(folder, preset=options.preset, seed=options.seed))
    return 0
