"""Entities for a dataset with Flickr8k's names: names, sizes, splits, and what does not fit."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itm_book.datasets import entities
from itm_book.datasets.entities import Annotated, write_annotations
from itm_book.datasets.entity_files import EntityFiles
from itm_core import files
from itm_core.cli import main
from itm_core.data.annotations import annotation_summary
from itm_core.data.dataset import load_split
from itm_core.errors import InputError
from tests.itm_book.photographs.test_interrupted_features import PATIENCE, content, killed_run

THINGS = ("dog", "cat", "boat", "kite", "horse")
SENTENCES = [
    f"[/EN#{chain}/animals A {thing}] in [/EN#9/scene snow] ."
    for chain, thing in enumerate(THINGS, 1)
]
OBJECT = """<object><name>{}</name><bndbox>
<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""
CORNERS = (11, 21, 61, 121)  # in the file, counted from 1; of 100 x 200 pixels


def xml(*boxes: tuple[int, tuple[float, ...]], size: str = "100 200") -> str:
    wide, high = size.split()
    objects = "".join(OBJECT.format(chain, *corners) for chain, corners in boxes)
    size = f"<size><width>{wide}</width><height>{high}</height></size>"
    return f"<annotation>{size}{objects}</annotation>"


def write_entities(root: Path, *names: str) -> Path:
    for name in names:
        for folder in ("Sentences", "Annotations"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "Sentences" / f"{name}.txt").write_text("\n".join(SENTENCES) + "\n")
        (root / "Annotations" / f"{name}.xml").write_text(xml((1, CORNERS), (2, CORNERS)))
    return root


def write_dataset(folder: Path, **splits: list[str]) -> Path:
    """Splits with these ids; the captions stand in another order than in Entities."""
    folder.mkdir(exist_ok=True)
    for split, ids in splits.items():
        np.save(folder / f"{split}_ims.npy", np.ones((len(ids), 2, 3), np.float32))
        np.save(folder / f"{split}_img_sizes.npy", np.tile([224, 224], (len(ids), 1)))
        captions = [f"a {thing} in snow" for thing in reversed(THINGS)]
        (folder / f"{split}_caps.txt").write_text("\n".join(captions * len(ids)) + "\n")
        (folder / f"{split}_ids.txt").write_text("".join(f"{i}\n" * 5 for i in ids))
    return folder


def boxes_of(annotated: Annotated, image: int = 0) -> list[list[float]]:
    return [thing["box"] for thing in annotated.objects[image]["objects"]]


def test_names_with_a_suffix_find_their_annotation(tmp_path: Path) -> None:
    root = write_entities(tmp_path / "entities", "10", "20", "20_b", "name")
    files = EntityFiles(root)
    assert files.name_of("10_693b08cb0e") == "10"
    assert files.name_of("20_b") == "20_b"  # the exact name comes first
    assert files.name_of("name") == "name"
    assert files.name_of("name_1") is None  # no number before the underscore
    assert files.name_of("30_b") is None
    with pytest.raises(InputError, match=r"fit the photograph 20_c; found 20.xml and 20_b.xml"):
        files.name_of("20_c")
    with pytest.raises(InputError, match="no annotations of Flickr30K Entities.*itm data get"):
        EntityFiles(tmp_path)


def test_two_photographs_of_one_number_are_named(tmp_path: Path) -> None:
    root = write_entities(tmp_path / "entities", "10", "20")
    for splits in (
        {"test": ["10_a.jpg", "10_b.jpg"]},
        {"train": ["10_a.jpg"], "dev": ["20_a.jpg"], "test": ["10_b.jpg"]},
    ):
        folder = write_dataset(tmp_path / f"{len(splits)}", **splits)
        with pytest.raises(InputError, match=r"photographs share the key '10'; found 10_a.jpg of"):
            write_annotations(folder, root)
        assert not list(folder.glob("*.json"))


def test_all_splits_in_one_call_scaled_on_both_axes(tmp_path: Path) -> None:
    root = write_entities(tmp_path / "entities", "10", "20", "30", "40")
    folder = write_dataset(tmp_path / "f8k", train=["10_a.jpg", "20_b.jpg"], test=["30_c.jpg"])
    train, test = write_annotations(folder, root).splits
    assert (train.split.name, test.split.name) == ("train", "test")
    scaled = [10 * 2.24, 20 * 1.12, 60 * 2.24, 120 * 1.12]
    assert boxes_of(test) == [pytest.approx(scaled, abs=1e-3)] * 2
    split = load_split(folder, "test")
    words = split.words()
    assert words is not None
    named = {"objects": [0], "kinds": ["animals"], "phrase": 0}
    assert words[4] == [None, named, None, None]  # the dog, last here and first in Entities
    assert words[3] == [None, named | {"objects": [1]}, None, None]
    assert words[:3] == [[None] * 4] * 3  # no box
    assert annotation_summary(split) == "2 of 20 words name something in 2 boxes (animals 2)"
    note = json.loads((folder / "test_entities.json").read_text())
    assert note["counts"]["equal"] == 5
    assert note["left_out"] == {}
    before = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    assert len(before) == 6
    write_annotations(folder, root)
    assert before == {path.name: path.read_bytes() for path in folder.glob("*.json")}


