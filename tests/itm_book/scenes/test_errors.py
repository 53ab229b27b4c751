"""What an image lacks of a caption, on scenes made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itm_book.scenes.controls import World, control_scores
from itm_book.scenes.errors import LACKS, _lacks, lacking
from itm_core.data.dataset import load_dataset
from tests.micro import write_dataset
from tests.scenes_pair import scenes

SAID: dict[str, Any] = {
    "mentions": [
        {"wanted": {"colour": "blue", "shape": "ball"}, "count": 1},
        {"wanted": {"colour": "red", "shape": "box"}, "count": 1},
    ],
    "relation": "left of", "between": False, "place": None, "ground": "grass",
}  # fmt: skip
TWO = {**SAID, "mentions": [{"wanted": {"shape": "ball"}, "count": 2}], "relation": None}


def thing(colour: str, shape: str, x: int) -> dict[str, Any]:
    plain = {"size": "small", "texture": "plain", "y": 50, "radius": 8, "covers": []}
    return {"colour": colour, "shape": shape, "x": x, **plain}


def image(*things: tuple[str, str, int], ground: str = "grass") -> dict[str, Any]:
    return {"ground": ground, "objects": [thing(*one) for one in things]}


@pytest.mark.parametrize(
    ("what", "lacks"),
    [
        (image(("blue", "ball", 10), ("red", "box", 60)), LACKS[0]),
        (image(("blue", "ball", 60), ("red", "box", 10)), "relation or place"),
        (image(("blue", "ball", 10), ("red", "box", 60), ground="sand"), LACKS[2]),
        (image(("blue", "ball", 60), ("red", "box", 10), ground="sand"), LACKS[2]),
        (image(("red", "ball", 10), ("blue", "box", 60)), "who has what"),
        (image(("pink", "ball", 10), ("red", "box", 60)), "looks: shapes agree"),
        (image(("blue", "star", 10), ("red", "ring", 60)), "shapes: colours agree"),
        (image(("blue", "star", 10), ("pink", "ring", 60)), "more than these"),
    ],
)
def test_the_first_relaxation_that_suffices(what: dict[str, Any], lacks: str) -> None:
    assert _lacks(World([what]), SAID) == [lacks]


def test_a_second_one_is_missing() -> None:
    one, two = image(("red", "ball", 10)), image(("red", "ball", 10), ("pink", "ball", 60))
    assert _lacks(World([one, two]), TWO) == [LACKS[2], LACKS[0]]


def test_every_caption_is_true_of_its_own_image_and_others_as_the_oracle_says(
    scenes_folder: Path,
) -> None:
    split = scenes(scenes_folder)
    captions = np.arange(len(split.captions))
    assert lacking(split, split.caption_image, captions) == [LACKS[0]] * len(captions)
    images, captions = (x.ravel() for x in np.indices((len(split.ids), 40)))
    found = np.array(lacking(split, images, captions)).reshape(-1, 40)
    np.testing.assert_array_equal(found == LACKS[0], control_scores(split, "oracle")[:, :40] > 0)
    bound = control_scores(split, "binding")[:, :40] > 0
    np.testing.assert_array_equal(np.isin(found, LACKS[:2]), bound)


def test_other_datasets_do_not_know(tmp_path: Path) -> None:
    split = load_dataset(write_dataset(tmp_path / "micro")).test
    assert lacking(split, [0, 1], [7, 2]) is None
