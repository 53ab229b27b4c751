"""``itm index`` and ``itm gallery``: what is in a gallery after photographs come, go and move."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from itm_book.chapters.your_pictures import scores, with_sentences
from itm_book.galleries import indexing
from itm_book.galleries.indexing import index_photographs, open_photographs, remove_photographs
from itm_book.galleries.picture_rows import content_hash
from itm_book.photographs.run_pictures import pictures_for
from itm_core.cli import main
from itm_core.errors import InputError
from itm_core.experiments.run import Run
from itm_core.json_files import read_json
from tests.painted import COLOURS, paint

SENTENCES = ["a red dog", "a green ball", "a white cat"]
Lines = pytest.CaptureFixture[str]


def content(folder: Path) -> dict[str, bytes]:
    """The files of a gallery by their relative paths, without its lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def index(photos: Path, folder: Path, matcher: Run) -> int:
    words = ["index", str(photos), str(folder), "--matcher", str(matcher.folder)]
    return main([*words, "--workers", "1", "--device", "cpu"])


def test_scores_are_those_of_the_same_features_in_the_scan_layout(
    photos: Path, tmp_path: Path, matcher: Run
) -> None:
    made = index_photographs(photos, tmp_path / "made", matcher).gallery
    split = pictures_for(matcher, photos, tmp_path / "features", progress=False)
    expected = scores(matcher, with_sentences(matcher, split, SENTENCES))
    assert made.names == [[name] for name in split.ids]
    np.testing.assert_array_equal(made.scores(SENTENCES), expected)
    np.testing.assert_array_equal(made.boxes(), split.boxes)


