"""Folders of features: the same bytes whatever happened on the way, and nothing half done."""

from __future__ import annotations

import json
import os
import signal
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itm_book.chapters.photographs.judgements import photographs
from itm_book.photographs import region_features
from itm_book.photographs.backbones import Colour
from itm_book.photographs.own_split import load_own
from itm_book.photographs.picture_sources import of_dataset, of_flickr8k, of_folder
from itm_book.photographs.region_features import Task, make_features
from itm_book.regions.region_boxes import BoxFile, Grid, layout
from itm_core.data.dataset import load_dataset, load_split
from itm_core.data.feature_notes import read_note
from itm_core.data.photographs import PhotographError, read_photograph
from itm_core.errors import InputError
from tests.photos import noise, write_captions, write_flickr8k, write_photographs


class Stopped(Colour):
    """The colour descriptor, that is killed at the n-th picture."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def __call__(self, picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return super().__call__(picture, boxes)


def files_of(folder: Path) -> dict[str, bytes]:
    names = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return {path.name: path.read_bytes() for path in names}


def made(pictures: Path, folder: Path, **options: bool) -> region_features.MadeFeatures:
    task = Task(sources=of_folder(pictures), backbone=Colour())
    return make_features(task, folder, progress=False, **options)


def test_a_folder_of_photographs_becomes_features_boxes_sizes_and_ids(tmp_path: Path) -> None:
    pictures = write_photographs(tmp_path / "photos")
    done = made(pictures, tmp_path / "out")
    assert done.lines() == ["own: 4 images, 36 regions of 92"]
    split = load_own(tmp_path / "out")
    assert split.ids == ["p0.png", "p1.png", "p2.png", "p3.png"]
    assert split.sizes is not None
    assert split.boxes is not None
    for k in range(4):
        picture = noise(k, 30 + k, 40)
        assert split.sizes[k].tolist() == [40, 30 + k]
        np.testing.assert_array_equal(split.boxes[k], layout(40, 30 + k))
        np.testing.assert_array_equal(split.regions[k], Colour()(picture, split.boxes[k]))
        np.testing.assert_array_equal(split.picture(k), picture)
    assert not list(tmp_path.glob(".out.partial"))


@pytest.mark.parametrize("after", [0, 1, 4, 6])
def test_stopped_and_continued_gives_the_bytes_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(region_features, "BLOCK", 2)
    pictures = write_photographs(tmp_path / "photos", 7)
    made(pictures, tmp_path / "whole")
    task = Task(sources=of_folder(pictures), backbone=Stopped(after))
    with pytest.raises(KeyboardInterrupt):
        make_features(task, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    rest = Stopped(7 - after)  # pictures that were described before are not described again
    make_features(
        Task(sources=of_folder(pictures), backbone=rest), tmp_path / "out", progress=False
    )
    assert rest.left == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


class Killed(Stopped):
    """The colour descriptor, whose process ends without a word at the n-th picture."""

    def __call__(self, picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(picture, boxes)


def test_killed_between_two_notes_of_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region_features, "BLOCK", 2)
    pictures = write_photographs(tmp_path / "photos", 7)
    made(pictures, tmp_path / "whole")
    task = Task(sources=of_folder(pictures), backbone=Killed(5))
    options = {"progress": False}
    process = get_context("fork").Process(
        target=make_features, args=(task, tmp_path / "out"), kwargs=options
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    rest = Stopped(3)  # rows 0 to 3 were noted, row 4 was not
    make_features(
        Task(sources=of_folder(pictures), backbone=rest), tmp_path / "out", progress=False
    )
    assert rest.left == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_what_changed_since_is_made_anew_and_what_did_not_is_not(tmp_path: Path) -> None:
    pictures = write_photographs(tmp_path / "photos")
    made(pictures, tmp_path / "out")
    task = Task(sources=of_folder(pictures), backbone=Stopped(0))
    make_features(task, tmp_path / "out", progress=False)  # describes nothing
    Image.fromarray(noise(9)).save(pictures / "p9.png")
    assert made(pictures, tmp_path / "out").images == {"own": 5}
    assert load_own(tmp_path / "out").ids[-1] == "p9.png"


def test_changed_pictures_of_a_dataset_are_described_again(tmp_path: Path) -> None:
    pictures = write_photographs(tmp_path / "photos", 2)
    captions = {"test": write_captions(tmp_path / "t.token", [0, 1])}
    first = Task(sources=of_folder(pictures, dict(captions.items())), backbone=Colour())
    make_features(first, tmp_path / "a", progress=False)
    task = Task(sources=of_dataset(tmp_path / "a"), backbone=Colour())
    make_features(task, tmp_path / "b", progress=False)
    changed = noise(9, 50, 60)
    Image.fromarray(changed).save(pictures / "p1.png")
    again = Task(sources=of_dataset(tmp_path / "a"), backbone=Colour())
    make_features(again, tmp_path / "b", progress=False)
    expected = Colour()(changed, layout(40, 31))  # in the boxes of the dataset
    np.testing.assert_array_equal(load_split(tmp_path / "b", "test").regions[1], expected)


def test_what_others_wrote_into_replaced_features_is_kept_or_named(tmp_path: Path) -> None:
    pictures, out = write_photographs(tmp_path / "photos"), tmp_path / "out"
    made(pictures, out)
    (out / "vocab.json").write_text("{}")
    (out / "own_words.json").write_text("[]")
    Image.fromarray(noise(9)).save(pictures / "p9.png")
    assert made(pictures, out).lines()[1:] == [
        "vocabulary of the replaced features: kept",
        "removed with the replaced features: own_words.json",
    ]
    assert (out / "vocab.json").read_text() == "{}"


def test_a_vocabulary_of_other_captions_is_removed(tmp_path: Path) -> None:
    pictures, out = write_photographs(tmp_path / "photos", 3), tmp_path / "out"

    def remade(images: list[int]) -> list[str]:
        captions: dict[str | None, Path] = {
            "test": write_captions(tmp_path / "t.token", images, captions=2)
        }
        task = Task(sources=of_folder(pictures, captions), backbone=Colour())
        return make_features(task, out, progress=False).lines()[1:]

    assert remade([0, 1]) == ["photographs that no caption or split names: 1 (p2.png)"]
    (out / "vocab.json").write_text("{}")
    Image.fromarray(noise(9)).save(pictures / "p0.png")
    assert remade([0, 1])[1:] == ["vocabulary of the replaced features: kept"]
    said = "vocabulary of the replaced features: removed, as it was of other captions"
    assert remade([0, 1, 2]) == [said]
    assert not (out / "vocab.json").exists()


def test_a_vocabulary_is_replaced_by_that_of_the_dataset(tmp_path: Path) -> None:
    pictures = write_photographs(tmp_path / "photos", 2)
    captions = {"test": write_captions(tmp_path / "t.token", [0, 1])}
    first = Task(sources=of_folder(pictures, dict(captions.items())), backbone=Colour())
    make_features(first, tmp_path / "a", progress=False)
    (tmp_path / "a" / "vocab.json").write_text('{"of": "a"}')

    def remade(boxes: Grid | None) -> list[str]:
        task = Task(sources=of_dataset(tmp_path / "a"), backbone=Colour(), boxes=boxes)
        return make_features(task, tmp_path / "b", progress=False).lines()[1:]

    assert remade(None) == []
    assert remade(Grid()) == ["vocabulary of the replaced features: kept"]
    (tmp_path / "b" / "vocab.json").unlink()  # it is one file with that of the dataset
    (tmp_path / "b" / "vocab.json").write_text('{"of": "b"}')
    (line,) = remade(None)
    assert line.endswith(": replaced by that of the dataset with the pictures")
    assert (tmp_path / "b" / "vocab.json").read_text() == '{"of": "a"}'


def test_annotations_of_whole_pictures_are_carried(tmp_path: Path) -> None:
    pictures = write_photographs(tmp_path / "photos", 3)
    captions = {"test": write_captions(tmp_path / "t.token", [0, 1, 2], captions=2)}
    first = Task(sources=of_folder(pictures, dict(captions.items())), backbone=Colour())
    folder = make_features(first, tmp_path / "a", progress=False).folder
    for name, entries in (("words", [[k] for k in range(6)]), ("objects", [*"abc"])):
        (folder / f"test_{name}.json").write_text(json.dumps(entries))
    for name in ("vocab", "test_entities"):
        (folder / f"{name}.json").write_text("{}")
    (pictures / "p1.png").write_bytes(b"x")
    task = Task(sources=of_dataset(folder), backbone=Colour())
    done = make_features(task, tmp_path / "b", skip_damaged=True, progress=False)
    assert json.loads((done.folder / "test_words.json").read_text()) == [[0], [1], [4], [5]]
    assert json.loads((done.folder / "test_objects.json").read_text()) == ["a", "c"]
    assert (done.folder / "vocab.json").exists()
    assert "not copied, as it describes those too: test_entities.json" in done.lines()


@pytest.mark.parametrize(
    ("name", "content", "expected", "found", "remedy"),
    [
        ("words", "[[0]]", "6 captions", "1 rows", "itm data entities"),
        ("objects", "{}", "3 images", "dict", "itm data entities"),
        ("meanings", "[]", "6 captions", "0 rows", "itm scenes"),
    ],
)
def test_annotations_of_another_length_are_refused_before_a_picture_is_described(
    tmp_path: Path, name: str, content: str, expected: str, found: str, remedy: str
) -> None:
    pictures = write_photographs(tmp_path / "photos", 3)
    captions = {"test": write_captions(tmp_path / "t.token", [0, 1, 2], captions=2)}
    first = Task(sources=of_folder(pictures, dict(captions.items())), backbone=Colour())
    folder = make_features(first, tmp_path / "a", progress=False).folder
    (folder / f"test_{name}.json").write_text(content)
    task = Task(sources=of_dataset(folder), backbone=Stopped(0))
    said = rf"test_{name}\.json: wrong length; expected {expected}, found {found}.*{remedy}"
    with pytest.raises(InputError, match=said):
        make_features(task, tmp_path / "b", skip_damaged=True, progress=False)
    assert not list(tmp_path.glob(".b.*"))
    whole = Task(sources=of_dataset(folder), backbone=Colour())
    make_features(whole, tmp_path / "b", progress=False)  # nothing is left out: carried as it is


def test_a_start_with_other_pictures_forgets_the_unfinished_ones(tmp_path: Path) -> None:
    pictures = write_photographs(tmp_path / "photos")
    with pytest.raises(KeyboardInterrupt):
        make_features(
            Task(sources=of_folder(pictures), backbone=Stopped(2)), tmp_path / "out", progress=False
        )
    Image.fromarray(noise(9)).save(pictures / "p0.png")
    made(pictures, tmp_path / "out")
    split = load_own(tmp_path / "out")
    np.testing.assert_array_equal(split.regions[0], Colour()(noise(9), layout(40, 30)))


@pytest.mark.parametrize("broken", [0, 2])
def test_a_damaged_photograph_stops_it_or_is_left_out(tmp_path: Path, broken: int) -> None:
    pictures = write_photographs(tmp_path / "photos")
    whole = (pictures / f"p{broken}.png").read_bytes()
    (pictures / f"p{broken}.png").write_bytes(whole[:200])
    with pytest.raises(PhotographError, match=rf"p{broken}.png: .*--skip-damaged"):
        made(pictures, tmp_path / "out")
    done = made(pictures, tmp_path / "out", skip_damaged=True)
    assert done.lines()[-2:] == ["damaged photographs, skipped: 1", f"    {done.skipped[0]}"]
    assert done.skipped[0].startswith(f"p{broken}.png: not readable as a picture: ")
    split = load_own(tmp_path / "out")
    kept = [k for k in range(4) if k != broken]
    assert split.ids == [f"p{k}.png" for k in kept]
    for row, k in enumerate(kept):
        expected = Colour()(read_photograph(pictures / f"p{k}.png"), layout(40, 30 + k))
        np.testing.assert_array_equal(split.regions[row], expected)
    note = read_note(tmp_path / "out")
    assert note is not None
    assert note["left_out"] == done.skipped


def test_nothing_but_damaged_photographs(tmp_path: Path) -> None:
    pictures = write_photographs(tmp_path / "photos", 1)
    (pictures / "p0.png").write_bytes(b"x")
    with pytest.raises(InputError, match="no picture of own can be read"):
        made(pictures, tmp_path / "out", skip_damaged=True)
    assert not (tmp_path / "out").exists()


def test_flickr8k_has_its_three_splits_in_their_order(tmp_path: Path) -> None:
    sources = of_flickr8k(write_flickr8k(tmp_path / "flickr8k"))
    done = make_features(
        Task(sources=sources, backbone=Colour()), tmp_path / "made", progress=False
    )
    assert done.images == {"train": 3, "dev": 1, "test": 2}
    assert done.lines()[-1] == "photographs that no caption or split names: 1 (p6.jpg)"
    data = load_dataset(tmp_path / "made", full=True)
    assert data.train.ids == ["p4.jpg", "p0.jpg", "p2.jpg"]
    assert data.train.captions[5] == "a picture 0 says 0"
    assert data.test.picture(1) is not None
    assert photographs(data.test) == ["p5", "p3"]  # as human judgements name them
    (tmp_path / "flickr8k" / "pictures" / "p4.jpg").unlink()
    with pytest.raises(InputError, match=r"captioned photographs are missing.*p4"):
        of_flickr8k(tmp_path / "flickr8k")
    with pytest.raises(InputError, match=r"Flickr8k is missing.*itm data get flickr8k"):
        of_flickr8k(tmp_path / "nowhere")


def test_a_folder_with_captions_becomes_a_dataset(tmp_path: Path) -> None:
    pictures = write_photographs(tmp_path / "photos", 5)
    captions = {
        split: write_captions(tmp_path / f"{split}.token", images)
        for split, images in (("train", [3, 1]), ("test", [0]))
    }
    sources = of_folder(pictures, dict(captions.items()))
    make_features(Task(sources=sources, backbone=Colour()), tmp_path / "made", progress=False)
    assert load_split(tmp_path / "made", "train").ids == ["p3.png", "p1.png"]
    assert load_split(tmp_path / "made", "test").captions[4] == "a picture 0 says 4"


def test_a_dataset_is_described_anew_with_its_boxes_captions_and_truths(tmp_path: Path) -> None:
    pictures = write_photographs(tmp_path / "photos", 2)
    captions = {"test": write_captions(tmp_path / "t.token", [0, 1])}
    boxes = np.tile(np.array([[[1.0, 2, 20, 30]]]), (2, 1, 1))
    np.save(tmp_path / "boxes.npy", boxes)
    sources = of_folder(pictures, dict(captions.items()))
    given = BoxFile(tmp_path / "boxes.npy", [("test", ["p0.png", "p1.png"])])
    first = Task(sources=sources, backbone=Colour(), boxes=given)
    make_features(first, tmp_path / "a", progress=False)
    (tmp_path / "a" / "test_words.json").write_text("[]")
    again = Task(sources=of_dataset(tmp_path / "a"), backbone=Colour())
    make_features(again, tmp_path / "b", progress=False)
    for name in (
        "test_ims.npy",
        "test_boxes.npy",
        "test_caps.txt",
        "test_ids.txt",
        "test_words.json",
    ):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    grid = Task(sources=of_dataset(tmp_path / "a"), backbone=Colour(), boxes=Grid())
    make_features(grid, tmp_path / "c", progress=False)
    assert load_split(tmp_path / "c", "test").boxes is not None
    np.testing.assert_array_equal(load_split(tmp_path / "c", "test").boxes[0], layout(40, 30))
    (tmp_path / "a" / "pictures").unlink()
    with pytest.raises(InputError, match="no pictures in this dataset"):
        of_dataset(tmp_path / "a")


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    pictures = write_photographs(tmp_path / "photos")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match=r"this folder has other files.*--out"):
        made(pictures, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_two_at_once_are_refused_and_no_room_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    pictures = write_photographs(tmp_path / "photos")
    with (
        FileLock(tmp_path / ".out.lock"),
        pytest.raises(InputError, match="another process makes these features"),
    ):
        made(pictures, tmp_path / "out")
    monkeypatch.setattr(region_features, "require_space", _no_room)
    with pytest.raises(InputError, match="no space to write the features"):
        made(pictures, tmp_path / "out")


def _no_room(folder: Path, needed: int, purpose: str) -> None:
    assert needed == 4 * 36 * (92 + 4) * 4
    raise InputError(f"no space to {purpose}", file=folder)
