"""``itm grid``: list the grids, or run the cells of one."""

from __future__ import annotations

import argparse

from itm_book.records import grid_list
from itm_book.records.grid_names import grid_names
from itm_core import option_types
from itm_core.command_parser import (
    Commands,
    add_command,
    add_data,
    add_device,
    add_root,
    completed_by,
)


def add(commands: Commands) -> None:
    """Add ``grid`` to the commands."""
    command = add_command(
        commands,
        "grid",
        "list the grids, or run the cells of one",
        _grid,
        "itm grid",
        "itm grid rcar --size smoke --seeds 0 --dry-run",
        group="train and evaluate",
    )
    add_grids(command, "grid", "?")
    command.add_argument(
        "--size", default="smoke", help="one of the grid's sizes, which are listed; default: smoke"
    )
    command.add_argument(
        "--rows", nargs="+", metavar="ROW", help="of the grid, which --dry-run lists; default: all"
    )
    command.add_argument(
        "--seeds",
        nargs="+",
        type=option_types.seed,
        metavar="SEED",
        help="of every row; default: those of the size",
    )
    add_workers(command, "cells")
    add_device(command)
    add_profile(command)
    add_data(command)
    add_root(command)
    command.add_argument("--dry-run", action="store_true", help="show what would be run")


def add_grids(command: argparse.ArgumentParser, dest: str, count: str | None = None) -> None:
    """Add the argument GRID."""
    text = "a name from `itm grid`, or a file of your own (.yml)"
    completed_by(
        command.add_argument(dest, nargs=count, metavar="GRID", help=text),
        lambda _prefix: grid_names(),
    )


def add_workers(command: argparse.ArgumentParser, unit: str) -> None:
    """Add ``--workers``: how many jobs of a batch run at once."""
    command.add_argument(
        "--workers",
        type=option_types.workers,
        metavar="N",
        help=f"{unit} at once; default: one for each GPU, on a CPU one for each core, on a "
        "cluster the jobs of its profile",
    )


def add_profile(command: argparse.ArgumentParser) -> None:
    """Add ``--profile``: where the jobs of a batch run."""
    command.add_argument(
        "--profile",
        default="local",
        help="where jobs run: local, slurm, kubernetes, or a folder with Snakemake's config.yaml; "
        "default: local",
    )


def _grid(options: argparse.Namespace) -> int:
    if options.grid is None:
        print("\n".join(grid_list.lines()))
        return 0
    from itm_book.batch import engine, planning
    from itm_book.records import grids
    from itm_core.extras import require

    if not options.dry_run:
        require("itm grid", "papermill", "snakemake")
    batch = planning.prepare(
        grids.load(options.grid),
        options.size,
        rows=options.rows,
        seeds=options.seeds,
        data=options.data,
        root=options.root,
        workers=options.workers,
        device=options.device,
        profile=options.profile,
        make_data=not options.dry_run,
    )
    if options.dry_run:
        print("\n".join(batch.lines()))
        return 0
    report = engine.run(batch)
    print("\n".join(report.lines()))
    return 1 if report.failed else 0
