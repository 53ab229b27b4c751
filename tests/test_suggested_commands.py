"""Every command that a message, a page or a notebook names exists, with the options it names."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from itm_book.datasets import registry
from itm_book.records import grids
from itm_core import cli
from itm_core.errors import InputError
from itm_core.experiments import recipes
from tests.commands import every, subcommands
from tests.places import PROJECT

PARSER = cli.parser()
PACKAGES = ("itm_core", "itm_book")
SOURCES = [path for package in PACKAGES for path in sorted((PROJECT / package).rglob("*.py"))]
PAGES = [*sorted((PROJECT / "book").glob("*.md")), PROJECT / "README.md", PROJECT / "Makefile"]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
COMMAND = re.compile(r"(?<![\w./-])itm((?:[ \n]+[^\s`\"'()|,;]+)+)")
GRIDS = (" grid", " results export", " results attention", " results judge")
AGAINST_PEOPLE = (" results attention", " results judge")  # need boxes or ratings of people
ANNOTATED = "flickr8k-regions"  # the dataset that has them
NO_COMMAND = {"is", "that", "adds", "says"}  # words after the name of the program in a sentence


def texts(path: Path) -> Iterator[str]:
    """The texts of a file: of Python the strings, with X for what is put into them."""
    if path.suffix == ".ipynb":
        yield from (cell.source for cell in nbformat.read(path, as_version=4).cells)
    elif path.suffix == ".py":
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                yield "".join(v.value if isinstance(v, ast.Constant) else "X" for v in node.values)
            elif isinstance(node, ast.Constant) and id(node) not in parts:
                yield node.value if isinstance(node.value, str) else ""
    else:
        yield path.read_text(encoding="utf-8")


def suggestions(text: str) -> Iterator[str]:
    """The commands that a text names, each to the end of its code or its sentence."""
    text = text.replace("\\\n", " ")
    for match in COMMAND.finditer(text):
        line = match[1] if match[1].startswith("\n") else match[1].split("\n")[0]
        yield re.split(r"[.:]( |$)|:$| #", " ".join(line.split()))[0]


def problem(suggestion: str) -> str | None:
    """What is wrong with a command: no such command, option, recipe or dataset; None if right."""
    parser, words, command = PARSER, suggestion.split(), ""
    while words and (inner := subcommands(parser)):
        if words[0] in NO_COMMAND or not re.fullmatch("[a-z]+", words[0]):
            return None
        if words[0] not in inner:
            return f"no command {words[0]}"
        command += f" {words[0]}"
        parser = inner[words.pop(0)]
    words = words[: words.index("--")] if "--" in words else words  # the rest is not for itm
    options = {option for action in parser._actions for option in action.option_strings}
    for word, value in zip(words, [*words[1:], ""], strict=False):
        option = word.strip("[]").partition("=")[0]
        if re.match("--[a-z]", option) and option not in options:
            return f"no option {option}"
        if option == "--recipe" and "-" in value:
            try:
                recipes.get(value)
            except InputError as error:
                return str(error)
    is_name = words and re.fullmatch("[a-z0-9_-]+", words[0])
    if command in GRIDS and is_name:
        return grid_problem(words, parser.get_default("size"), command in AGAINST_PEOPLE)
    if command in (" data get", " data doctor") and is_name and words[0] not in registry.load():
        return f"no dataset {words[0]}"
    return None


def grid_problem(words: list[str], default: str, against_people: bool) -> str | None:
    """What is wrong with the grids or the size that a command names; None if right."""
    names = [*itertools.takewhile(re.compile("[a-z0-9_]+$").match, words)]
    size = dict(itertools.pairwise(words)).get("--size", default)
    if not words[len(names) :] and len(names) > 1:
        return None  # a sentence about the command
    try:
        for grid in map(grids.load, names):
            # a placeholder may be any size
            sizes = [grid.size(size)] if re.fullmatch("[a-z]+", size) else grid.sizes.values()
            if against_people and ANNOTATED not in {at.dataset for at in sizes}:
                return f"nobody has annotated {', '.join(at.dataset for at in sizes)}"
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize("path", [*SOURCES, *PAGES, *NOTEBOOKS], ids=lambda p: p.name)
def test_what_is_suggested_exists(path: Path) -> None:
    named = [s for text in texts(path) for s in suggestions(text)]
    assert [f"itm {s}: {why}" for s in named if (why := problem(s))] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("to get it: `itm data fetch flickr8k`", "no command fetch"),
        ("run itm trains", "no command trains"),
        ("itm data get flickr9k", "no dataset flickr9k"),
        ("itm check data \\\n  --fast", "no option --fast"),
        ("itm train --recipe scan-t2i --dataset X", "unknown recipe"),
        ("itm results attention flickr8k --size full", "unknown value of size of grid"),
        ("itm grid rcr --size smoke", f"{grids.FOLDER}/rcr.yml: grid not found"),
        ("itm results attention flickr8k", "nobody has annotated scenes-small"),
        ("itm results judge flickr8k --annotations FILE", "nobody has annotated scenes-small"),
        ("itm results attention chan --size SIZE", "nobody has annotated scenes-tiny, scenes-"),
        ("itm results attention flickr8k --size SIZE", ""),
        ("itm results attention flickr8k --size record", ""),
        ("itm results export flickr8k", ""),
        ("itm grid flickr8k --size record --seeds 0", ""),
        ("the command itm is one", ""),
        ("itm score RUN DATASET --split test", ""),
    ],
)
def test_a_wrong_suggestion_is_noticed(text: str, message: str) -> None:
    (suggestion,) = suggestions(text)
    assert (problem(suggestion) or "").startswith(message)
    assert bool(problem(suggestion)) == bool(message)


def test_help_lists_every_command_once_under_a_title(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    printed = capsys.readouterr().out
    for name in subcommands(PARSER):
        assert len(re.findall(rf"^    {name} ", printed, re.MULTILINE)) == 1
    assert re.findall(r"^(\w.*):$", printed, re.MULTILINE) == [
        "options",
        "get data",
        "train and evaluate",
        "search your pictures",
        "read and record",
        "use the authors' files",
        "others",
    ]


COMMANDS = dict(every())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    assert command.format_usage().startswith(f"usage: itm {' '.join(words)} [-h]")
    assert command.description
    assert max(map(len, command.description.splitlines())) <= 80
    unexplained = [action.dest for action in command._actions if not action.help]
    assert unexplained in ([], ["==SUPPRESS=="])  # the commands below it, which have their own


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_that_can_be_typed(words: tuple[str, ...]) -> None:
    head, *lines = str(COMMANDS[words].epilog).splitlines()
    assert head in ("example:", "examples:")
    for line in lines:
        (_, *typed) = shlex.split(line.removeprefix('  eval "$(').split(')"')[0], comments=True)
        typed = typed[: typed.index("|")] if "|" in typed else typed
        assert typed[: len(words)] == list(words)
        cli.parser().parse_args(typed)
        assert len(line) <= 100
