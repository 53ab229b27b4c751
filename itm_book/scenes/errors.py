"""Types of retrieval errors on Scenes: which conditions of a caption an image does not satisfy.

The conditions of a caption that is not true of an image are relaxed step by step until it is. The
first relaxation that suffices is the type of the error.

Page: "Similarity distributions".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from itm_book.scenes.controls import SceneArrays, holds, meanings, true_word_fraction
from itm_core.data.dataset import Split

NO_RELATIONS: dict[str, Any] = {"relation": None, "between": False, "place": None}
ERROR_TYPES = (
    "none: the caption is true",
    "relation or place",
    "count, background or several",
    "attribute binding",
    "attributes: shapes match",
    "shapes: colours match",
    "other",
)


def pair_error_types(
    split: Split, images: Sequence[int] | np.ndarray, captions: Sequence[int] | np.ndarray
) -> list[str] | None:
    """Return the type of mismatch of each pair of an image and a caption, one of `ERROR_TYPES`.

    The first of these that applies: the caption is true of the image; only relation or place are
    wrong; only the count, the background, or several of these are wrong; every attribute word is
    true of some object, but the attributes are bound to other objects (a red ball and a blue box
    for a blue ball); objects of the same shapes are there; objects of the same colours are there;
    none of these. None for a split that is not of Scenes.
    """
    scenes, caption_meanings = split.objects(), meanings(split)
    if scenes is None or caption_meanings is None:
        return None
    arrays, types = SceneArrays(scenes), [""] * len(captions)
    all_captions = np.asarray(captions)
    for caption in np.unique(all_captions):
        rows = np.flatnonzero(all_captions == caption)
        paired = arrays.take(np.asarray(images)[rows])
        for row, name in zip(rows, _error_types(paired, caption_meanings[caption]), strict=True):
            types[row] = name
    return types


def _error_types(scenes: SceneArrays, meaning: dict[str, Any]) -> list[str]:
    """Return the type of mismatch of one caption with each of the images."""
    single_mentions = [{**mention, "count": 1} for mention in meaning["mentions"]]
    objects_only = {**meaning, **NO_RELATIONS, "mentions": single_mentions, "ground": None}
    tests = (
        holds(scenes, meaning),
        holds(scenes, {**meaning, **NO_RELATIONS}),
        holds(scenes, objects_only),
        true_word_fraction(scenes, objects_only) >= 1,
        holds(scenes, _only(objects_only, "shape")),
        holds(scenes, _only(objects_only, "colour")),
        np.ones(len(scenes.real), bool),
    )
    return [ERROR_TYPES[k] for k in np.stack(tests).argmax(0)]  # the first that holds


def _only(meaning: dict[str, Any], attribute: str) -> dict[str, Any]:
    """Return the meaning with the conditions on all other attributes removed."""
    mentions = [
        {**m, "wanted": {k: v for k, v in m["wanted"].items() if k == attribute}}
        for m in meaning["mentions"]
    ]
    return {**meaning, "mentions": mentions}
