"""The pair that a notebook shows: the one that was asked for, or the last one, with a note."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from itm_book.chapters import attention_atlas
from itm_book.pairs.shown import shown_pair
from itm_core.data.dataset import load_split
from tests.micro import write_dataset


def test_the_pair_that_was_asked_for_has_no_note(tmp_path: Path) -> None:
    split = load_split(write_dataset(tmp_path / "micro"), "test")
    pair = shown_pair(split, 3, 2)
    assert (pair.image, pair.caption, pair.place) == (3, 2, 17)
    assert pair.text == split.captions[17]


@pytest.mark.parametrize(
    ("asked", "shown", "note"),
    [
        ((35, 1), (5, 1), "image 5, caption 1: the test split of 6 images has no image 35,"),
        ((-1, 0), (5, 0), "has no image -1,"),
        ((2, 9), (2, 1), "image 2, caption 1: .* has no caption 9 of image 2,"),
    ],
)
def test_a_small_split_shows_its_last_pair_and_says_so(
    tmp_path: Path, asked: tuple[int, int], shown: tuple[int, int], note: str
) -> None:
    split = load_split(write_dataset(tmp_path / "micro", images=6, captions=2), "test")
    pair = shown_pair(split, *asked)
    assert (pair.image, pair.caption) == shown
    assert pair.place == 2 * shown[0] + shown[1]
    quoted, _, said = pair.text.partition(" *(")
    assert quoted == split.captions[pair.place]
    assert re.match(f".*{note}", said)
    assert attention_atlas.curated(split, [asked]) == [shown]
