"""The command line: each command is one call into the package."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from itm_core.commands import bench, data, results, score, search
from itm_core.errors import InputError, escaped

BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 1 (a check failed) or 2 (bad input)."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("itm_core").setLevel(logging.INFO)  # other libraries' notes are noise here
    given = _parser().parse_args(arguments)
    given.arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return given.run(given)
    except InputError as error:
        print(f"itm: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt as error:
        print(f"itm: {str(error) or 'interrupted'}", file=sys.stderr)
        return 130


def entry() -> None:
    """Run the command line and exit; quietly when its reader has gone (``| head``)."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more
        code = 141
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="itm", description="Fine-grained image-text matching, reproduced."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_scenes(commands)
    _add_train(commands)
    score.add(commands)
    _add_lists(commands)
    results.add(commands)
    _add_grid(commands)
    _add_checks(commands)
    _add_book(commands)
    data.add(commands)
    bench.add(commands)
    search.add(commands)
    return parser


def _add_scenes(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("scenes", help="make the embedded dataset")
    command.add_argument("--preset", default="full", help="full, small or tiny (default: full)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--folder", type=Path, help="default: data/scenes[-PRESET]")
    command.set_defaults(run=_scenes)


def _add_train(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("train", help="train a recipe, or load the finished run")
    command.add_argument("--dataset", type=Path, required=True, help="folder in the SCAN layout")
    command.add_argument("--recipe", required=True, help="a name from `itm recipes`")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    command.add_argument("--root", type=Path, default=Path("data/runs"), help="the run store")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PART.KEY=VALUE",
        dest="overrides",
        help="change a setting of the recipe, e.g. training.epochs=3 (repeatable)",
    )
    command.add_argument(
        "--processes", type=int, default=1, help="that train together, one to a GPU (default: 1)"
    )
    command.set_defaults(run=_train)


def _add_lists(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("recipes", help="list the recipes")
    command.set_defaults(run=_recipes)
    command = commands.add_parser("runs", help="list the finished runs")
    command.add_argument("--root", type=Path, default=Path("data/runs"))
    command.set_defaults(run=_runs)


def _add_grid(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("grid", help="list the grids, or run the cells of one")
    command.add_argument("grid", nargs="?", metavar="GRID", help="a name, or a file of your own")
    command.add_argument("--size", default="smoke", help="tiny, smoke, full or photographs")
    command.add_argument("--rows", nargs="+", metavar="ROW", help="default: all")
    command.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="default: the size's")
    command.add_argument("--workers", type=int, help="cells at once; default: one for each core")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    command.add_argument("--profile", default="local", help="local, slurm, kubernetes or a folder")
    command.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")
    command.add_argument("--root", type=Path, default=Path("data/runs"), help="the run store")
    command.add_argument("--dry-run", action="store_true", help="only say what would be run")
    command.set_defaults(run=_grid)


def _add_checks(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("check", help="check a dataset folder")
    command.add_argument("folder", type=Path)
    command.add_argument(
        "--full", action="store_true", help="read all of large files, not a sample"
    )
    command.set_defaults(run=_check)
    command = commands.add_parser(
        "parity", help="compare with reference numbers of the authors' implementations"
    )
    command.add_argument("paths", type=Path, nargs="+", metavar="DIR_OR_FILE")
    command.set_defaults(run=_parity)
    command = commands.add_parser("import", help="convert a checkpoint of the authors, safely")
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    command.add_argument("--folder", type=Path, help="default: data/imported/<its name>")
    command.add_argument(
        "--vocabulary", type=Path, metavar="FILE", help="of the authors, to be kept with it"
    )
    command.set_defaults(run=_import)


def _add_book(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("book", help="run the notebooks and build the book")
    command.add_argument(
        "--preset", default="small", help="of Scenes: tiny, small (minutes) or full (hours)"
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    command.set_defaults(run=_book)


def _scenes(given: argparse.Namespace) -> int:
    from itm_core.data.scenes import make_scenes

    suffix = "" if given.preset == "full" else f"-{given.preset}"
    folder = given.folder or Path("data") / f"scenes{suffix}"
    print(make_scenes(folder, preset=given.preset, seed=given.seed))
    return 0


def _train(given: argparse.Namespace) -> int:
    from itm_core.launch import launch, started

    if given.processes != 1 and not started():
        return launch(["-m", "itm_core", *given.arguments], given.processes)
    from itm_core import distributed, retrieval, runs

    with distributed.joined(given.device) as (team, device):
        run = runs.train_or_load(
            given.dataset,
            given.recipe,
            seed=given.seed,
            device=device,
            root=given.root,
            overrides=given.overrides,
            team=team,
        )
    if team.first:
        print(retrieval.text(run.metrics))
        print(f"run: {run.folder}")
    return 0


def _recipes(given: argparse.Namespace) -> int:
    from itm_core import recipes

    print(recipes.table().to_string(index=False))
    return 0


def _grid(given: argparse.Namespace) -> int:
    from itm_core.batch import engine, grids, planning

    if given.grid is None:
        print("\n".join(planning.listing()))
        return 0
    planned = planning.prepare(
        grids.load(given.grid),
        given.size,
        rows=given.rows,
        seeds=given.seeds,
        data=given.data,
        root=given.root,
        workers=given.workers,
        device=given.device,
        profile=given.profile,
        make_data=not given.dry_run,
    )
    if given.dry_run:
        print("\n".join(planned.lines()))
        return 0
    report = engine.run(planned)
    print("\n".join(report.lines()))
    return 1 if report.failed else 0


def _runs(given: argparse.Namespace) -> int:
    from itm_core import runs

    for run in runs.all_runs(given.root):
        print(f"{run.metrics['rsum']:6.1f}  {run.folder}")
    return 0


def _check(given: argparse.Namespace) -> int:
    from itm_core.data.feature_notes import features_of_folder
    from itm_core.data.precomp import load_dataset, vocabulary_file
    from itm_core.data.unknown_words import require_known, unknown_shares

    data = load_dataset(given.folder, full=given.full)
    features_of_folder(given.folder)  # raises where the note on them is broken
    splits = (data.train, data.dev, data.test)
    shares = unknown_shares(data.vocabulary, splits, full=given.full)
    for split in splits:
        images, regions, width = split.regions.shape
        print(
            f"{split.name}: {images} images, {regions} regions of {width}, "
            f"{len(split.captions)} captions, {100 * shares[split.name]:.1f} % of words unknown"
        )
    origin = vocabulary_file(given.folder) or "made from the training captions"
    print(f"vocabulary: {len(data.vocabulary)} words, {origin}")
    require_known(data.vocabulary, splits, shares)
    return 0


def _parity(given: argparse.Namespace) -> int:
    from itm_core import reference

    reports = [report for path in given.paths for report in reference.compare(path)]
    for report in reports:
        print(report.line())
    counts = Counter(report.verdict for report in reports)
    said = [f"{counts['ok']} agree", f"{counts['FAIL']} fail", f"{counts['????']} unknown"]
    said += [f"{counts['skip']} skipped"] if counts["skip"] else []
    print(", ".join(said))
    failed = counts["FAIL"] + counts["????"]
    return 1 if failed else 0


def _import(given: argparse.Namespace) -> int:
    from itm_core.checkpoints import import_checkpoint

    name = given.checkpoint.name.partition(".")[0]
    if given.folder is None and not name:
        raise InputError(
            "this file's name gives no name for a folder",
            file=given.checkpoint,
            remedy="name the folder with --folder DIR",
        )
    folder = given.folder or Path("data") / "imported" / name
    found = import_checkpoint(given.checkpoint, folder, vocabulary=given.vocabulary)
    print("\n".join(found.lines()))
    print(f"imported: {escaped(found.folder)}")
    print(f"next: itm score {escaped(found.folder)} DATASET")
    return 0


def _book(given: argparse.Namespace) -> int:
    from itm_core.book.building import make_book

    print(f"open {make_book(given.preset, device=given.device)}")
    return 0
