"""Arrays at the door: pickles, repeated rows, boxes in their pictures, values of large files."""

from __future__ import annotations

import errno
import os
import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from itm_core.data import arrays
from itm_core.data.dataset import load_dataset, load_split
from itm_core.errors import InputError
from tests.micro import write_dataset
from tests.rights import closed

SIZES = [{"image_w": 40 + i, "image_h": 30} for i in range(12)]


def command_in(message: str) -> list[str]:
    """The command of a remedy, as a shell would start it."""
    line = message[message.index("python -c") :].rpartition("; ")[0]
    return [sys.executable, *shlex.split(line)[1:]]


@pytest.mark.parametrize("raw", [False, True])
def test_pickled_sizes_are_refused_with_the_line_that_converts_them(
    tmp_path: Path, raw: bool
) -> None:
    path = write_dataset(tmp_path) / "test_ims_size.npy"
    if raw:
        path.write_bytes(pickle.dumps(SIZES))
    else:
        np.save(path, np.array(SIZES, dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickled objects, which are not opened") as caught:
        load_split(tmp_path, "test")
    subprocess.run(command_in(str(caught.value)), check=True)
    sizes = load_split(tmp_path, "test").sizes
    assert sizes is not None
    assert sizes[3].tolist() == [43, 30]


@pytest.mark.parametrize("form", ["a dictionary of dictionaries", "a list of dictionaries"])
def test_pickled_boxes_are_converted_by_the_line_of_their_message(
    tmp_path: Path, form: str
) -> None:
    path = write_dataset(tmp_path) / "test_boxes.npy"
    boxes = np.tile([0.0, 0, 8, 6], (12, 4, 1)) + np.arange(12)[:, None, None]
    rows: object = [{"bbox": of_image} for of_image in boxes]
    if form == "a dictionary of dictionaries":
        rows = {str(image): {"boxes": of_image} for image, of_image in enumerate(boxes)}
    path.write_bytes(pickle.dumps(rows))
    with pytest.raises(InputError, match=r"pickled objects.*in the order of the images") as caught:
        load_split(tmp_path, "test")
    subprocess.run(command_in(str(caught.value)), check=True)
    np.testing.assert_array_equal(load_split(tmp_path, "test").boxes, boxes)


@pytest.mark.parametrize("name", ["boxes.npy", "scores.npy", "caption_image.npy"])
def test_other_pickles_have_a_plain_remedy(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / name, np.array({"x": 1}), allow_pickle=True)
    with pytest.raises(InputError, match=rf"{name}: pickled objects.*np\.load\(path") as caught:
        arrays.mapped(tmp_path / name)
    assert "python -c" not in str(caught.value)
    with pytest.raises(InputError, match=r"trust where it is from, read the page$"):
        arrays.mapped(tmp_path / name, lambda _: "read the page")


def test_the_line_is_safe_in_a_shell(tmp_path: Path) -> None:
    folder = tmp_path / "we\"$(touch ran) 'q'"
    path = write_dataset(folder) / "test_ims_size.npy"
    path.write_bytes(pickle.dumps(SIZES))
    with pytest.raises(InputError, match="convert it once") as caught:
        load_split(folder, "test")
    line = shlex.join(command_in(str(caught.value)))
    assert line.partition(" ")[2] in str(caught.value)
    subprocess.run(line, shell=True, check=True, cwd=tmp_path)
    assert not (tmp_path / "ran").exists()
    assert load_split(folder, "test").sizes is not None


def test_pickled_features_are_converted_by_the_same_line(tmp_path: Path) -> None:
    path = write_dataset(tmp_path) / "train_ims.npy"
    plain = np.load(path)
    np.save(path, plain.astype(object), allow_pickle=True)
    with pytest.raises(InputError, match=r"train_ims.npy: pickled objects") as caught:
        load_split(tmp_path, "train")
    subprocess.run(command_in(str(caught.value)), check=True)
    np.testing.assert_array_equal(load_split(tmp_path, "train").regions, plain)


@pytest.mark.parametrize(("boxes", "sizes"), [("boxes", "img_sizes"), ("ims_bbx", "ims_size")])
@pytest.mark.parametrize("repeated", [1, 5])
def test_boxes_and_sizes_stand_once_per_image_or_caption(
    tmp_path: Path, boxes: str, sizes: str, repeated: int
) -> None:
    write_dataset(tmp_path)
    corners = np.tile([[0.0, 0, 8, 6]], (12, 4, 1)) + np.arange(12)[:, None, None]
    np.save(tmp_path / f"test_{boxes}.npy", corners.repeat(repeated, 0))
    np.save(tmp_path / f"test_{sizes}.npy", np.full((12, 2), 32).repeat(repeated, 0))
    test = load_split(tmp_path, "test")
    assert test.boxes is not None
    assert test.sizes is not None
    np.testing.assert_array_equal(test.boxes, corners)
    assert test.sizes.shape == (12, 2)
    if repeated > 1:
        mixed = corners.repeat(repeated, 0)
        mixed[7] += 1
        np.save(tmp_path / f"test_{boxes}.npy", mixed)
        with pytest.raises(InputError, match="the 5 rows of an image differ"):
            load_split(tmp_path, "test")


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([0.0, 0.0, 0.9, 1.0], "boxes are shares of the picture"),
        ([-0.01, 0.0, 0.9, 1.0004], "boxes are shares of the picture"),  # as detectors exceed it
        ([0.0, 0.0, 30.0, 42.0], "row 0: the box of region 0 .*leaves its picture.*exchanged"),
        ([-1.1, 0.0, 30.0, 30.0], "row 0: the box of region 0 .*leaves its picture.*exchanged"),
        ([0.0, -1.1, 30.0, 30.0], r"expected 0 <= x1 <= x2 <= 40 and 0 <= y1 <= y2 <= 30 in"),
    ],
)
def test_boxes_that_do_not_fit_their_pictures_are_named(
    tmp_path: Path, box: list[float], said: str
) -> None:
    write_dataset(tmp_path)
    np.save(tmp_path / "test_boxes.npy", np.tile(box, (12, 4, 1)))
    np.save(tmp_path / "test_img_sizes.npy", np.tile([40, 30], (12, 1)))
    with pytest.raises(InputError, match=said):
        load_split(tmp_path, "test")
    np.save(tmp_path / "test_boxes.npy", np.tile([-0.6, -1.0, 40.6, 31.0], (12, 4, 1)))
    assert load_split(tmp_path, "test").boxes is not None  # detectors round


