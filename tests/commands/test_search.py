"""``itm index`` and ``itm search``, from a run to a ranked list."""

from __future__ import annotations

from pathlib import Path

import pytest

from itm_core.cli import main
from itm_core.runs import train_or_load
from tests.micro import SMALL, write_dataset


def test_a_split_is_indexed_and_a_sentence_finds_its_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, folder = write_dataset(tmp_path / "micro"), tmp_path / "gallery"
    run = train_or_load(
        dataset,
        "scan-t2i-mean",
        overrides=SMALL,
        device="cpu",
        root=tmp_path / "runs",
        progress=False,
    )
    assert main(["index", str(dataset), str(folder), "--run", str(run.folder)]) == 0
    said = capsys.readouterr().out
    images = len(set((dataset / "test_ids.txt").read_text().split())) or len(run.scores)
    assert f"{images} images" in said
    assert main(["search", str(folder), "a red ball", "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a red ball: ")
    scores = [float(line.split()[0]) for line in lines[1:]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert main(["search", str(folder), "a red ball", "a zebra near a ball", "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[2].startswith("a zebra near a ball: ")
    assert lines[3] == "unknown to the vocabulary: zebra, near"
    for sentence, told in (
        ("", "no sentence to search with"),
        ("zebra giraffe!", "unknown: zebra, giraffe"),
    ):
        assert main(["search", str(folder), "a red ball", sentence]) == 2
        said = capsys.readouterr()
        assert told in said.err
        assert not said.out


def test_a_folder_without_a_gallery_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(tmp_path), "a red ball"]) == 2
    assert "search.json" in capsys.readouterr().err
