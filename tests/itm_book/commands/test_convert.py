"""The commands that make datasets ready say what they wrote."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from itm_book.commands import convert
from tests.itm_book.datasets.test_convert import IDS, write_karpathy, write_tsv
from tests.itm_book.datasets.test_entities import write_entities, write_split


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    convert.add(parser.add_subparsers())
    given = parser.parse_args([str(argument) for argument in arguments])
    return given.run(given)


def test_features_are_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, captions = write_tsv(tmp_path / "a.tsv", IDS), write_karpathy(tmp_path / "d.json")
    assert run("convert", source, tmp_path / "made", "--captions", captions) == 0
    assert "train: 3 images, 3 regions of 5" in capsys.readouterr().out


def test_what_words_name_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_entities(tmp_path / "entities", "1007129816")
    folder = write_split(tmp_path / "f30k").folder
    assert run("entities", folder, "--annotations", root, "--words", "phrases") == 0
    assert "annotated 6 (13 tokens)" in capsys.readouterr().out
    assert (folder / "test_words.json").exists()


def test_coverage_is_printed_as_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_entities(tmp_path / "entities", "1007129816")
    folder = write_split(tmp_path / "f30k").folder
    assert run("entities", folder, "--annotations", root) == 0
    capsys.readouterr()
    assert run("coverage", folder) == 0
    header, everything, *kinds = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["type", "phrases", "covered"]
    # six phrases; the man's arm has no region; people have both of their boxes
    assert everything.split() == ["all", "6", "83.3", "%", "-", "1.33"]
    assert [line.split()[0] for line in kinds] == ["bodyparts", "people"]
