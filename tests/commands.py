"""The commands of ``itm``, as its parser knows them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from itm_core import cli


def leaves(
    parser: argparse.ArgumentParser | None = None, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command that can be run, as its words, with its parser."""
    parser = parser or cli._parser()
    inner = subcommands(parser)
    if not inner:
        yield words, parser
    for name, command in inner.items():
        yield from leaves(command, (*words, name))


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands below one; none for a command that is run."""
    kinds = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return {name: command for action in kinds for name, command in action.choices.items()}
