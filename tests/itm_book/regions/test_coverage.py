"""Coverage of people's boxes by regions, on boxes whose overlaps are worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from itm_book.regions.coverage import (
    PhraseBoxes,
    coverage,
    phrase_boxes,
    relevant_regions,
)
from itm_core.data.dataset import Split, load_split
from itm_core.errors import InputError

OBJECTS = [
    {"objects": [{"box": [0, 0, 10, 10]}, {"box": [20, 20, 40, 40]}]},
    {"objects": [{"box": [0, 0, 100, 50]}]},
]


def entry(objects: list[int], *kinds: str, phrase: int) -> dict:
    return {"objects": objects, "kinds": list(kinds), "phrase": phrase}


WORDS = [
    # two words of one phrase with two boxes, and a phrase of two types
    [None, entry([0, 1], "people", phrase=0), entry([0, 1], "people", phrase=0), None],
    [entry([1], "vehicles", "scene", phrase=3), None, entry([0], "people", phrase=4), None],
    [entry([0], "animals", phrase=0), None],
    [None, entry([], "other", phrase=0)],  # no box: not counted
]
REGIONS = np.array(
    [
        # IoU of .5 with the first box, exactly; the same box; 1 / 4 of the second
        [[0, 0, 10, 5], [0, 0, 10, 10], [20, 20, 30, 30]],
        [[50, 0, 100, 50], [60, 0, 100, 50], [0, 0, 1, 1]],  # .5, .4, hardly any
    ],
    np.float32,
)


def write_split(folder: Path, sizes: tuple[int, int] = (100, 50)) -> Split:
    np.save(folder / "test_ims.npy", np.zeros((2, 3, 5), np.float32))
    np.save(folder / "test_boxes.npy", REGIONS)
    np.save(folder / "test_img_sizes.npy", np.array([[100, 50], sizes]))
    captions = ["Two old men walk", "Cars near men walk", "Dogs run", "Nothing else"]
    (folder / "test_caps.txt").write_text("\n".join(captions) + "\n")
    (folder / "test_objects.json").write_text(json.dumps(OBJECTS))
    (folder / "test_words.json").write_text(json.dumps(WORDS))
    return load_split(folder, "test")


def test_boxes_of_phrases_by_hand(tmp_path: Path) -> None:
    phrases = phrase_boxes(write_split(tmp_path))
    assert phrases.kinds == [("people",), ("vehicles", "scene"), ("people",), ("animals",)]
    assert phrases.phrase.tolist() == [0, 0, 1, 2, 3]
    assert phrases.image.tolist() == [0, 0, 0, 0, 1]
    assert phrases.box[:, 2].tolist() == [10, 40, 40, 10, 100]
    assert phrases.of_kind("scene").tolist() == [False, True, False, False]


def test_coverage_by_hand(tmp_path: Path) -> None:
    table = coverage(write_split(tmp_path))
    assert table.index.tolist() == ["all", "animals", "people", "scene", "vehicles"]
    assert table["phrases"].tolist() == [4, 1, 2, 1, 1]
    assert table["covered"].tolist() == [3 / 4, 1, 1, 0, 0]
    none = float("nan")  # of phrases without a relevant region
    means = table["relevant regions"].tolist()
    assert means == pytest.approx([(2 + 2 + 1) / 3, 1, 2, none, none], nan_ok=True)
    # of two photographs, each gets the regions of the other: none is relevant
    assert table["regions of another photograph"].tolist() == [0] * 5


def test_a_region_of_another_photograph_is_scaled_to_this_one(tmp_path: Path) -> None:
    """The second photograph is five times as large, so its regions are a fifth here."""
    split = write_split(tmp_path, sizes=(500, 250))
    others = np.array([[[0, 0, 2, 2]] * 3, [[0, 0, 50, 50]] * 3], np.float32)
    table = coverage(split, regions=others)
    assert table["covered"].tolist() == [1 / 4, 1, 0, 0, 0]  # half of the second's box
    assert table.loc["people", "regions of another photograph"] == 1  # [0, 0, 10, 10]
    assert table.loc["animals", "regions of another photograph"] == 0


def test_counts_are_those_of_a_plain_loop() -> None:
    draw = np.random.default_rng(0)

    def boxes(*shape: int) -> np.ndarray:
        corner = draw.integers(0, 20, (*shape, 2))
        return np.concatenate([corner, corner + draw.integers(1, 20, (*shape, 2))], -1)

    phrase = np.sort(draw.integers(0, 30, 80))
    phrase = np.unique(phrase, return_inverse=True)[1]
    image = phrase // 5
    box, regions = boxes(80).astype(float), boxes(image.max() + 1, 9).astype(np.float32)
    phrases = PhraseBoxes(box, image, phrase, [()] * (phrase.max() + 1))
    expected = []
    for p in range(phrase.max() + 1):
        relevant = set()
        for k in np.flatnonzero(phrase == p):
            for r, region in enumerate(regions[image[k]]):
                a, b = box[k], region
                wide = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
                high = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
                area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
                if wide * high >= 0.3 * (area - wide * high):
                    relevant.add(r)
        expected.append(len(relevant))
    assert relevant_regions(phrases, regions, iou=0.3).tolist() == expected
    assert sum(expected) > 10


def test_what_cannot_be_judged_is_refused(tmp_path: Path) -> None:
    split = write_split(tmp_path)
    with pytest.raises(InputError, match="not an IoU; expected above 0, at most 1, found 50"):
        coverage(split, 50)
    (tmp_path / "test_boxes.npy").unlink()
    with pytest.raises(InputError, match="test_boxes.npy: no boxes of regions"):
        coverage(load_split(tmp_path, "test"))
    nothing = [[None] * len(row) for row in WORDS]
    (tmp_path / "test_words.json").write_text(json.dumps(nothing))
    with pytest.raises(InputError, match="test_words.json: no words with boxes"):
        coverage(split)
    for name in ("words", "objects"):
        (tmp_path / f"test_{name}.json").unlink()
    with pytest.raises(InputError, match="no words with boxes.*itm data entities"):
        coverage(split)
