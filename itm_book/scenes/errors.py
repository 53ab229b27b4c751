"""Scenes: what is wrong with a wrong answer, from a caption that is true of it to little in common.

A caption that is not true of an image is relaxed, demand by demand, until it is: the first
relaxation that suffices says what the image lacks.

Page: "Similarity distributions".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from itm_book.scenes.controls import World, holds, meanings, words_true
from itm_core.data.dataset import Split

NOWHERE: dict[str, Any] = {"relation": None, "between": False, "place": None}
LACKS = (
    "nothing: it is true",
    "relation or place",
    "count, ground, or several",
    "who has what",
    "looks: shapes agree",
    "shapes: colours agree",
    "more than these",
)


def lacking(
    split: Split, images: Sequence[int] | np.ndarray, captions: Sequence[int] | np.ndarray
) -> list[str] | None:
    """Return for each pair of an image and a caption what the image lacks, one of `LACKS`.

    In that order: the caption is **true** of the image as well; it is but for a **relation** or a
    **place**; but for how **many** there are, the **ground**, or several of these; every word of
    its objects is true of something, but they are bound **otherwise** (a red ball and a blue box
    for a blue ball); objects of the same **shapes** are there; objects of the same **colours**
    are; none of it. None for a split that is not of Scenes.
    """
    things, said = split.objects(), meanings(split)
    if things is None or said is None:
        return None
    world, found = World(things), [""] * len(captions)
    asked = np.asarray(captions)
    for caption in np.unique(asked):
        rows = np.flatnonzero(asked == caption)
        there = world.take(np.asarray(images)[rows])
        for row, word in zip(rows, _lacks(there, said[caption]), strict=True):
            found[row] = word
    return found


def _lacks(world: World, meaning: dict[str, Any]) -> list[str]:
    """Return what each image of the world lacks for one caption."""
    singly = [{**mention, "count": 1} for mention in meaning["mentions"]]
    free = {**meaning, **NOWHERE, "mentions": singly, "ground": None}
    tests = (
        holds(world, meaning),
        holds(world, {**meaning, **NOWHERE}),
        holds(world, free),
        words_true(world, free) >= 1,
        holds(world, _only(free, "shape")),
        holds(world, _only(free, "colour")),
        np.ones(len(world.real), bool),
    )
    return [LACKS[k] for k in np.stack(tests).argmax(0)]  # the first that holds


def _only(meaning: dict[str, Any], attribute: str) -> dict[str, Any]:
    """Return the meaning with this attribute alone demanded of each object."""
    kept = [
        {**m, "wanted": {k: v for k, v in m["wanted"].items() if k == attribute}}
        for m in meaning["mentions"]
    ]
    return {**meaning, "mentions": kept}
