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
from typing import TYPE_CHECKING

from itm_core import __version__, option_types
from itm_core.command_parser import (
    Commands,
    Parser,
    add_command,
    add_device,
    add_root,
    add_seed,
    completed_by,
)
from itm_core.errors import BAD_INPUT, INTERRUPTED, InputError, files_named
from itm_core.extras import extra_of, needs_extra
from itm_core.files import reading

if TYPE_CHECKING:
    from itm_core.data.dataset import Split

SHELLS = ("bash", "zsh", "fish")
MORE_COMMANDS = "itm.commands"  # entry points: functions that add commands to the parser
PACE = "TQDM_MININTERVAL"  # seconds between two states of a progress bar, which tqdm reads
TRAIN = "train and evaluate"  # a title in ``itm --help``
OTHERS = "others"  # the title in ``itm --help`` of commands that state no group


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 1 (a check failed), 2 (bad input) or 130."""
    logging.basicConfig(format="%(message)s")
    for package in ("itm_core", "itm_book"):  # not the messages of other libraries
        logging.getLogger(package).setLevel(logging.INFO)
    options = argparse.Namespace(command="")
    words = _with_help(list(sys.argv[1:] if arguments is None else arguments))
    try:
        with files_named():
            outer = parser()
            _complete(outer)
            outer.parse_args(words, options)
        options.arguments = words
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
        print(
            f"itm: {str(error) or 'interrupted; run the same command to resume'}", file=sys.stderr
        )
        return INTERRUPTED


def _with_help(words: list[str]) -> list[str]:
    """Return the words of a command line; none, or ``help COMMAND``, ask for the help."""
    return [*words[1:], "--help"] if words[:1] in ([], ["help"]) else words


def _complete(outer: argparse.ArgumentParser) -> None:
    """Answer the shell that asks which words may follow, and exit (`itm completion`)."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(outer)


def entry() -> None:
    """Run the command line and exit; without a traceback where standard output fails.

    That is a closed pipe (``| head``), a full disk, or none at all (``>&-``). A termination is
    treated as an interrupt; the second one ends this process at once, and others with it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as for a job in the background
            signal.signal(number, _interrupt)
    if sys.stderr is None or not sys.stderr.isatty():  # a log: no hundred lines of each bar
        os.environ.setdefault(PACE, "60")
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


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``itm`` with all commands."""
    outer = Parser(
        prog="itm",
        usage="itm [-h] [--version] COMMAND ...",
        description="Fine-grained image-text matching, reproduced.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    outer.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = outer.add_subparsers(
        prog="itm", metavar="COMMAND", dest="command", help=argparse.SUPPRESS
    )
    _add_check(commands)
    _add_train(commands)
    _add_lists(commands)
    _add_completion(commands)
    for entry_point in entry_points(group=MORE_COMMANDS):
        entry_point.load()(commands)
    outer.epilog = _by_group(commands)
    return outer


def _by_group(commands: Commands) -> str:
    """Return the commands with their help, under the group that each states, not in one list."""
    texts = {action.dest: action.help for action in commands._choices_actions}
    commands._choices_actions = []  # argparse prints these in one list
    groups: dict[str, list[str]] = {}
    for name, text in texts.items():
        title = commands.choices[name].get_default("group") or OTHERS
        groups.setdefault(title, []).append(f"    {name:10} {text}")
    last = {OTHERS: groups.pop(OTHERS)} if OTHERS in groups else {}
    lines = [line for title, rows in (groups | last).items() for line in (f"{title}:", *rows, "")]
    return "\n".join([*lines, "itm COMMAND --help has its options and an example."])


def _add_train(commands: Commands) -> None:
    command = add_command(
        commands,
        "train",
        "train a recipe, or load the finished run",
        _train,
        "itm train --dataset data/scenes-small --recipe scan-t2i-mean-smoke",
        "itm train --dataset data/scenes --recipe scan-t2i-mean+rcar --seed 1 "
        "--set training.epochs=3",
        group=TRAIN,
    )
    command.add_argument(
        "--dataset",
        type=option_types.path,
        required=True,
        metavar="DIR",
        help="a folder in the SCAN layout",
    )
    completed_by(
        command.add_argument("--recipe", required=True, help="a name from `itm recipes`"),
        _recipe_names,
    )
    add_seed(command, "weights and batches")
    add_device(command)
    add_root(command)
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
        metavar="N",
        help="number of processes, one per GPU; default: 1",
    )


def _add_lists(commands: Commands) -> None:
    text = "list the recipes, or show all settings of one"
    command = add_command(
        commands, "recipes", text, _recipes, "itm recipes", "itm recipes chan", group=TRAIN
    )
    recipe = command.add_argument(
        "names", nargs="*", metavar="RECIPE", help="show all settings of these; default: the list"
    )
    completed_by(recipe, _recipe_names)
    text = "list the finished runs"
    command = add_command(
        commands, "runs", text, _runs, "itm runs", "itm runs --root data/runs-spread", group=TRAIN
    )
    add_root(command)


def _add_check(commands: Commands) -> None:
    command = add_command(
        commands,
        "check",
        "check every file of a dataset folder of your own",
        _check,
        "itm check data/scenes-small",
        group="get data",
    )
    command.add_argument(
        "folder", type=option_types.path, metavar="DATASET", help="a folder in the SCAN layout"
    )
    command.add_argument(
        "--full", action="store_true", help="read all of large files, not a sample"
    )


def _add_completion(commands: Commands) -> None:
    command = add_command(
        commands,
        "completion",
        "print what makes a shell complete the words of itm",
        _completion,
        'eval "$(itm completion bash)"    # a line for ~/.bashrc; zsh: for ~/.zshrc',
        "itm completion fish | source     # a line for ~/.config/fish/config.fish",
    )
    command.add_argument("shell", choices=SHELLS, help="whose language is printed")


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


def _recipe_names(prefix: str) -> list[str]:
    from itm_core.experiments import recipe_list

    return recipe_list.completions(prefix)


def _recipes(options: argparse.Namespace) -> int:
    from itm_core.experiments import recipe_list

    lines = recipe_list.settings(options.names) if options.names else recipe_list.lines()
    print("\n".join(lines))
    return 0


def _runs(options: argparse.Namespace) -> int:
    from itm_core.experiments import run_list

    if options.root.exists():
        with reading(options.root):
            next(options.root.iterdir(), None)  # a folder that may not be read has no runs
    listed = run_list.listed(options.root)
    print("\n".join(listed.lines))
    if listed.damaged:
        print(f"{listed.damaged} of {listed.count} runs are damaged", file=sys.stderr)
    return 0


def _completion(options: argparse.Namespace) -> int:
    import argcomplete

    print(argcomplete.shellcode(["itm"], shell=options.shell))
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
        split.require_readable(annotations=False)  # the summary reads them
        if annotated := annotation_summary(split):
            print(f"{split.name}: {annotated}")
    origin = vocabulary_file(options.folder) or "made from the training captions"
    print(f"vocabulary: {len(data.vocabulary)} words, {origin}")
    for line in poverty(data):
        print(f"warning: {line}")
    require_known(data.vocabulary, splits, shares)
    return 0
