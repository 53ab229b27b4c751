"""``itm index`` and ``itm search``, from a run to a ranked list."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from itm_book.galleries import dataset_gallery
from itm_book.galleries.gallery_note import with_checksum
from itm_book.galleries.opening import open_gallery
from itm_core.cli import main
from itm_core.data.dataset import load_split
from itm_core.errors import InputError
from itm_core.experiments.runs import train_or_load
from itm_core.json_files import read_json, write_json
from tests.damages import refusals
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


def test_processes_are_for_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, folder = write_dataset(tmp_path / "micro"), tmp_path / "gallery"
    assert main(["index", str(dataset), str(folder), "--workers", "2"]) == 2
    said = capsys.readouterr().err
    assert "--workers is for folders of photographs" in said
    assert "found a folder in the SCAN layout" in said
    assert not folder.exists()


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


def opened(folder: Path) -> None:
    open_gallery(folder).search("a red ball", 2)


@pytest.mark.parametrize("note", ["search.json", "gallery.json"])
def test_every_damage_of_a_note_is_one_message(note: str, gallery: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(gallery.parent, tmp_path / "copy") / gallery.name
    search = {k: v for k, v in read_json(copy / "search.json").items() if k != "files"}
    write_json(copy / "search.json", search | {"files": {}})
    if note == "search.json":
        write_json(copy / note, {k: v for k, v in search.items() if k != "checksum"})
    else:
        write_json(copy / "search.json", with_checksum(search))
    opened(copy)
    assert refusals(copy / note, lambda: opened(copy)) > 60


@pytest.mark.parametrize(
    "name",
    ["regions.npy", "first_stage.safetensors", "index.faiss", "gallery.json", "search.json"],
)
def test_a_file_of_a_gallery_that_was_changed_is_refused(
    name: str, gallery: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(gallery.parent, tmp_path / "copy") / gallery.name
    content = bytearray((copy / name).read_bytes())
    content[-7] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: "):
        opened(copy)
    (copy / name).unlink()
    with pytest.raises(InputError, match=rf"{name}|no gallery"):
        opened(copy)


def test_what_is_missing_of_an_index_is_written_again(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(gallery.parent, tmp_path / "copy") / gallery.name
    (run,) = (copy.parent / "runs").glob("*/*/*")
    words = ["index", str(copy.parent / "micro"), str(copy), "--run", str(run)]
    (copy / "index.faiss").unlink()
    with monkeypatch.context() as patched:  # captions are for a first stage alone
        patched.setattr(dataset_gallery, "_fitted_captions", None)
        assert main(words) == 0
    opened(copy)
    (copy / "first_stage.safetensors").unlink()
    assert main(words) == 0
    assert (copy / "index.faiss").read_bytes() == (gallery / "index.faiss").read_bytes()
    (copy / "first_stage.safetensors").write_bytes(b"")
    assert main(words) == 2


def test_only_captions_that_a_first_stage_is_fitted_to_are_encoded(
    gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = load_split(gallery.parent / "micro", "train")
    run = open_gallery(gallery).run
    monkeypatch.setattr(dataset_gallery, "FITTED", (2000, 3))
    first, *_, last = dataset_gallery._fitted_captions(train.folder, run)
    assert [first, last] == [run.vocabulary.encode(train.captions[k]) for k in (0, -1)]


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--vocabulary", "words.json", "--vocabulary is for imported checkpoints"),
        ("--device", "abacus", "abacus"),
    ],
)
def test_options_of_a_dataset_are_heeded(
    option: str,
    value: str,
    told: str,
    gallery: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["index", str(gallery.parent / "micro"), str(tmp_path / "made"), option, value]
    (run,) = (gallery.parent / "runs").glob("*/*/*")
    assert main(words + (["--run", str(run)] if option == "--device" else [])) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("noted", [True, False])
def test_words_with_other_ids_are_refused(noted: bool, gallery: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(gallery.parent, tmp_path / "copy") / gallery.name
    (vocabulary,) = (copy.parent / "runs").glob("*/*/*/vocabulary.json")
    ids = read_json(vocabulary)["word2idx"]
    first, second = [*ids][-2:]
    write_json(vocabulary, {"word2idx": ids | {first: ids[second], second: ids[first]}})
    if not noted:
        (vocabulary.parent / "files.json").unlink()
    message = "not the file that this run" if noted else "made with other words"
    with pytest.raises(InputError, match=message):
        opened(copy)


def test_a_former_gallery_is_opened(gallery: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(gallery.parent, tmp_path / "copy") / gallery.name
    for path in (copy / "search.json", copy / "gallery.json"):
        note = {k: v for k, v in read_json(path).items() if k not in ("files", "checksum")}
        write_json(path, note)
    opened(copy)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"matcher": None, "ids": None}, "no valid matcher, ids"),
        ({"matcher": 3}, "no valid matcher"),
        ({"matcher": {"run": 3}}, "no valid matcher"),
        ({"ids": "abc"}, "no valid ids"),
        ({"ids": [1, 2]}, "no valid ids"),
        ({"split": "../../x"}, "no valid split"),
        ({"ids": ["1"]}, "another content than was written"),
        ({"ids": ["1"], "checksum": None}, "1 ids for"),
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
    assert "this folder holds something else" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [b"", b"\xff" * 80])
def test_damaged_weights_are_refused_before_anything_is_written(
    damage: bytes, gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = (gallery.parent / "runs").glob("*/*/*")
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "files.json").unlink()
    (copy / "best.safetensors").write_bytes(damage)
    data, out = str(gallery.parent / "micro"), tmp_path / "out"
    assert main(["score", str(copy), data, "--out", str(out)]) == 2
    assert main(["index", data, str(out), "--run", str(copy)]) == 2
    assert capsys.readouterr().err.count("best.safetensors: the checkpoint does not fit") == 2
    assert not out.exists()
