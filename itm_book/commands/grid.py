"""``itm grid``: list the grids, or run the cells of one."""

from __future__ import annotations

import argparse
from pathlib import Path

from itm_core import option_types


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``grid`` to the commands."""
    command = commands.add_parser("grid", help="list the grids, or run the cells of one")
    command.add_argument("grid", nargs="?", metavar="GRID", help="a name, or a file of your own")
    command.add_argument(
        "--size", default="smoke", help="one of the grid's sizes, which are listed; default: smoke"
    )
    command.add_argument("--rows", nargs="+", metavar="ROW", help="default: all")
    command.add_argument(
        "--seeds", nargs="+", type=option_types.seed, metavar="SEED", help="default: the size's"
    )
    command.add_argument(
        "--workers", type=option_types.workers, help="cells at once; default: one for each core"
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    command.add_argument("--profile", default="local", help="local, slurm, kubernetes or a folder")
    command.add_argument(
        "--data", type=option_types.path, default=Path("data"), help="folder of datasets"
    )
    command.add_argument(
        "--root", type=option_types.path, default=Path("data/runs"), help="the run store"
    )
    command.add_argument("--dry-run", action="store_true", help="show what would be run")
    command.set_defaults(run=_grid, group="train and evaluate")


def _grid(options: argparse.Namespace) -> int:
    from itm_book.records import grids

    if options.grid is None:
        print("\n".join(grids.listing()))
        return 0
    from itm_book.batch import engine, planning
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