def test_of_a_large_file_a_sample_is_read_and_everything_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dataset(tmp_path, images=40) / "train_ims.npy"
    monkeypatch.setattr(arrays, "SCANNED_ENTIRELY", 100)
    monkeypatch.setattr(arrays, "SAMPLED", 5)
    features = np.load(path)
    features[1] = np.nan  # none of the five: 0, 9, 19, 29, 39
    np.save(path, features)
    load_dataset(tmp_path)
    assert not (tmp_path / ".train_ims.npy.checked").exists()
    with pytest.raises(InputError, match=r"train_ims.npy, row 1: a region feature is not finite"):
        load_dataset(tmp_path, full=True)
    features[20:] = np.inf  # as an extraction that broke off leaves it
    np.save(path, features)
    with pytest.raises(InputError, match=r"row 29: a region feature is not finite"):
        load_dataset(tmp_path)
    np.save(path, np.ones_like(features))
    load_split(tmp_path, "train", full=True)
    assert (tmp_path / ".train_ims.npy.checked").exists()


def test_all_repeated_rows_are_compared_on_request(tmp_path: Path) -> None:
    path = write_dataset(tmp_path, images=60) / "train_ims.npy"
    repeated = np.load(path).repeat(5, axis=0)
    repeated[6] += 1  # image 1 is none of the 20 that are compared
    np.save(path, repeated)
    assert len(load_split(tmp_path, "train").regions) == 60
    with pytest.raises(InputError, match="do not fit"):
        load_split(tmp_path, "train", full=True)


@pytest.mark.parametrize("step", [1, 5])
def test_released_pages_are_gone_and_come_back(tmp_path: Path, step: int) -> None:
    np.save(tmp_path / "some.npy", np.arange(8_000_000, dtype=np.float32).reshape(1000, 8000))
    values = arrays.mapped(tmp_path / "some.npy")[::step]
    before = psutil.Process().memory_info().shared
    total = float(values.sum(dtype=np.float64))
    grown = psutil.Process().memory_info().shared - before
    arrays.release(values)
    kept = psutil.Process().memory_info().shared - before
    assert grown > 4_000_000
    assert kept < grown / 4
    assert float(values.sum(dtype=np.float64)) == total
    arrays.release(np.ones(3))  # not mapped: nothing to do


def test_training_reads_a_large_file_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    shape = (2000, 36, 1024)  # 295 MB, without a block on the disk
    np.lib.format.open_memmap(path, "w+", np.float32, shape).flush()
    features = arrays.mapped(path)
    process = psutil.Process()
    before, largest = process.memory_info().rss, 0
    for start in range(0, 2000, 50):
        batch = arrays.images_of(features, np.arange(start, start + 50))
        assert batch.shape == (50, 36, 1024)
        largest = max(largest, process.memory_info().rss)
    assert largest - before < 60e6


def test_images_read_from_their_place_are_those_of_the_map(tmp_path: Path) -> None:
    path = tmp_path / "some.npy"
    plain = np.random.default_rng(0).random((50, 7, 300), np.float32)
    np.save(path, plain)
    chosen = np.array([3, 0, 9, 9, 4])
    whole = arrays.mapped(path)
    for view in (whole, whole[::5], whole[20:], whole[40:10:-2], whole[:, 1:3], whole[..., ::2]):
        np.testing.assert_array_equal(arrays.images_of(view, chosen), np.asarray(view)[chosen])
    np.testing.assert_array_equal(arrays.images_of(plain, chosen), plain[chosen])
    np.save(path, plain.astype(">f4"))
    np.testing.assert_array_equal(arrays.images_of(arrays.mapped(path), chosen), plain[chosen])


def test_a_file_cut_off_during_the_training_is_named(tmp_path: Path) -> None:
    path = tmp_path / "some.npy"
    np.save(path, np.zeros((50, 7, 300), np.float32))
    features = arrays.mapped(path)
    os.truncate(path, 100_000)
    assert arrays.images_of(features, np.array([2, 3])).shape == (2, 7, 300)
    with pytest.raises(InputError, match=r"some.npy: the file ends before its last image.*image 4"):
        arrays.images_of(features, np.array([2, 40]))


def test_a_file_too_large_for_the_process_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "train_ims.npy", np.zeros(3))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(np, "load", full)
    with pytest.raises(InputError, match=r"no room in the memory of this process.*ulimit -v"):
        arrays.mapped(tmp_path / "train_ims.npy")


def test_an_array_that_may_not_be_read_is_not_called_spoilt(tmp_path: Path) -> None:
    path = tmp_path / "train_ims.npy"
    np.save(path, np.zeros(3))
    with closed(path), pytest.raises(InputError, match=r"train_ims\.npy: may not be read"):
        arrays.mapped(path)
    with pytest.raises(InputError, match="file not found"):
        arrays.mapped(tmp_path / "absent.npy")
