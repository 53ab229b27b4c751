"""The command line: each command is one call into the package."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import entry_points
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from itm_core import __version__, option_types
from itm_core.errors import BAD_INPUT, INTERRUPTED, InputError, did_you_mean, escaped, files_named
from itm_core.extras import extra_of, needs_extra
from itm_core.files import reading

if TYPE_CHECKING:
    from itm_core.data.dataset import Split

MORE_COMMANDS = "itm.commands"  # entry points: functions that add commands to the parser
OTHERS = "others"  # the title in ``itm --help`` of commands that state no group


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 1 (a check failed) or 2 (bad input)."""
    logging.basicConfig(format="%(message)s")
    for package in ("itm_core", "itm_book"):  # not the messages of other libraries
        logging.getLogger(package).setLevel(logging.INFO)
    options = argparse.Namespace(command="")
    try:
        with files_named():
            _parser().parse_args(arguments, options)
        options.arguments = sys.argv[1:] if arguments is None else arguments
        with files_named("the working folder", "read"):
            Path.cwd()  # raises where it was removed; libraries then end the process
        with files_named():
            return options.run(options)
    except InputError as error:
        return _bad_input(error)
    except ModuleNotFoundError as error:
        extra = extra_of(error)
        if extra is None:
            raise
        return _bad_input(needs_extra(f"itm {options.command}", extra))
    except KeyboardInterrupt as error:
        print(f"itm: {str(error) or 'interrupted; run the same command to go on'}", file=sys.stderr)
        return INTERRUPTED


