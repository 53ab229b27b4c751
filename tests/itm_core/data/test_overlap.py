"""Splits that share images are found by ids and by features."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from itm_core.data import overlap
from itm_core.data.dataset import load_dataset
from itm_core.errors import InputError
from tests.micro import write_dataset


def copy_images(folder: Path, taken: dict[int, int], *, into: str) -> None:
    """Put training images among those of another split: its place, and the image's."""
    train, path = np.load(folder / "train_ims.npy"), folder / f"{into}_ims.npy"
    other = np.load(path)
    for place, image in taken.items():
        other[place] = train[image]
    np.save(path, other)


@pytest.mark.parametrize("into", ["dev", "test"])
def test_equal_features_in_two_splits_are_refused(tmp_path: Path, into: str) -> None:
    copy_images(write_dataset(tmp_path), {5: 2, 7: 9}, into=into)
    message = (
        rf"{into}_ims.npy: images are in the train split too.*2 of the 12.* 5, which is image 2 "
    )
    with pytest.raises(InputError, match=message):
        load_dataset(tmp_path)


def test_a_photograph_that_a_benchmark_has_twice_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy_images(write_dataset(tmp_path, images=120), {5: 2}, into="test")
    with caplog.at_level(logging.WARNING):
        load_dataset(tmp_path)
    assert "train and test share images" in caplog.text


def test_images_that_begin_alike_are_told_apart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wide = np.random.default_rng(0).normal(size=(3, 12, 4, 90)).astype(np.float32)
    wide[..., : overlap.PIECE] = 0
    write_dataset(tmp_path)
    for split, features in zip(("train", "dev", "test"), wide, strict=True):
        np.save(tmp_path / f"{split}_ims.npy", features)
    load_dataset(tmp_path)
    assert not caplog.records


def test_large_splits_are_sampled_and_compared_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "COMPARED", 20)
    folder = write_dataset(tmp_path, images=100)
    copy_images(folder, {1: 2, 3: 4}, into="test")  # none of the 20 that are compared
    load_dataset(folder)
    with pytest.raises(InputError, match="images are in the train split too"):
        load_dataset(folder, full=True)
    copy_images(folder, {i: i for i in range(100)}, into="test")
    with pytest.raises(InputError, match="20 of the 20 images compared"):
        load_dataset(folder)


HEADER = "first_split,first_image,first_id,second_split,second_image,second_id,equal"


def test_all_pairs_are_listed_by_ids(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    for split, place, image in (("dev", 3, "7"), ("test", 0, "11"), ("test", 2, "1003")):
        path = folder / f"{split}_ids.txt"
        ids = path.read_text().split()
        ids[5 * place : 5 * place + 5] = 5 * [image]
        path.write_text("\n".join(ids))
    with pytest.raises(InputError, match="image 7 is in the train split too.*2 in all") as caught:
        load_dataset(folder)
    assert str(folder / "shared_images.csv") in str(caught.value)
    assert (folder / "shared_images.csv").read_text().splitlines() == [
        HEADER,
        "train,7,7,dev,3,7,ids",
        "train,11,11,test,0,11,ids",
    ]


def test_all_pairs_are_listed_by_features(tmp_path: Path) -> None:
    copy_images(write_dataset(tmp_path, images=120), {5: 2}, into="test")
    copy_images(tmp_path, {7: 9, 8: 0}, into="dev")
    with pytest.raises(InputError, match=r"dev_ims.npy.*listed in .*shared_images.csv"):
        load_dataset(tmp_path)
    assert (tmp_path / "shared_images.csv").read_text().splitlines() == [
        HEADER,
        "train,9,9,dev,7,1007,features",
        "train,0,0,dev,8,1008,features",
        "train,2,2,test,5,2005,features",
    ]


def test_the_list_of_a_read_only_dataset_is_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> None:
        raise InputError("read-only", file=path)

    copy_images(write_dataset(tmp_path / "set"), {5: 2, 7: 9}, into="test")
    monkeypatch.setattr(overlap, "whole_file", refused)
    monkeypatch.setattr(overlap.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(InputError, match="listed in"):
        load_dataset(tmp_path / "set")
    assert not (tmp_path / "set" / "shared_images.csv").exists()
    (listed,) = tmp_path.glob("itm-*/shared_images.csv")
    assert len(listed.read_text().splitlines()) == 3


@pytest.mark.parametrize("form", ["{}", "{:06d}"])
@pytest.mark.parametrize(("start", "times"), [(0, 1), (1, 1), (0, 5), (1, 5)])
def test_ids_that_number_images_or_captions_are_not_compared(
    tmp_path: Path, form: str, start: int, times: int
) -> None:
    write_dataset(tmp_path)
    for split in ("train", "dev", "test"):
        ids = [form.format(start + row) for row in range(12 * times)]
        (tmp_path / f"{split}_ids.txt").write_text("\n".join(ids) + "\n")
    load_dataset(tmp_path)
    copy_images(tmp_path, {5: 2, 7: 9}, into="dev")  # features still are
    with pytest.raises(InputError, match="images are in the train split too"):
        load_dataset(tmp_path)


def test_ids_of_two_splits_are_compared_unless_both_number_rows(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    for split, first in (("train", 1), ("dev", 1), ("test", 3)):
        ids = [f"{first + row}" for row in range(12)]
        (tmp_path / f"{split}_ids.txt").write_text("\n".join(ids) + "\n")
    with pytest.raises(InputError, match=r"test_ids.txt: image 3 is in the train split too"):
        load_dataset(tmp_path)
