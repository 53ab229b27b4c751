"""Annotated words and objects: their format, and whether they fit captions and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from itm_core.data.annotations import annotation_summary
from itm_core.data.dataset import Split, load_split
from itm_core.errors import InputError
from itm_core.evaluation.attention_quality import annotation

CAPTIONS = ["Two dogs run", "A van"]
THINGS = [{"box": [0, 0, 10, 10], "chains": ["7"]}, {"box": [5, 5, 30.5, 20]}]
DOGS = {"objects": [0, 1], "kinds": ["animals"], "phrase": 0}
VAN = {"objects": [1], "kinds": ["vehicles", "scene"], "phrase": 0}


def write(folder: Path, words: object, objects: object) -> Split:
    folder.mkdir(exist_ok=True)
    np.save(folder / "test_ims.npy", np.zeros((1, 2, 3), np.float32))
    np.save(folder / "test_img_sizes.npy", np.array([[30, 20]]))
    (folder / "test_caps.txt").write_text("\n".join(CAPTIONS) + "\n")
    for name, rows in (("words", words), ("objects", objects)):
        path = folder / f"test_{name}.json"
        path.unlink(missing_ok=True)
        if rows is not None:
            path.write_text(json.dumps(rows))
    return load_split(folder, "test")


def test_a_split_that_is_held_sees_what_is_written_later(tmp_path: Path) -> None:
    split = write(tmp_path, None, None)
    np.save(tmp_path / "test_boxes.npy", np.array([[[0, 0, 10, 10], [5, 5, 30, 20]]], np.float32))
    held = load_split(tmp_path, "test")
    assert held.words() is None
    assert annotation(held) is None
    write(tmp_path, [[None, DOGS, None], [None, VAN]], [{"objects": THINGS}])
    first = annotation(held)
    assert first is not None
    assert first.naming[0].tolist() == [False, False, True, False, False]  # <start> and <end>
    assert annotation(held) is first  # and is read once
    write(tmp_path, [[DOGS, DOGS, None], [None, VAN]], [{"objects": THINGS}])
    again = annotation(held)
    assert again is not None
    assert again.naming[0].tolist() == [False, True, True, False, False]
    assert split.objects() == [{"objects": THINGS}]


def test_types_of_phrases_come_along(tmp_path: Path) -> None:
    split = write(tmp_path, [[None, DOGS, None], [None, VAN]], [{"objects": THINGS}])
    words, objects = split.words(), split.objects()
    assert words is not None
    assert objects is not None
    assert words[0][1] == DOGS
    assert words[1][1] == VAN
    assert objects[0]["objects"][0]["box"] == [0, 0, 10, 10]
    assert annotation_summary(split) == (
        "2 of 5 words name something in 2 boxes (animals 1, vehicles 1, scene 1)"
    )
    bare = write(tmp_path, [[None] * 3, [None] * 2], [{"objects": []}])
    assert annotation_summary(bare) == (
        "0 of 5 words name something in 0 boxes; 1 images without a box"
    )
    assert annotation_summary(write(tmp_path, None, None)) is None


@pytest.mark.parametrize(
    "entry",
    [
        3,
        "dogs",
        {},
        {"objects": 1},
        {"objects": [0.5]},
        {"objects": [-1]},
        {"objects": [True]},
        {"objects": [0], "kinds": "animals"},
        {"objects": [0], "kinds": [1]},
        {"objects": [0], "kinds": ["\ud800"]},
        {"objects": [0], "phrase": "first"},
        {"objects": [0], "phrase": -1},
        {"objects": [0], "phrase": 10**30},
    ],
)
def test_entries_of_another_format_are_refused(tmp_path: Path, entry: object) -> None:
    split = write(tmp_path, [[None, None, None], [None, entry]], [{"objects": THINGS}])
    with pytest.raises(InputError, match=r"test_words.json: entry 1 of the list has another"):
        split.words()


@pytest.mark.parametrize(
    "objects",
    [
        [None],
        [{}],
        [{"objects": {}}],
        [{"objects": [[0, 0, 1, 1]]}],
        [{"objects": [{"box": [0, 0, 1]}]}],
        [{"objects": [{"box": [0, 0, 1, "1"]}]}],
        [{"objects": [{"box": [0, 0, 1, float("nan")]}]}],
        [{"objects": [{"box": [float("-inf"), 0, 1, 1]}]}],
        [{"objects": [{"box": [0, 0, 1, 10**400]}]}],
    ],
)
def test_objects_of_another_format_are_refused(tmp_path: Path, objects: object) -> None:
    split = write(tmp_path, [[None] * 3, [None] * 2], objects)
    with pytest.raises(InputError, match=r"test_objects.json: entry 0 of the list has another"):
        split.objects()


@pytest.mark.parametrize(
    ("words", "things", "message"),
    [
        ([[None] * 3, [None] * 3], THINGS, "caption 1 has another number of tokens; expected 2"),
        ([[None] * 3, [None, VAN]], THINGS[:1], "a word of caption 1 .* indices below 1, found 1"),
        (
            [[None] * 3, [None] * 2],
            [{"box": [0, 0, 30, 22]}],
            r"the box of object 0 of image 0 .* leaves its picture; expected 0 <= x1 <= x2 <= 30",
        ),
        ([[None] * 3, [None] * 2], [{"box": [-2, 0, 30, 20]}], "leaves its picture"),
        ([[None] * 3, [None] * 2], [{"box": [2, 0, 1, 1]}], "is no box"),
        (None, THINGS, "test_words.json: words and objects need each other"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, words: object, things: list[dict], message: str
) -> None:
    split = write(tmp_path, words, [{"objects": things}])
    with pytest.raises(InputError, match=message):
        annotation_summary(split)
    with pytest.raises(InputError, match=r"test_objects.json: words and objects need each other"):
        annotation_summary(write(tmp_path, [[None] * 3, [None] * 2], None))