def test_blocks_do_not_change_scores(
    photos: Path, tmp_path: Path, matcher: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = index_photographs(photos, tmp_path / "made", matcher).gallery
    together, regions = made.scores(SENTENCES), made.embeddings()
    monkeypatch.setattr("itm_book.galleries.photograph_gallery.AT_ONCE", 4)
    np.testing.assert_allclose(made.scores(SENTENCES), together, atol=1e-6)
    np.testing.assert_allclose(made.embeddings(), regions, atol=1e-6)


def test_a_sentence_finds_its_colour_and_says_where_each_word_looks(
    photos: Path, tmp_path: Path, matcher: Run, capsys: Lines
) -> None:
    assert index(photos, tmp_path / "made", matcher) == 0
    assert "6 photographs; added 6, removed 0" in capsys.readouterr().out
    command = ["search", str(tmp_path / "made"), "a red zebra", "--top", "2"]
    assert main([*command, "--matcher", str(matcher.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a red zebra: 6 images, ")
    assert lines[1] == "unknown to the vocabulary: zebra"
    assert lines[2].split(maxsplit=1)[1] == str(photos / "red.png")
    for line, word in zip(lines[3:6], ("a", "red", "zebra"), strict=True):
        name, weight, box = line.split(maxsplit=2)
        x1, y1, x2, y2 = map(int, box.split(", "))
        assert name == word
        assert 1 / 36 <= float(weight) + 5e-4 <= 1  # the largest of 36 that sum to one
        assert 0 <= x1 < x2 <= 40
        assert 0 <= y1 < y2 <= 30
    assert len(lines) == 2 + 2 * 4
    assert main([*command, "--candidates", "5"]) == 2
    assert "leave --candidates out" in capsys.readouterr().err


def test_subfolders_any_name_the_same_photograph_twice_and_unreadable_ones(
    photos: Path, matcher: Run, capsys: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = photos / "Süd küste" / "2"
    paint(below / "line\nbreak.PNG", "red", seed=1)
    paint(below / os.fsdecode(b"\xff.png"), "blue", seed=2)
    shutil.copy(photos / "green.png", below / "once more.png")
    (photos / "empty.jpg").touch()
    (photos / "text.jpg").write_text("no picture")
    (photos / "gone.jpg").symlink_to("nothing")
    (photos / "linked").symlink_to(below)
    os.mkfifo(photos / "pipe.jpg")
    (photos / "notes.txt").write_text("no photograph")
    (photos / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (photos / ".hidden").mkdir()
    shutil.copy(photos / "green.png", photos / ".hidden" / "g.png")

    def closed(path: Path) -> str:
        if "\n" in path.name:
            raise PermissionError(13, "Permission denied")
        return content_hash(path)

    with monkeypatch.context() as patch:  # root may read everything
        patch.setattr(indexing, "content_hash", closed)
        assert index(photos, photos / "gallery", matcher) == 0
    printed = capsys.readouterr().out
    assert "8 photographs, 1 of them the same as others; added 8" in printed
    assert "not readable, left out: 7\n" in printed
    assert "    phone.HEIC: a format that is not read; save it as .jpg" in printed
    assert "    empty.jpg: not readable as a picture: an empty file" in printed
    assert "    text.jpg: not readable as a picture: no picture" in printed
    assert "    gone.jpg: No such file or directory" in printed
    assert "    linked: a link to a folder, which is not followed; index that folder" in printed
    assert "    pipe.jpg: a pipe, a socket or a device" in printed
    assert "line\\nbreak.PNG: Permission denied" in printed
    assert index(photos, photos / "gallery", matcher) == 0  # not its own copies
    assert "9 photographs, 1 of them the same as others; added 1" in capsys.readouterr().out
    assert main(["search", str(photos / "gallery"), "a green dog", "--top", "1",
                 "--matcher", str(matcher.folder)]) == 0  # fmt: skip
    first = capsys.readouterr().out.splitlines()[1]
    green = [photos / "Süd küste" / "2" / "once more.png", photos / "green.png"]
    assert first.endswith(f"  {green[0]} (the same as {green[1]})")
    command = ["gallery", "list", str(photos / "gallery"), "--matcher", str(matcher.folder)]
    assert main(command) == 0
    listed = capsys.readouterr().out.splitlines()
    assert "Süd küste/2/line\\nbreak.PNG" in listed
    assert "Süd küste/2/\\udcff.png" in listed
    assert "empty.jpg: left out, not readable as a picture: an empty file" in listed


def test_adding_and_removing_are_equal_to_indexing_anew(
    photos: Path, tmp_path: Path, matcher: Run, capsys: Lines
) -> None:
    every = shutil.copytree(photos, tmp_path / "every")
    paint(every / "b" / "more.png", "pink", seed=3)
    assert index(every, tmp_path / "anew", matcher) == 0
    assert index(photos, tmp_path / "made", matcher) == 0
    paint(photos / "b" / "more.png", "pink", seed=3)
    paint(photos / "c.png", "red", seed=4)
    options = ["--matcher", str(matcher.folder)]
    added = [str(photos / "b"), str(photos / "c.png")]
    assert main(["gallery", "add", str(tmp_path / "made"), *added, *options]) == 0
    assert "8 photographs; added 2, removed 0" in capsys.readouterr().out
    assert main(["gallery", "remove", str(tmp_path / "made"), "c.png", *options]) == 0
    assert "7 photographs; added 0, removed 1" in capsys.readouterr().out
    made, anew = content(tmp_path / "made"), content(tmp_path / "anew")
    different = {name for name in made.keys() | anew.keys() if made.get(name) != anew.get(name)}
    assert different == {"search.json"}  # which names the other folder
    galleries = [open_photographs(tmp_path / name, options[1]) for name in ("made", "anew")]
    np.testing.assert_array_equal(*(one.scores(SENTENCES) for one in galleries))
    assert galleries[0].names == galleries[1].names
    assert main(["gallery", "remove", str(tmp_path / "made"), "b", "red.png", *options]) == 0
    assert len(open_photographs(tmp_path / "made", options[1])) == len(COLOURS) - 1


def test_indexing_again_follows_the_folder_and_keeps_what_was_added_from_elsewhere(
    photos: Path, tmp_path: Path, matcher: Run, capsys: Lines
) -> None:
    paint(tmp_path / "elsewhere" / "x.png", "red", seed=5)
    options = ["--matcher", str(matcher.folder)]
    assert index(photos, tmp_path / "made", matcher) == 0
    elsewhere = str(tmp_path / "elsewhere")
    assert main(["gallery", "add", str(tmp_path / "made"), elsewhere, *options]) == 0
    (photos / "red.png").unlink()
    paint(photos / "blue.png", "blue", seed=6)  # another content of the same name
    assert index(photos, tmp_path / "made", matcher) == 0
    assert "6 photographs; added 0, removed 1" in capsys.readouterr().out
    gallery = open_photographs(tmp_path / "made", options[1])
    assert ["../elsewhere/x.png"] in gallery.names
    assert len(list((tmp_path / "made" / "pictures").rglob("*.safetensors"))) == 6
    best = gallery.search("a red dog", 1).hits[0]
    assert Path(best.names[0]).samefile(tmp_path / "elsewhere" / "x.png")


@pytest.mark.parametrize("place", [".", "..", "photos"])
def test_a_photograph_has_one_name_from_wherever_it_is_added(
    place: str, photos: Path, tmp_path: Path, matcher: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index(photos, tmp_path / "made", matcher) == 0
    before = content(tmp_path / "made")
    monkeypatch.chdir(photos if place == ".." else tmp_path)
    options = ["--matcher", str(matcher.folder)]
    assert main(["gallery", "add", str(tmp_path / "made"), place, *options]) == 0
    assert content(tmp_path / "made") == before


def test_gallery_and_photographs_can_be_moved(
    photos: Path, tmp_path: Path, matcher: Run, capsys: Lines
) -> None:
    assert index(photos, tmp_path / "made", matcher) == 0
    before = open_photographs(tmp_path / "made", str(matcher.folder)).scores(SENTENCES)
    assert str(tmp_path).encode() not in content(tmp_path / "made")["search.json"]
    project = tmp_path / "new place"
    project.mkdir()
    photos.rename(project / "photos")
    (tmp_path / "made").rename(project / "made")
    moved = open_photographs(project / "made", str(matcher.folder))
    np.testing.assert_array_equal(moved.scores(SENTENCES), before)
    hit = moved.search("a red dog", 1).hits[0]
    assert hit.names == [str(project / "photos" / "red.png")]
    (project / "made").rename(tmp_path / "alone")  # without the photographs
    alone = open_photographs(tmp_path / "alone", str(matcher.folder)).search("a red dog", 1)
    assert alone.hits[0].names == ["red.png"]
    assert alone.hits[0].record is not None
    assert alone.hits[0].record.pair.picture is not None  # it keeps smaller copies
    capsys.readouterr()
    assert index(project / "photos", tmp_path / "alone", matcher) == 0
    assert "6 photographs; added 0, removed 0" in capsys.readouterr().out


def test_what_does_not_fit_is_refused(
    photos: Path, tmp_path: Path, matcher: Run, capsys: Lines
) -> None:
    folder = tmp_path / "made"
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    paint(tmp_path / "others" / "x.png", "red")
    assert index(photos, folder, matcher) == 0
    before = content(folder)
    found = str(matcher.folder)
    for command, told in (
        (["index", str(tmp_path / "none"), str(folder)], "no such folder of photographs"),
        (["index", str(tmp_path / "empty"), str(folder)], "no photographs here"),
        (["index", str(photos), str(tmp_path / "mine")], "this folder holds something else"),
        (["index", str(tmp_path / "others"), str(folder)], "this gallery is of another folder"),
        (["index", str(photos), str(folder), "--split", "dev"], "--split is for datasets"),
        (["index", str(photos), str(folder), "--matcher", "scan-t2i"], "made with other weights"),
        (["search", str(folder), "a dog", "--matcher", "scan-t2i"], "made with other weights"),
        (["search", str(folder), "a dog", "--matcher", found, "--top", "0"], "1 or more, found"),
        (["gallery", "add", str(folder), "none.jpg", "--matcher", found], "no such photograph"),
        (["gallery", "remove", str(folder), "x", "--matcher", found], "itm gallery list"),
        (["gallery", "remove", str(folder), *(f"{c}.png" for c in COLOURS), "--matcher", found],
         "no photograph would be in the gallery"),
        (["gallery", "add", str(tmp_path / "none"), str(photos)], "no gallery in this folder"),
    ):  # fmt: skip
        capsys.readouterr()
        if command[0] == "index" and "--matcher" not in command:
            command = [*command, "--matcher", found]
        assert main(command) == 2, command
        assert told in capsys.readouterr().err, command
    assert content(folder) == before
    assert not (tmp_path / "none").exists()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_damage_is_one_message(photos: Path, tmp_path: Path, matcher: Run) -> None:
    folder = tmp_path / "made"
    gallery = index_photographs(photos, folder, matcher).gallery
    path = next((folder / "pictures").rglob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=rf"{path.name}.*missing or damaged.*itm index again"):
        gallery.scores(SENTENCES)
    path.unlink()
    index_photographs(photos, folder, matcher)
    assert gallery.scores(SENTENCES).shape == (6, 3)
    note = read_json(folder / "search.json")
    for change in ({"pictures": 3}, {"matcher": {}}, {"unreadable": None}):
        (folder / "search.json").write_text(str({**note, **change}).replace("'", '"'))
        with pytest.raises(InputError, match=r"not readable as JSON|note of the gallery is damag"):
            open_photographs(folder, str(matcher.folder))


def test_a_name_is_a_photograph_or_a_folder_but_no_beginning_of_one(
    photos: Path, tmp_path: Path, matcher: Run
) -> None:
    paint(photos / "red" / "dish.png", "red", seed=7)
    index_photographs(photos, tmp_path / "made", matcher)
    left = remove_photographs(tmp_path / "made", ["red"], str(matcher.folder)).gallery.names
    assert left == [[f"{colour}.png"] for colour in sorted(COLOURS)]