def test_without_sizes_the_picture_tells_its_own(tmp_path: Path) -> None:
    root = write_entities(tmp_path / "entities", "10", "20")
    folder = write_dataset(tmp_path / "f8k", test=["10_a.jpg", "20_b.jpg"])
    (folder / "test_img_sizes.npy").unlink()
    (folder / "pictures").mkdir()
    Image.new("RGB", (50, 400)).save(folder / "pictures" / "10_a.jpg")
    (annotated,) = write_annotations(folder, root).splits
    assert boxes_of(annotated, 0)[0] == [5, 40, 30, 240]
    assert boxes_of(annotated, 1)[0] == [10, 20, 60, 120]
    assert any("boxes not scaled: 1" in line for line in annotated.lines())


def test_boxes_outside_are_clipped_or_left_out_and_counted(tmp_path: Path) -> None:
    root = write_entities(tmp_path / "entities", "10")
    outside, beyond, inverted = (51, 0, 151, 301), (101, 1, 120, 9), (60, 1, 50, 9)
    boxes = xml((1, outside), (1, beyond), (2, inverted), (3, CORNERS))
    (root / "Annotations" / "10.xml").write_text(boxes)
    folder = write_dataset(tmp_path / "f8k", test=["10_a.jpg"])
    np.save(folder / "test_img_sizes.npy", np.array([[100, 200]]))
    (annotated,) = write_annotations(folder, root).splits
    assert boxes_of(annotated) == [[50, 0, 100, 200], [10, 20, 60, 120]]
    assert "  boxes: 2; clipped 1, left out as empty 2" in annotated.lines()
    note = json.loads((folder / "test_entities.json").read_text())
    assert note["clipped"] == {"10_a.jpg": ["1"]}  # the chains of each box
    assert note["empty"] == {"10_a.jpg": ["1", "2"]}
    counts = annotated.counts
    assert (counts.with_box, counts.without_box) == (2, 8)  # the cat's only box had no area
    named = [entry["objects"] for row in annotated.words for entry in row if entry]
    assert named == [[1], [0]]


def test_phrases_without_their_words_are_named(tmp_path: Path) -> None:
    root = write_entities(tmp_path / "entities", "10")
    folder = write_dataset(tmp_path / "f8k", test=["10_a.jpg"])
    cut = "a dog plays in the deep white snow beside"
    captions = (folder / "test_caps.txt").read_text().replace("a dog in snow", cut)
    (folder / "test_caps.txt").write_text(captions)
    whole = "[/EN#1/animals A dog] plays in the deep white snow beside [/EN#2/animals it] ."
    (root / "Sentences" / "10.txt").write_text("\n".join([whole, *SENTENCES[1:]]))
    (annotated,) = write_annotations(folder, root).splits
    assert (annotated.counts.annotated, annotated.counts.not_aligned) == (2, 1)
    note = json.loads((folder / "test_entities.json").read_text())
    assert note["not_aligned"] == {"4": ["it"]}
    assert annotated.lines()[-2:] == [
        "  captions without the words of a phrase: 1",
        "    caption 4: it",
    ]


def remove(root: Path, *files: str) -> None:
    for file in files:
        (root / file).unlink()


def change(file: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / file).write_text(text)


