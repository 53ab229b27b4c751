"""Every option of every command that takes a number: what it refuses, and that it says so."""

from __future__ import annotations

import argparse

import pytest

from itm_core import option_types
from itm_core.cli import main
from tests.commands import leaves

ZERO = {"--seed", "--seeds", "--folds", "--shards", ("score", "--top")}  # 0 is a value of these
SENSELESS = ("-1", "1.5.2", "1e22", "nan", "inf", "-inf", "", " ", "a", "None", "true", "[1]", "²")
TOO_MANY = "1" + 21 * "0"

TYPED = [
    (words, action)
    for words, parser in leaves()
    for action in parser._actions
    if action.type is not None
]
PATHS = [(words, action) for words, action in TYPED if action.type is option_types.path]
NUMERIC = [(words, action) for words, action in TYPED if action.type is not option_types.path]
NAMES = [f"{' '.join(words)} {action.option_strings[0]}" for words, action in NUMERIC]


def test_no_option_has_a_type_of_its_own() -> None:
    assert len(NUMERIC) > 30
    assert len(PATHS) > 50
    kinds = {action.type for _, action in TYPED}
    assert {kind.__module__ for kind in kinds} == {option_types.__name__}  # type: ignore[union-attr]


@pytest.mark.parametrize(("words", "action"), NUMERIC, ids=NAMES)
def test_a_number_that_nobody_can_mean_is_refused_by_the_parser(
    words: tuple[str, ...], action: argparse.Action, capsys: pytest.CaptureFixture[str]
) -> None:
    (option, *_) = action.option_strings
    takes_zero = option in ZERO or (words[0], option) in ZERO
    refused = [*SENSELESS, TOO_MANY]
    refused += [] if takes_zero else ["0"]
    refused += ["2"] if option == "--iou" else ["0.5", "1.5"]
    for text in refused:
        assert main([*words, f"{option}={text}"]) == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert error.startswith("itm: argument ")
        assert option in error
        assert f", found '{text}'" in error


@pytest.mark.parametrize("text", ["", "  ", "a\x1b[31m", "\udcff"])
def test_a_path_has_a_name(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, action in PATHS:
        if action.option_strings:
            assert main([*words, f"{action.option_strings[0]}={text}"]) == 2
            (error,) = capsys.readouterr().err.splitlines()
            assert "expected the name of a file or folder, found '" in error
            assert error.isprintable()
    assert main(["check", text]) == 2
    assert "argument DATASET: expected the name of a file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "text", "number"),
    [
        (option_types.seed, "0", 0),
        (option_types.seed, "4294967295", 2**32 - 1),
        (option_types.whole(), "03", 3),
        (option_types.whole(2, 5), "5", 5),
        (option_types.fraction, ".5", 0.5),
        (option_types.fraction, "1", 1.0),
    ],
)
def test_a_number_in_the_range_is_read(kind: object, text: str, number: float) -> None:
    assert callable(kind)
    assert kind(text) == number


@pytest.mark.parametrize("text", ["4294967296", "-0.1", "1_0", "٣", "1\n", "9" * 5000, "\x1b[31m"])
def test_what_it_found_is_one_short_printable_line(text: str) -> None:
    for kind in (option_types.seed, option_types.fraction):
        with pytest.raises(argparse.ArgumentTypeError) as refused:
            kind(text)
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) < 120
