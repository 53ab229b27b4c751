"""The parser of commands, and the options that several of them take.

Every command is added with `add_command`, or `add_parts` where it has commands of its own: so each
has a description, examples, and answers a misspelt word with the one that may be meant.

Page: "How to use it three ways".
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from itm_core import option_types
from itm_core.errors import InputError, did_you_mean

Run = Callable[[argparse.Namespace], int]
Commands = argparse._SubParsersAction
WIDTH = 78  # of descriptions
DEVICES = "auto, cpu, or a device of torch: cuda, cuda:1, mps, xpu"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are an `InputError`: one line, with the word that may be meant."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; raises `InputError` for an option that this command does not have."""
        args = sys.argv[1:] if args is None else list(args)
        if not any(isinstance(action, Commands) for action in self._actions):
            self._require_options(args)
        return super().parse_known_args(args, namespace)

    def _require_options(self, args: Sequence[str]) -> None:
        known = list(self._option_string_actions)
        for word in args[: args.index("--")] if "--" in args else args:
            name = word.partition("=")[0]
            option = name.startswith("--") and " " not in word
            if option and not any(one.startswith(name) for one in known):  # may be abbreviated
                raise InputError(
                    f"{self.prog} has no such option",
                    found=name,
                    remedy=did_you_mean(name, known) or f"{self.prog} --help lists its options",
                )

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


def add_command(
    commands: Commands, name: str, text: str, run: Run, *examples: str, **defaults: Any
) -> argparse.ArgumentParser:
    """Return the parser of a command, for its options.

    Args:
        text: what it does, in one line without a full stop.
        run: called with the parsed options; returns the exit code.
        examples: whole lines, such as ``itm recipes``.
        defaults: further attributes of the parsed options, such as ``group``.
    """
    command = commands.add_parser(name, help=text, **_texts(text, examples))
    command.set_defaults(run=run, **defaults)
    return command


def add_parts(
    commands: Commands, name: str, text: str, *examples: str, **defaults: Any
) -> Commands:
    """Return the commands of a command, to which they are added; alone it prints its help."""
    outer = commands.add_parser(name, help=text, **_texts(text, examples))

    def show(_options: argparse.Namespace) -> int:
        """Print the help."""
        outer.print_help()
        return 0

    outer.set_defaults(run=show, **defaults)
    return outer.add_subparsers(metavar="COMMAND", title="commands")


def _texts(text: str, examples: Sequence[str]) -> dict[str, Any]:
    """Return description and examples of a command as argparse takes them."""
    title = "example" if len(examples) == 1 else "examples"
    return {
        "description": textwrap.fill(f"{text[0].upper()}{text[1:]}.", WIDTH),
        "epilog": "\n".join([f"{title}:", *(f"  {line}" for line in examples)]),
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def completed_by(action: argparse.Action, names: Callable[[str], Iterable[str]]) -> None:
    """Let shells complete the values of an argument from names, given what was typed of one."""

    def completer(prefix: str, **_context: object) -> list[str]:
        """Return the names, as argcomplete asks for them; none where they cannot be read."""
        try:
            return list(names(prefix))
        except (InputError, OSError):
            return []

    action.completer = completer  # type: ignore[attr-defined]


def add_device(command: argparse.ArgumentParser, default: str = "auto") -> None:
    """Add ``--device``, as `environment.pick_device` takes it."""
    command.add_argument("--device", default=default, help=f"{DEVICES}; default: {default}")


def add_seed(command: argparse.ArgumentParser, of: str) -> None:
    """Add ``--seed``; ``of`` says what is random."""
    command.add_argument(
        "--seed", type=option_types.seed, default=0, help=f"of {of}; default: 0", metavar="N"
    )


def add_data(command: argparse.ArgumentParser) -> None:
    """Add ``--data``, the folder that holds the folders of datasets."""
    command.add_argument(
        "--data",
        type=option_types.path,
        default=Path("data"),
        metavar="DIR",
        help="the folder of datasets; default: data",
    )


def add_root(command: argparse.ArgumentParser, default: str = "data/runs") -> None:
    """Add ``--root``, the run store."""
    command.add_argument(
        "--root",
        type=option_types.path,
        default=Path(default),
        metavar="DIR",
        help=f"the run store, a folder; default: {default}",
    )
