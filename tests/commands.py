"""The commands of ``itm``, as its parser knows them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from itm_core import cli


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands below one; none for a command that is run."""
    kinds = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return {name: command for action in kinds for name, command in action.choices.items()}


def leaves() -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command that can be run, as its words, with its parser."""
    return ((words, command) for words, command in every() if not subcommands(command))


def every(
    parser: argparse.ArgumentParser | None = None, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command and every command of a command, as its words, with its parser."""
    for name, command in subcommands(parser or cli.parser()).items():
        yield (*words, name), command
        yield from every(command, (*words, name))