def entry() -> None:
    """Run the command line and exit; without a traceback where standard output fails.

    That is a closed pipe (``| head``), a full disk, or none at all (``>&-``). A termination is
    treated as an interrupt; the second one ends this process at once, and others with it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as for a job in the background
            signal.signal(number, _interrupt)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or sys.stdout
    if isinstance(sys.stdout, TextIOWrapper):  # names that the terminal's encoding does not have
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = main()
        with files_named("standard output", "written"):
            sys.stdout.flush()
    except (BrokenPipeError, InputError) as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more
        code = 141 if isinstance(error, BrokenPipeError) else _bad_input(error)
    sys.exit(code)


def _interrupt(_number: int, _frame: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(INTERRUPTED))
    raise KeyboardInterrupt


def _bad_input(error: InputError) -> int:
    with suppress(OSError):  # the exit code is left where standard error is full
        print(f"itm: {error}", file=sys.stderr, flush=True)
    return BAD_INPUT


class _Parser(argparse.ArgumentParser):
    def _check_value(self, action: argparse.Action, value: object) -> None:
        """Raise `InputError` for a value that is no choice, with the one that may be meant."""
        if action.choices is None or value in action.choices:
            return
        name = "/".join(action.option_strings) or str(action.metavar or action.dest)
        raise InputError(
            "no such command" if name == "COMMAND" else f"unknown value of {name}",
            expected=f"one of {', '.join(map(str, action.choices))}",
            found=value,
            remedy=did_you_mean(value, list(action.choices)),
        )

    def error(self, message: str) -> NoReturn:
        """Raise `InputError`, so that a wrong option is one line like all bad input."""
        raise InputError(message, remedy=f"{self.prog} --help lists what it takes")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="itm",
        usage="itm [-h] COMMAND ...",
        description="Fine-grained image-text matching, reproduced.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(
        prog="itm", required=True, metavar="COMMAND", dest="command", help=argparse.SUPPRESS
    )
    _add_check(commands)
    _add_train(commands)
    _add_lists(commands)
    for entry_point in entry_points(group=MORE_COMMANDS):
        entry_point.load()(commands)
    parser.epilog = _by_group(commands)
    return parser


def _by_group(commands: argparse._SubParsersAction) -> str:
    """Return the commands with their help, under the group that each states, not in one list."""
    texts = {action.dest: action.help for action in commands._choices_actions}
    commands._choices_actions = []  # argparse prints these in one list
    groups: dict[str, list[str]] = {}
    for name, text in texts.items():
        title = commands.choices[name].get_default("group") or OTHERS
        groups.setdefault(title, []).append(f"    {name:8} {text}")
    last = {OTHERS: groups.pop(OTHERS)} if OTHERS in groups else {}
    lines = [line for title, rows in (groups | last).items() for line in (f"{title}:", *rows, "")]
    return "\n".join([*lines, "itm COMMAND --help lists the options of a command."])


def _add_train(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("train", help="train a recipe, or load the finished run")
    command.add_argument(
        "--dataset", type=option_types.path, required=True, help="folder in the SCAN layout"
    )
    command.add_argument("--recipe", required=True, help="a name from `itm recipes`")
    command.add_argument("--seed", type=option_types.seed, default=0)
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    command.add_argument(
        "--root", type=option_types.path, default=Path("data/runs"), help="the run store"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PART.KEY=VALUE",
        dest="overrides",
        help="change a setting of the recipe, e.g. training.epochs=3 (repeatable)",
    )
    command.add_argument(
        "--processes",
        type=option_types.processes,
        default=1,
        help="number of processes, one per GPU (default: 1)",
    )
    command.set_defaults(run=_train, group="train and evaluate")


def _add_lists(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("recipes", help="list the recipes")
    command.set_defaults(run=_recipes, group="train and evaluate")
    command = commands.add_parser("runs", help="list the finished runs")
    command.add_argument("--root", type=option_types.path, default=Path("data/runs"))
    command.set_defaults(run=_runs, group="train and evaluate")


def _add_check(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("check", help="check a dataset folder")
    command.add_argument("folder", type=option_types.path)
    command.add_argument(
        "--full", action="store_true", help="read all of large files, not a sample"
    )
    command.set_defaults(run=_check, group="get data")


def _train(options: argparse.Namespace) -> int:
    from itm_core.training.launch import launch, started

    if options.processes != 1 and not started():
        return launch(["-m", "itm_core", *options.arguments], options.processes)
    from itm_core.evaluation import retrieval
    from itm_core.experiments import runs
    from itm_core.training import distributed

    with distributed.process_group(options.device) as (group, device):
        run = runs.train_or_load(
            options.dataset,
            options.recipe,
            seed=options.seed,
            device=device,
            root=options.root,
            overrides=options.overrides,
            group=group,
        )
    if group.first:
        print(retrieval.text(run.metrics))
        if run.words_found:
            print(f"word vectors: {run.words_found}")
        print(f"run: {run.folder}")
    return 0


def _recipes(options: argparse.Namespace) -> int:
    from itm_core.experiments import recipes

    print(recipes.table().to_string(index=False))
    return 0


def _runs(options: argparse.Namespace) -> int:
    from itm_core.experiments import runs

    if options.root.exists():
        with reading(options.root):
            next(options.root.iterdir(), None)  # a folder that may not be read has no runs
    every = runs.all_runs(options.root)
    damages = [run.damage for run in every]
    for run, damage in zip(every, damages, strict=True):
        words = f"  ({run.words_found})" if not damage and run.words_found else ""
        rsum = "damaged" if damage else f"{run.metrics['rsum']:6.1f}"
        print(f"{rsum}  {escaped(run.folder)}{words}{f': {damage}' * bool(damage)}")
    if any(damages):
        print(f"{sum(map(bool, damages))} of {len(every)} runs are damaged", file=sys.stderr)
    return 0


def _different(split: Split) -> str:
    """Return the smallest and the largest number of captions of an image, where they differ."""
    low, high = split.caption_counts.min(), split.caption_counts.max()
    return f", {low} to {high} an image" if low < high else ""


def _check(options: argparse.Namespace) -> int:
    from itm_core.data.annotations import annotation_summary
    from itm_core.data.dataset import load_dataset, vocabulary_file
    from itm_core.data.feature_notes import features_of_folder
    from itm_core.data.informative import poverty
    from itm_core.data.unknown_words import require_known, unknown_shares

    data = load_dataset(options.folder, full=options.full)
    features_of_folder(options.folder)  # raises where the note on them is broken
    splits = (data.train, data.dev, data.test)
    shares = unknown_shares(data.vocabulary, splits, full=options.full)
    for split in splits:
        images, _, width = split.regions.shape
        print(
            f"{split.name}: {images} images, {split.regions_text} regions of {width}, "
            f"{len(split.captions)} captions{_different(split)}, "
            f"{100 * shares[split.name]:.1f} % of words unknown"
        )
        split.require_readable()
        if annotated := annotation_summary(split):
            print(f"{split.name}: {annotated}")
    origin = vocabulary_file(options.folder) or "made from the training captions"
    print(f"vocabulary: {len(data.vocabulary)} words, {origin}")
    for line in poverty(data):
        print(f"warning: {line}")
    require_known(data.vocabulary, splits, shares)
    return 0
