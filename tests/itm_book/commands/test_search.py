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
    printed = capsys.readouterr().out
    images = len(set((dataset / "test_ids.txt").read_text().split())) or len(run.scores)
    assert f"{images} images" in printed
    assert main(["search", str(folder), "a red ball", "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"a red ball: {images} images, ")
    results = [line for line in lines[1:] if not line.startswith(" " * 11)]
    scores = [float(line.split()[0]) for line in results]
    assert len(scores) == 3
    words = [line.split() for line in lines[2:5]]  # of the first: no boxes in this dataset
    assert [line[0] for line in words] == ["a", "red", "ball"]
    assert all(line[2] == "region" and 0 < float(line[1]) <= 1 for line in words)
    assert scores == sorted(scores, reverse=True)
    assert main(["search", str(folder), "a red ball", "a zebra near a ball", "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[5].startswith("a zebra near a ball: ")
    assert lines[6] == "unknown to the vocabulary: zebra, near"
    for sentence, told in (
        ("", "no sentence to search with"),
        ("zebra giraffe!", "unknown: zebra, giraffe"),
    ):
        assert main(["search", str(folder), "a red ball", sentence]) == 2
        printed = capsys.readouterr()
        assert told in printed.err
        assert not printed.out


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--top", "0", "--top: expected a whole number, 1 or more, found '0'"),
        ("--top", "-1", "--top: expected a whole number, 1 or more, found '-1'"),
        ("--candidates", "0", "--candidates: expected a whole number, 1 or more, found '0'"),
    ],
)
def test_less_than_one_is_refused(
    option: str, value: str, message: str, gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["search", str(gallery), "a red ball", option, value]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert not printed.out


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
        printed = capsys.readouterr().err
        assert (
            f"{place}: no gallery in this folder; found {found}. Remedy: make one with itm index"
            in printed
        )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"matcher": None, "ids": None}, "matcher None"),
        ({"matcher": 3}, "matcher 3"),
        ({"matcher": {"run": 3}}, "matcher {'run': 3}"),
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
    copy = shutil.copytree(gallery.parent, tmp_path / "copy") / gallery.name
    note = read_json(copy / "search.json") | change
    write_json(copy / "search.json", {k: v for k, v in note.items() if v is not None})
    capsys.readouterr()
    assert main(["search", str(copy), "a red ball"]) == 2
    printed = capsys.readouterr()
    assert f"{copy / 'search.json'}: the note of the gallery is damaged" in printed.err
    assert f"found {found}" in printed.err
    assert "itm index" in printed.err
    assert not printed.out


def test_a_gallery_moves_with_the_project_or_without_it(
    gallery: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(["search", str(gallery), "a red ball"]) == 0
    printed = capsys.readouterr().out.splitlines()[1:]
    assert str(gallery.parent) not in (gallery / "search.json").read_text()
    project = shutil.copytree(gallery.parent, tmp_path / "project")
    alone = shutil.copytree(gallery, tmp_path / "elsewhere" / "below" / "alone")
    monkeypatch.chdir(project)
    for place in (project / gallery.name, alone):
        assert main(["search", str(place), "a red ball"]) == 0
        lines = capsys.readouterr().out.splitlines()[1:]
        looked_at = [line for line in lines if line.startswith(" " * 11)]
        assert bool(looked_at) == (place != alone)  # the regions are in the dataset
        assert [line for line in lines if line not in looked_at] == [
            line for line in printed if not line.startswith(" " * 11)
        ]
    monkeypatch.chdir(tmp_path)
    assert main(["search", str(alone), "a red ball"]) == 2
    assert "name its folder with --matcher" in capsys.readouterr().err
    (run,) = (project / "runs").glob("*/*/*")
    assert main(["search", str(alone), "a red ball", "--matcher", str(run)]) == 0
    assert main(["search", str(alone), "a red ball", "--matcher", "scan-t2i"]) == 2
    assert "made with other weights; expected SHA-256" in capsys.readouterr().err


def test_a_former_note_names_its_run_by_an_absolute_path(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(gallery, tmp_path / "copy")
    (run,) = (gallery.parent / "runs").glob("*/*/*")
    write_json(
        copy / "search.json", {"run": str(run), "ids": read_json(copy / "search.json")["ids"]}
    )
    assert main(["search", str(copy), "a red ball"]) == 0
    assert "images, " in capsys.readouterr().out


@pytest.mark.parametrize("left", [".gallery.json.1234.partial", ".lock"])
def test_an_index_killed_before_its_first_note_can_be_started_again(
    left: str, gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / left).write_text("{")
    (run,) = (gallery.parent / "runs").glob("*/*/*")
    words = ["index", str(gallery.parent / "micro"), str(tmp_path / "made"), "--run", str(run)]
    assert main(words) == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    assert main([*words[:2], str(tmp_path / "other"), *words[3:]]) == 2
    assert "this folder has other files" in capsys.readouterr().err
