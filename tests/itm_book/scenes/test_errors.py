"""Types of mismatch between an image and a caption, on hand-made scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itm_book.scenes.controls import SceneArrays, control_scores
from itm_book.scenes.errors import ERROR_TYPES, _error_types, pair_error_types
from itm_core.data.dataset import load_dataset
from tests.micro import write_dataset
from tests.scenes_pair import scenes

MEANING: dict[str, Any] = {
    "mentions": [
        {"wanted": {"colour": "blue", "shape": "ball"}, "count": 1},
        {"wanted": {"colour": "red", "shape": "box"}, "count": 1},
    ],
    "relation": "left of", "between": False, "place": None, "ground": "grass",
}  # fmt: skip
TWO = {**MEANING, "mentions": [{"wanted": {"shape": "ball"}, "count": 2}], "relation": None}


def thing(colour: str, shape: str, x: int) -> dict[str, Any]:
    plain = {"size": "small", "texture": "plain", "y": 50, "radius": 8, "covers": []}
    return {"colour": colour, "shape": shape, "x": x, **plain}


def image(*things: tuple[str, str, int], ground: str = "grass") -> dict[str, Any]:
    return {"ground": ground, "objects": [thing(*one) for one in things]}


@pytest.mark.parametrize(
    ("scene", "error_type"),
    [
        (image(("blue", "ball", 10), ("red", "box", 60)), ERROR_TYPES[0]),
        (image(("blue", "ball", 60), ("red", "box", 10)), "relation or place"),
        (image(("blue", "ball", 10), ("red", "box", 60), ground="sand"), ERROR_TYPES[2]),
        (image(("blue", "ball", 60), ("red", "box", 10), ground="sand"), ERROR_TYPES[2]),
        (image(("red", "ball", 10), ("blue", "box", 60)), "attribute binding"),
        (image(("pink", "ball", 10), ("red", "box", 60)), "attributes: shapes match"),
        (image(("blue", "star", 10), ("red", "ring", 60)), "shapes: colours match"),
        (image(("blue", "star", 10), ("pink", "ring", 60)), "other"),
    ],
)
def test_the_first_relaxation_that_suffices(scene: dict[str, Any], error_type: str) -> None:
    assert _error_types(SceneArrays([scene]), MEANING) == [error_type]


def test_a_second_one_is_missing() -> None:
    single, double = image(("red", "ball", 10)), image(("red", "ball", 10), ("pink", "ball", 60))
    assert _error_types(SceneArrays([single, double]), TWO) == [ERROR_TYPES[2], ERROR_TYPES[0]]


def test_every_caption_is_true_of_its_own_image_and_others_as_the_oracle_says(
    scenes_folder: Path,
) -> None:
    split = scenes(scenes_folder)
    captions = np.arange(len(split.captions))
    matching = pair_error_types(split, split.caption_image, captions)
    assert matching == [ERROR_TYPES[0]] * len(captions)
    images, captions = (x.ravel() for x in np.indices((len(split.ids), 40)))
    types = np.array(pair_error_types(split, images, captions)).reshape(-1, 40)
    true = control_scores(split, "oracle")[:, :40] > 0
    np.testing.assert_array_equal(types == ERROR_TYPES[0], true)
    bound = control_scores(split, "binding")[:, :40] > 0
    np.testing.assert_array_equal(np.isin(types, ERROR_TYPES[:2]), bound)


def test_other_datasets_do_not_know(tmp_path: Path) -> None:
    split = load_dataset(write_dataset(tmp_path / "micro")).test
    assert pair_error_types(split, [0, 1], [7, 2]) is None
