"""``itm index`` and ``itm search``, from a run to a ranked list."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from itm_core.cli import main
from itm_core.experiments.runs import train_or_load
from itm_core.files import read_json, write_json
from tests.micro import SMALL, write_dataset


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of a small run, as ``itm index`` makes it."""
    place = tmp_path_factory.mktemp("gallery")
    dataset = write_dataset(place / "micro")
    given = {"overrides": SMALL, "device": "cpu", "root": place / "runs", "progress": False}
    run = train_or_load(dataset, "scan-t2i-mean", **given)  # type: ignore[arg-type]
    assert main(["index", str(dataset), str(place / "made"), "--run", str(run.folder)]) == 0
    return place / "made"


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


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--top", "0", "top is too small; expected 1 or more, found 0"),
        ("--top", "-1", "top is too small; expected 1 or more, found -1"),
        ("--candidates", "0", "candidates is too small; expected 1 or more, found 0"),
    ],
)
def test_less_than_one_is_refused(
    option: str, value: str, said: str, gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["search", str(gallery), "a red ball", option, value]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert not told.out


def test_where_no_gallery_is_the_remedy_is_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for place, found in (
        (tmp_path, "no search.json in it"),
        (tmp_path / "none", "no such folder"),
        (tmp_path / "file", "a file"),
        (tmp_path / "file" / "below", "no such folder"),
    ):
        assert main(["search", str(place), "a red ball"]) == 2
        said = capsys.readouterr().err
        assert (
            f"{place}: no gallery in this folder; found {found}. Remedy: make one with itm index"
            in said
        )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"run": None, "ids": None}, "run None"),
        ({"run": 3}, "run 3"),
        ({"ids": "abc"}, "ids that are not a list"),
        ({"ids": [1, 2]}, "ids that are not a list"),
        ({"ids": ["1"]}, "1 ids for"),
    ],
)
def test_a_damaged_note_is_one_message(
    change: dict[str, object],
    found: str,
    gallery: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = shutil.copytree(gallery, tmp_path / "copy")
    note = read_json(copy / "search.json") | change
    write_json(copy / "search.json", {k: v for k, v in note.items() if v is not None})
    capsys.readouterr()
    assert main(["search", str(copy), "a red ball"]) == 2
    told = capsys.readouterr()
    assert f"{copy / 'search.json'}: the note of the gallery is damaged" in told.err
    assert f"found {found}" in told.err
    assert "itm index" in told.err
    assert not told.out