XML, TEXT = "Annotations/20.xml", "Sentences/20.txt"
DAMAGED = "20.xml: not an annotation of boxes; found"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no annotation": (lambda root: remove(root, XML, TEXT), "not in Entities"),
    "no boxes": (lambda root: remove(root, XML), "20.xml: annotations not found"),
    "no sentences": (lambda root: remove(root, TEXT), "20.txt: captions not found"),
    "cut off": (change(XML, xml((1, CORNERS))[:-30]), DAMAGED),
    "no number": (change(XML, xml((1, (1, 2, 3, float("nan"))))), f"{DAMAGED} ymax is nan"),
    "no size": (change(XML, xml(size="0 200")), f"{DAMAGED} a photograph of 0 x 200 pixels"),
    "encoding": (change(XML, "<?xml version='1.0' encoding='u9'?><a/>"), DAMAGED),
    "four lines": (
        change(TEXT, "\n".join(SENTENCES[:4])),
        "20.txt: wrong number of sentences; expected 5 lines, found 4",
    ),
    "open bracket": (
        change(TEXT, "\n".join(["[/EN#1/x A dog", *SENTENCES[1:]])),
        "20.txt, row 1: a phrase is not closed",
    ),
    "other captions": (
        change(TEXT, "Nothing of that sort .\n" * 5),
        "20.txt: other captions in Entities; expected a horse in snow, found Nothing of",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_photograph_without_usable_annotation_is_named_and_counted(
    tmp_path: Path, broken: str
) -> None:
    damage, message = BROKEN[broken]
    root = write_entities(tmp_path / "entities", "10", "20", "30")
    damage(root)
    folder = write_dataset(tmp_path / "f8k", test=["10_a.jpg", "20_b.jpg", "30_c.jpg"])
    with pytest.raises(InputError, match="1 of 3 photographs of the test split .*20_b.jpg"):
        write_annotations(folder, root, strict=True)
    assert not list(folder.glob("*.json"))
    (annotated,) = write_annotations(folder, root).splits
    assert list(annotated.left_out) == ["20_b.jpg"]
    assert message in annotated.left_out["20_b.jpg"]
    assert "  photographs without annotation: 1" in annotated.lines()
    assert annotated.counts.photographs == 2
    assert annotated.counts.equal == 10
    assert boxes_of(annotated, 1) == []
    assert [row for row in annotated.words[5:10] if any(row)] == []
    assert len(boxes_of(annotated, 2)) == 2
    note = json.loads((folder / "test_entities.json").read_text())
    assert note["left_out"] == annotated.left_out


def test_a_caption_that_is_no_sentence_is_named_and_not_annotated(tmp_path: Path) -> None:
    root = write_entities(tmp_path / "entities", "10")
    folder = write_dataset(tmp_path / "f8k", test=["10_a.jpg"])
    captions = (folder / "test_caps.txt").read_text().replace("a dog in snow", "Skiing downhill")
    (folder / "test_caps.txt").write_text(captions)
    (annotated,) = write_annotations(folder, root).splits
    counts = annotated.counts
    assert (counts.equal, counts.alike, counts.other) == (4, 0, 1)
    assert (counts.with_box, counts.annotated, counts.skipped) == (2, 1, 1)
    assert annotated.other == {4: "Skiing downhill"}
    assert "    caption 4: Skiing downhill" in annotated.lines()


def test_most_photographs_without_annotation_are_refused(tmp_path: Path) -> None:
    root = write_entities(tmp_path / "entities", "10")
    folder = write_dataset(tmp_path / "f8k", test=["10_a.jpg", "20_b.jpg", "30_c.jpg"])
    with pytest.raises(
        InputError, match=r"2 of 3 photographs .*found 20_b.jpg: not in Entities.*id_mapping.json"
    ):
        write_annotations(folder, root)
    assert not list(folder.glob("*.json"))


def test_a_failure_while_writing_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_entities(tmp_path / "entities", "10", "20")
    folder = write_dataset(tmp_path / "f8k", train=["10_a.jpg"], test=["20_b.jpg"])
    write_annotations(folder, root)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write, calls = Path.write_text, []

    def interrupted(path: Path, *arguments: str, **options: str) -> int:
        calls.append(path)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return write(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_annotations(folder, root, words="phrases")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


MOMENTS: list[tuple[Any, str, int, bool]] = [
    (entities, "_annotate", 2, False),
    (files, "_created", 1, True),
    (files, "_created", 6, True),  # of the last file
    (files, "put", 1, False),
    (files, "put", 1, True),  # one of six is in its place
    (files, "put", 4, True),
    (files, "put", 6, True),
]


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: f"{m[1]}-{m[2]}-{m[3]}")
def test_killed_and_started_again_gives_the_same_bytes(
    tmp_path: Path, moment: tuple[Any, str, int, bool], before: bool
) -> None:
    """Without annotations in the folder, or with others of the same splits."""
    root = write_entities(tmp_path / "entities", "10", "20")
    splits = {"train": ["10_a.jpg"], "test": ["20_b.jpg"]}
    folder, whole = (write_dataset(tmp_path / name, **splits) for name in ("f8k", "whole"))
    write_annotations(whole, root)
    if before:
        write_annotations(folder, root, words="phrases")
    arguments = ["data", "entities", str(folder), "--annotations", str(root)]
    process = get_context("fork").Process(target=killed_run, args=(arguments, *moment))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    files._partials_in.cache_clear()  # another process would list the folder
    assert main(arguments) == 0
    assert content(folder) == content(whole)
    assert not list(folder.glob(".*.partial"))


def test_annotations_of_other_photographs_are_counted(tmp_path: Path) -> None:
    root = write_entities(tmp_path / "entities", "10", "20", "30")
    folder = write_dataset(tmp_path / "f8k", test=["10_a.jpg"])
    annotations = write_annotations(folder, root)
    assert annotations.unused == ["20", "30"]
    assert json.loads((folder / "test_entities.json").read_text())["unused"] == ["20", "30"]
    lines = annotations.lines()
    assert lines[-3:] == ["annotations without a photograph in test: 2", "    20", "    30"]
