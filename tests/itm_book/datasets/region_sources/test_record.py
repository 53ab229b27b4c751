"""The number of regions that a record states is that of its features and boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itm_book.datasets.convert import convert
from itm_book.datasets.region_sources.record import COUNTS, from_arrays
from itm_core.data.dataset import load_split
from itm_core.errors import InputError
from tests.itm_book.datasets.test_convert import IDS, regions_of, write_karpathy

FILE = Path("1.npz")


def filled_up(image: int, regions: int = 6) -> dict[str, Any]:
    """The three regions of an image, with rows of zeros after them."""
    arrays = regions_of(image)
    for name in ("x", "boxes"):
        arrays[name] = np.pad(arrays[name], ((0, regions - 3), (0, 0)))
    return arrays


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("count", [3, np.array([3]), 3.0])
def test_rows_that_fill_up_an_image_are_left_out(name: str, count: Any) -> None:
    found = from_arrays("1.jpg", {**filled_up(1), name: count}, FILE)
    truth = regions_of(1)
    np.testing.assert_array_equal(found.features, truth["x"])
    np.testing.assert_array_equal(found.boxes, truth["boxes"])


def test_columns_are_known_by_the_number() -> None:
    arrays = {"x": regions_of(1)["x"].T, "num_bbox": np.array(3)}  # [5, 3]
    np.testing.assert_array_equal(from_arrays("1.jpg", arrays, FILE).features, arrays["x"].T)
    square = np.arange(9.0).reshape(3, 3)
    arrays = {"x": square, "num_bbox": np.array(3)}
    np.testing.assert_array_equal(from_arrays("1.jpg", arrays, FILE).features, square)


def test_boxes_say_which_way_features_are_stored() -> None:
    """The width of the features may be the number of regions by chance."""
    features, boxes = np.zeros((6, 3)), np.zeros((6, 4))
    features[:3], boxes[:3] = np.arange(9).reshape(3, 3), [0, 0, 9, 9]
    found = from_arrays("1.jpg", {"x": features, "boxes": boxes, "num_boxes": 3}, FILE)
    np.testing.assert_array_equal(found.features, features[:3])
    np.testing.assert_array_equal(found.boxes, boxes[:3])


def test_a_number_above_the_rows_says_nothing() -> None:
    found = from_arrays("1.jpg", {**regions_of(1), "num_boxes": 100}, FILE)
    np.testing.assert_array_equal(found.features, regions_of(1)["x"])
    np.testing.assert_array_equal(found.boxes, regions_of(1)["boxes"])


@pytest.mark.parametrize("count", [0, 2, 2.5, np.nan, [3, 3], "3"])
def test_another_number_than_that_of_the_features_is_refused(count: Any) -> None:
    arrays = {**regions_of(1), "num_bbox": np.array(count)}
    with pytest.raises(InputError, match=r"1\.npz: image 1: features and the number of regions do"):
        from_arrays("1.jpg", arrays, FILE)


@pytest.mark.parametrize("width", [None, 80])
def test_boxes_in_shares_are_refused(width: int | None) -> None:
    arrays = {**regions_of(1), "boxes": regions_of(1)["boxes"] / 80, "image_w": width}
    if width is None:
        del arrays["image_w"]
    with pytest.raises(InputError, match="image 1: boxes are shares of the picture.*multiply them"):
        from_arrays("1.jpg", arrays, FILE)


@pytest.mark.parametrize("form", ["npz", "hdf5", "stacked"])
def test_numbers_of_regions_arrive_in_the_dataset(tmp_path: Path, form: str) -> None:
    captions, source = write_karpathy(tmp_path / "dataset.json"), tmp_path / "all.hdf5"
    images = [filled_up(image) for image in IDS]
    counts = [3] * len(IDS)
    if form == "npz":
        source = tmp_path / "npz"
        source.mkdir()
        for image, arrays in zip(IDS, images, strict=True):
            np.savez(source / f"{image}.npz", **arrays, num_bbox=3)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(source, "w") as file:
            if form == "stacked":
                for name in ("x", "boxes"):
                    file[name] = np.stack([arrays[name] for arrays in images])
                file["num_boxes"], file["image_ids"] = np.array(counts)[:, None], IDS
            else:
                for image, arrays in zip(IDS, images, strict=True):
                    for name, value in (*arrays.items(), ("num_boxes", 3)):
                        file[f"{image}/{name}"] = value
    convert(source, tmp_path / "made", captions, progress=False)
    split = load_split(tmp_path / "made", "test")
    assert split.regions.shape == (2, 3, 5)
    np.testing.assert_array_equal(split.regions[0], regions_of(58350)["x"])


def test_numbers_of_other_images_are_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    captions, source = write_karpathy(tmp_path / "dataset.json"), tmp_path / "all.hdf5"
    with h5py.File(source, "w") as file:
        file["features"], file["image_ids"] = np.ones((7, 3, 5)), IDS
        file["num_boxes"] = [3, 3]
    with pytest.raises(InputError, match="numbers of regions and features differ; expected 7 num"):
        convert(source, tmp_path / "made", captions, progress=False)
