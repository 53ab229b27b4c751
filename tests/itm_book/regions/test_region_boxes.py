"""The fixed layout, and boxes from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm_book.regions.region_boxes import BoxFile, filled_up, layout
from itm_core.errors import InputError
from tests.photos import noise

SIDES = st.integers(1, 5000)


@given(SIDES, SIDES)
def test_the_layout_has_36_boxes_inside_the_picture(width: int, height: int) -> None:
    boxes = layout(width, height)
    assert boxes.shape == (36, 4)
    assert boxes.dtype == np.float32
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.min() == 0
    np.testing.assert_allclose(boxes.max(0)[2:], [width, height], rtol=1e-6)
    assert len(np.unique(boxes, axis=0)) == 36


def test_every_scale_covers_every_pixel() -> None:
    boxes, start = layout(120, 60), 0
    for count, least in ((1, 1), (4, 1), (9, 1), (3, 1), (3, 1), (16, 1)):
        seen = np.zeros((60, 120), int)
        for left, top, right, bottom in boxes[start : start + count].round().astype(int):
            seen[top:bottom, left:right] += 1
        assert seen.min() >= least
        start += count
    assert start == 36


def test_few_boxes_are_filled_up_and_many_cut_off() -> None:
    own = np.array([[1, 2, 3, 4], [-5, 0, 99, 10]])
    boxes = filled_up(own, 40, 30)
    assert boxes[:2].tolist() == [[1, 2, 3, 4], [0, 0, 40, 10]]
    np.testing.assert_array_equal(boxes[2:], layout(40, 30)[:34])
    many = np.arange(40)[:, None] * [0, 0, 0, 1] + [0, 0, 5, 0]
    np.testing.assert_array_equal(filled_up(many, 40, 39)[:, 3], np.arange(1, 37))  # 0: no area


def test_boxes_come_from_a_file_for_each_photograph(tmp_path: Path) -> None:
    np.savez(tmp_path / "p0.jpg.npz", bbox=[[1.0, 2, 3, 4]])
    np.savez(tmp_path / "p1.npz", other=[1])
    (tmp_path / "p2.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez(tmp_path / "p3.npz", boxes=[[3.0, 2, 1, 4]])
    boxes = BoxFile(tmp_path, [("own", ["p0.jpg", "p1.jpg", "p2.jpg", "p3.jpg"])])
    assert boxes("own", 0, "p0.jpg", noise(0))[0].tolist() == [1, 2, 3, 4]
    for name, message in (
        ("p1.jpg", "p1.npz: no boxes in this file"),
        ("p2.jpg", "p2.npz: damaged .npz file"),
        ("p3.jpg", "invalid boxes of p3.jpg"),
        ("p9.jpg", "p9.npz: no boxes for p9.jpg"),
    ):
        with pytest.raises(InputError, match=message):
            boxes("own", 0, name, noise(0))


def test_boxes_come_from_one_array_in_the_order_of_the_photographs(tmp_path: Path) -> None:
    rows = np.arange(8.0).reshape(2, 1, 4)
    np.save(tmp_path / "a.npy", rows)
    boxes = BoxFile(tmp_path / "a.npy", [("own", ["a", "b"])])
    assert boxes("own", 1, "any", noise(0))[0].tolist() == [4, 5, 6, 7]
    for splits, message in (
        ([("own", [*"abc"])], "wrong shape"),
        ([("a", ["x"]), ("b", ["y"])], "one split"),
    ):
        with pytest.raises(InputError, match=message):
            BoxFile(tmp_path / "a.npy", splits)
    with pytest.raises(InputError, match="no files of boxes"):
        BoxFile(tmp_path / "nowhere", [("own", ["a", "b"])])
    np.save(tmp_path / "a.npy", rows + 1)
    assert BoxFile(tmp_path / "a.npy", [("own", ["a", "b"])]).name != boxes.name
