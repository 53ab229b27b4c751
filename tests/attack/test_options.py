"""Options with values that nobody can mean: every command refuses them in one message."""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator

import pytest

from itm_core import option_types
from tests.attack.attempts import Tree, faults, run_command
from tests.attack.campaign import arena
from tests.attack.table import COMMANDS, LEFT_OUT
from tests.attack.values import LONG, OPTION_NUMBERS, OPTION_TEXTS
from tests.commands import leaves

FEW = 3  # values of each option, without --slow
PATHS = ("", LONG, "a\x1b[31m", "\udcff", "/dev/null/x", "grid.yml", "photographs", "run")
SWITCHES = (argparse._StoreTrueAction, argparse._HelpAction)
PARSERS = {" ".join(words): parser for words, parser in leaves()}
OPTIONS = [
    (command, option)
    for command, parser in PARSERS.items()
    if command not in LEFT_OUT
    for action in parser._actions
    for option in action.option_strings[-1:]
    if not isinstance(action, SWITCHES)
]


@pytest.fixture(scope="module")
def place() -> Iterator[Tree]:
    with arena() as tree:
        yield tree


def base(command: str) -> list[str]:
    """The first command of the table that is a valid one of this name."""
    words = command.split()
    return next(c.split() for c in COMMANDS if c.split()[: len(words)] == words)


def values_of(command: str, option: str) -> tuple[str, ...]:
    parser = PARSERS[command]
    action = next(a for a in parser._actions if option in a.option_strings)
    if action.type is option_types.path:
        return PATHS
    return OPTION_TEXTS if action.type is None else OPTION_NUMBERS


def require_one_message(command: str, option: str, count: int, place: Tree) -> None:
    values = values_of(command, option)
    draw = random.Random(f"{command} {option}")
    found = []
    for value in draw.sample(values, min(count, len(values))):
        outcome = run_command([*base(command), option, value])
        wrong = faults(outcome)
        if outcome.code == 2 and (new := place.changed()):
            wrong.append(f"written: {', '.join(new[:4])}")
        place.restore()
        found += (
            [f"{' '.join(base(command))} {option} {value!r}: {'; '.join(wrong)}"] if wrong else []
        )
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_a_bad_value_is_refused_in_one_line(command: str, option: str, place: Tree) -> None:
    require_one_message(command, option, FEW, place)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_all_bad_values_are_refused_in_one_line(command: str, option: str, place: Tree) -> None:
    require_one_message(command, option, 99, place)
