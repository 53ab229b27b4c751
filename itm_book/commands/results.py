"""``itm results``: results of runs recorded in ``data/results/``, matchers in ``data/models/``.

Page: "Batches"; "Real photographs"; "Your pictures".
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from itm_book.commands.grid import add_grids
from itm_core import option_types
from itm_core.command_parser import Commands, add_command, add_data, add_parts, add_root
from itm_core.errors import InputError

if TYPE_CHECKING:
    from itm_book.records.results import Result


def add(commands: Commands) -> None:
    """Add ``results`` to the commands."""
    inner = add_parts(
        commands,
        "results",
        "record results of runs in data/results/",
        "itm results export rcar --size smoke",
        group="read and record",
    )
    _add_export(inner)
    command = add_command(
        inner,
        "judge",
        "record how far the runs of a grid order pairs as people do",
        _judge,
        "itm results judge flickr8k --size record --annotations ExpertAnnotations.txt",
    )
    add_grids(command, "grid")
    command.add_argument(
        "--annotations",
        type=option_types.path,
        required=True,
        metavar="FILE",
        help="Flickr8k's ExpertAnnotations.txt, or its .gz",
    )
    command.add_argument(
        "--over",
        default="",
        metavar="ROW",
        help="the row that others are compared with; default: the first of the grid",
    )
    _add_record(command, "judgements.csv")
    _add_places(command)
    command = add_command(
        inner,
        "attention",
        "record how well the attention of a grid's runs finds people's boxes",
        _attention,
        "itm results attention flickr8k --size record",
    )
    add_grids(command, "grid")
    _add_record(command, "attention.csv")
    _add_places(command)
    command = add_command(
        inner,
        "seal",
        "check every row of the record, and note rows and checksums of its files, after an "
        "edit or a merge",
        _seal,
        "itm results seal",
    )
    command.add_argument(
        "folder",
        type=option_types.path,
        nargs="?",
        metavar="DIR",
        help="the folder of the record; default: data/results",
    )
    _add_ship(inner)


def _add_export(inner: Commands) -> None:
    command = add_command(
        inner,
        "export",
        "record the finished runs of grids and their learning curves",
        _export,
        "itm results export rcar --size smoke",
        "itm results export rcar --size smoke --replace",
    )
    add_grids(command, "grids", "+")
    command.add_argument(
        "--replace", action="store_true", help="also in the place of recorded runs that differ"
    )
    _add_record(command, "runs.csv")
    _add_places(command)


def _add_record(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument(
        "--record",
        type=option_types.path,
        metavar="FILE",
        help=f"the table to write to; default: results/{name} beside the run store",
    )


def _record(options: argparse.Namespace, usual: Path) -> Path:
    """Return the table that is written: by default beside the runs that were read."""
    return options.record or options.root.parent / "results" / usual.name


def _add_ship(inner: Commands) -> None:
    command = add_command(
        inner,
        "ship",
        "write a finished run to data/models/ as float16 weights with a model card",
        _ship,
        "itm results ship data/runs/flickr8k-regions/RECIPE/SEED-HASH my-matcher",
    )
    command.add_argument(
        "run_folder", type=option_types.path, metavar="RUN", help="the folder of the run"
    )
    command.add_argument("name", metavar="NAME", help="of the new folder, such as scan-t2i")
    command.add_argument("--title", default="", help="displayed name; default: NAME")
    command.add_argument(
        "--dataset",
        type=option_types.path,
        metavar="DIR",
        help="what it was trained on; default: its name in data/",
    )
    command.add_argument(
        "--terms", help="of the dataset, for the model card; default: those of `itm data list`"
    )
    add_data(command)
    command.add_argument(
        "--models",
        type=option_types.path,
        metavar="DIR",
        help="the folder of matchers; default: data/models",
    )


def _add_places(command: argparse.ArgumentParser) -> None:
    command.add_argument("--size", default="smoke", help="a size of the grid; default: smoke")
    add_data(command)
    add_root(command)


def _export(options: argparse.Namespace) -> int:
    from itm_book.records import grids, results
    from itm_book.records.commits import require_committed
    from itm_book.records.replacing import export
    from itm_core.environment import current_commit

    record = _record(options, results.RECORD)
    require_committed(current_commit())  # whose code averages ensembles
    every: list[results.Result] = []
    lines: list[str] = []
    damaged: list[str] = []
    for name in options.grids:
        grid = grids.load(name)
        rows = results.present(
            grid, options.size, data=options.data, root=options.root, damaged=damaged.append
        )
        present = [result for group in rows.values() for result in group]
        count = grid.result_count(options.size)
        lines.append(f"{grid.name}: {len(present)} results of {count} runs and ensembles")
        every += present
    whole = [result for result in every if _has_curve(result, options.root, damaged)]
    lines += export(whole, options.root, record, replace=options.replace)
    last = (
        f"recorded in {record}" if whole else "nothing was recorded: none of these runs is finished"
    )
    print("\n".join([*lines, *(f"damaged, left out: {reason}" for reason in damaged), last]))
    if damaged:
        raise results.left_out(damaged)
    return 0


def _has_curve(result: Result, root: Path, damaged: list[str]) -> bool:
    """Return whether the learning curve of a result can be read; else add why to ``damaged``."""
    from itm_book.records import curves

    try:
        curves.require_curve(result, root)
    except InputError as error:
        damaged.append(str(error))
        return False
    return True


def _judge(options: argparse.Namespace) -> int:
    from itm_book.chapters.photographs import tables as judgements
    from itm_book.records import grids
    from itm_book.records.commits import require_committed
    from itm_core.environment import current_commit

    grid, record = grids.load(options.grid), _record(options, judgements.RECORD)
    require_committed(current_commit())  # whose code computes the agreement
    lines = judgements.judge(
        grid,
        options.size,
        options.annotations,
        data=options.data,
        root=options.root,
        over=options.over,
    )
    print(f"{grid.name}: {judgements.export(lines, record)} runs and ensembles judged")
    print(f"recorded in {record}")
    return 0


def _attention(options: argparse.Namespace) -> int:
    from itm_book.records import attention, attention_runs, grids
    from itm_book.records.commits import require_committed
    from itm_core.environment import current_commit

    grid, record = grids.load(options.grid), _record(options, attention.RECORD)
    require_committed(current_commit())  # whose code measures
    for line in attention_runs.measure(
        grid, options.size, data=options.data, root=options.root, record=record
    ):
        print(line, flush=True)
    print(f"recorded in {record}")
    return 0


def _seal(options: argparse.Namespace) -> int:
    from itm_book.bench import record
    from itm_book.chapters.photographs import tables as judgements
    from itm_book.records import attention, curves, record_files, results, rounding
    from itm_book.search import search_curve

    forms = {
        results.RECORD.name: results.FORM,
        curves.RECORD.name: curves.FORM,
        attention.RECORD.name: attention.FORM,
        judgements.RECORD.name: judgements.FORM,
        rounding.RECORD.name: rounding.FORM,
        search_curve.CURVE.name: search_curve.FORM,
        search_curve.KINDS.name: search_curve.FORM,
        **{f"bench_{kind}.csv": record.form(kind) for kind in record.KINDS},
    }
    folder = options.folder or results.RECORD.parent
    print("\n".join(record_files.seal(folder, forms)))
    print(f"written: {folder / record_files.CHECKSUMS}")
    return 0


def _ship(options: argparse.Namespace) -> int:
    from itm_book.checkpoints.shipped_matchers import HOME
    from itm_book.checkpoints.shipping import ship
    from itm_book.datasets import registry
    from itm_book.records.commits import require_committed
    from itm_core.data.dataset import load_dataset
    from itm_core.environment import current_commit
    from itm_core.experiments.run import load

    require_committed(current_commit())  # whose code rounds and scores
    run = load(options.run_folder)
    dataset = load_dataset(options.dataset or options.data / run.config["dataset"])
    terms = options.terms or registry.find(dataset.name.removesuffix("-regions")).terms
    home = options.models or HOME
    shipped = ship(run, options.name, dataset, terms=terms, title=options.title, home=home)
    print("\n".join(shipped.lines()))
    return 0
