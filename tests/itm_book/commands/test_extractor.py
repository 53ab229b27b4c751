"""``itm data extractor``: photographs or annotations that are missing are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from itm_core import cli
from tests.photos import write_flickr8k


def test_missing_photographs_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code = cli.main(["data", "extractor", str(tmp_path / "out"), "--data", str(tmp_path)])
    assert code == 2
    assert "Flickr8k is missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_annotations_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_flickr8k(tmp_path / "flickr8k")
    command = ["data", "extractor", str(tmp_path / "out"), "--data", str(tmp_path)]
    code = cli.main([*command, "--annotations", str(tmp_path / "entities")])
    assert code == 2
    assert "no annotations of Flickr30K Entities" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", [["--epochs", "0"], ["--seed", "-1"]])
def test_settings_that_nobody_can_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture, change: list[str]
) -> None:
    write_flickr8k(tmp_path / "flickr8k")
    command = ["data", "extractor", str(tmp_path / "out"), "--data", str(tmp_path)]
    assert cli.main([*command, *change]) == 2
    assert change[0].lstrip("-") in capsys.readouterr().err
