"""Captions of the SCAN layout beside another source of features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from itm_book.datasets.caption_sources import Captioned, photographs, read_captioned
from itm_book.datasets.caption_texts import read_rows
from itm_core.data.dataset import load_split
from itm_core.errors import InputError


def scan(folder: Path, captions: str, ids: str, **files: str) -> Path:
    """Write captions, ids and other files of a test split, and return that of the captions."""
    folder.mkdir(exist_ok=True)
    for ending, text in {"caps": captions, "ids": ids, **files}.items():
        (folder / f"test_{ending}.txt").write_text(text)
    return folder / "test_caps.txt"


@pytest.mark.parametrize("ids", ["1\n2\n", "1\n1\n2\n2\n"])
def test_captions_are_joined_with_their_ids(tmp_path: Path, ids: str) -> None:
    path = scan(tmp_path, "A dog .\nA pup .\nA cat .\nTwo , three .\n", ids)
    assert read_captioned(path, "test") == [
        Captioned("1", "test", ("A dog .", "A pup .")),
        Captioned("2", "test", ("A cat .", "Two , three .")),
    ]


@pytest.mark.parametrize(
    "form", ["{}.jpg#{}\t{}", "{}.jpg#zhb#{} {}", "{}.jpg\t{}\t{}", "{}#{}\t{}"]
)
def test_names_before_the_captions_are_those_of_the_images(tmp_path: Path, form: str) -> None:
    rows = [("x1", 0, "A dog ."), ("x1", 1, "A pup ."), ("y2", 0, "A cat ."), ("y2", 1, "Two .")]
    path = scan(tmp_path, "".join(form.format(*row) + "\n" for row in rows), "7\n8\n")
    assert read_captioned(path, "test") == [
        Captioned("x1", "test", ("A dog .", "A pup .")),
        Captioned("y2", "test", ("A cat .", "Two .")),
    ]


def test_blank_lines_hold_no_caption(tmp_path: Path) -> None:
    path = scan(tmp_path, "A dog .\n\nA cat .\n", "1\n2\n")
    assert read_rows(path) == [("1", None, "A dog .", 1), ("2", None, "A cat .", 3)]
    path = scan(tmp_path, "A .\n\nB .\nC .\n", "1\n2\n", counts="1\n2\n")
    assert [row.image for row in read_rows(path)] == ["1", "2", "2"]


@pytest.mark.parametrize("lines", ["A .\nB .\n\n\n", "A .\n\n\nB .\n", "\nA .\nB .\n \n"])
def test_blank_lines_may_be_captions_that_are_missing(tmp_path: Path, lines: str) -> None:
    """Of two images with two captions each, the first may have both that are left."""
    row = lines.split("\n").index("") + 1
    with pytest.raises(InputError, match=f"test_caps.txt, row {row}: an empty caption"):
        read_captioned(scan(tmp_path, lines, "1\n2\n"), "test")


def test_counts_say_how_many_captions_an_image_has(tmp_path: Path) -> None:
    path = scan(tmp_path, "A .\nB .\nC .\n", "1\n2\n", counts="1\n2\n")
    assert [len(image.captions) for image in read_captioned(path, "test")] == [1, 2]
    path = scan(tmp_path, "A .\nB .\nC .\n", "1\n2\n", counts="1\n1\n1\n")
    with pytest.raises(InputError, match="counts and ids do not fit; expected 2, found 3 rows"):
        read_captioned(path, "test")


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = scan(tmp_path, "A .\nB .\nC .\n", "1\n2\n")
    with pytest.raises(InputError, match=r"test_ids.txt: ids and captions do not fit.*counts.txt"):
        read_captioned(path, "test")
    (tmp_path / "test_ids.txt").unlink()
    with pytest.raises(InputError, match=r"no image before the caption.*test_ids.txt beside this"):
        read_captioned(path, "test")


def test_names_of_ids_may_be_one_folder_above(tmp_path: Path) -> None:
    """As in the release of VSE-infinity."""
    folder = tmp_path / "precomp"
    path = scan(folder, "A .\nB .\n", "0\n1\n")
    names = {"0": "COCO_val2014_000000391895.jpg", "1": "36979.jpg"}
    (tmp_path / "id_mapping.json").write_text(json.dumps(names))
    assert [image.image for image in read_captioned(path, "test")] == ["391895", "36979"]
    np.save(folder / "test_ims.npy", np.eye(2, dtype=np.float32)[:, None])
    assert photographs(load_split(folder, "test")) == ["391895", "36979"]
    (folder / "id_mapping.json").write_text(json.dumps({"0": "7.jpg"}))
    assert photographs(load_split(folder, "test")) == ["7", "1"]
