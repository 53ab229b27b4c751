"""``itm results``: what came out of runs, recorded in ``data/results/``.

Page: "Batches"; "Real photographs".
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``results`` to the commands."""
    outer = commands.add_parser("results", help="record results of runs in data/results/")
    inner = outer.add_subparsers(required=True, metavar="COMMAND")
    command = inner.add_parser(
        "export", help="record the finished runs of grids, in the place of older ones"
    )
    command.add_argument(
        "grids", nargs="*", metavar="GRID", help="default: all whose dataset is there"
    )
    command.add_argument("--record", type=Path, help="default: data/results/runs.csv")
    command.set_defaults(run=_export)
    _add_places(command)
    command = inner.add_parser(
        "judge", help="record how far the runs of a grid order pairs as people do"
    )
    command.add_argument("grid", metavar="GRID")
    command.add_argument(
        "--annotations",
        type=Path,
        required=True,
        metavar="FILE",
        help="Flickr8k's ExpertAnnotations.txt, or its .gz",
    )
    command.add_argument("--over", default="", metavar="ROW", help="default: the first of the grid")
    command.add_argument("--record", type=Path, help="default: data/results/judgements.csv")
    command.set_defaults(run=_judge)
    _add_places(command)


def _add_places(command: argparse.ArgumentParser) -> None:
    command.add_argument("--size", default="smoke", help="smoke, full or photographs")
    command.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")
    command.add_argument("--root", type=Path, default=Path("data/runs"), help="the run store")


def _export(given: argparse.Namespace) -> int:
    from itm_book.records import grids, results
    from itm_core.environment import current_commit, require_committed

    record = given.record or results.RECORD
    require_committed(current_commit())  # which averages ensembles, whatever made the runs
    every: list[results.Result] = []
    said = []
    for name in given.grids or grids.names():
        grid = grids.load(name)
        folder = given.data / grid.size(given.size).dataset
        if not given.grids and not folder.exists():
            print(f"{grid.name}: left out, {folder} is not there")
            continue
        found = results.present(grid, given.size, data=given.data, root=given.root)
        here = [result for group in found.values() for result in group]
        count = len(grid.cells(given.size))
        said.append(f"{grid.name}: {len(here)} results, of {count} runs and ensembles")
        every += here
    results.export(every, record)
    last = f"recorded in {record}" if every else "nothing was recorded: none of these runs is there"
    print("\n".join([*said, last]))
    return 0


def _judge(given: argparse.Namespace) -> int:
    from itm_book.chapters.photographs import tables as judgements
    from itm_book.records import grids
    from itm_core.environment import current_commit, require_committed

    grid, record = grids.load(given.grid), given.record or judgements.RECORD
    require_committed(current_commit())  # which computes the agreement, whatever made the runs
    lines = judgements.judge(
        grid, given.size, given.annotations, data=given.data, root=given.root, over=given.over
    )
    print(f"{grid.name}: {judgements.export(lines, record)} runs and ensembles judged")
    print(f"recorded in {record}")
    return 0
