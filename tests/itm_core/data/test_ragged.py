"""Images with different numbers of regions: what is read, what is refused, what stays as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from itm_core.cli import main
from itm_core.data.arrays import images_of, release
from itm_core.data.dataset import load_dataset, load_split
from itm_core.data.ragged import RaggedRegions, region_lens
from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.experiments.prepare import build
from itm_core.experiments.runs import configuration, folder_of
from itm_core.training.batches import BatchBuilder, Pairs
from tests.micro import SMALL, write_dataset

LENS = np.array([4, 1, 2, 3, 4, 4, 2, 1, 3, 3, 4, 2])


def write_ragged(folder: Path, lens: np.ndarray = LENS, *, times: int = 1) -> Path:
    """The tiny dataset with fewer regions in most images, once for each caption if wanted."""
    write_dataset(folder)
    for split in ("train", "dev", "test"):
        path = folder / f"{split}_ims.npy"
        values = np.load(path)
        values[np.arange(4) >= LENS[:, None]] = 0
        np.save(path, values.repeat(times, 0))
        np.save(folder / f"{split}_region_lens.npy", np.asarray(lens).repeat(times, 0))
    return folder


@pytest.mark.parametrize("times", [1, 5])
def test_numbers_of_regions_are_read_per_image_or_per_caption(tmp_path: Path, times: int) -> None:
    split = load_split(write_ragged(tmp_path / "some", times=times), "train", full=True)
    assert split.region_lens is not None
    assert split.region_lens.tolist() == LENS.tolist()
    assert [split.regions_of(i) for i in range(12)] == LENS.tolist()
    assert split.regions_text == "1 to 4"
    assert split.features[2].shape == (2, 11)
    part = split.features[[3, 1]]
    assert region_lens(part).tolist() == [3, 1]
    np.testing.assert_array_equal(np.asarray(part), split.regions[[3, 1]])
    np.testing.assert_array_equal(images_of(part, np.array([1])), split.regions[[1]])
    release(split.features)


@pytest.mark.parametrize(
    ("lens", "message"),
    [
        (LENS + 1, r"train_region_lens.npy, row 0: .*expected an integer from 1 to 4.*found 5"),
        (LENS - 1, r"row 1: .*found 0"),
        (LENS.astype(float), r"row 0: .*found 4.0"),
        (LENS[:5], r"train_region_lens.npy: wrong shape; expected \[12\], found \[5\]"),
        (
            np.where(np.arange(12) == 3, 2, LENS),
            r"train_ims.npy, row 3: region 2 follows .* expected zeros after 2 regions",
        ),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    tmp_path: Path, lens: np.ndarray, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_split(write_ragged(tmp_path / "some", lens), "train")


def test_boxes_after_the_last_region_are_refused(tmp_path: Path) -> None:
    folder = write_ragged(tmp_path / "some")
    np.save(folder / "train_boxes.npy", np.tile(np.float32([0, 0, 5, 5]), (12, 4, 1)))
    with pytest.raises(InputError, match=r"train_boxes.npy, row 1: region 1 follows the last one"):
        load_split(folder, "train")


def test_a_checked_file_is_checked_again_with_other_numbers(tmp_path: Path) -> None:
    folder = write_ragged(tmp_path / "some")
    load_split(folder, "train", full=True)
    np.save(folder / "train_region_lens.npy", np.minimum(LENS, 3))
    with pytest.raises(InputError, match="row 0: region 3 follows the last one"):
        load_split(folder, "train")


def test_the_fingerprint_of_a_dataset_has_the_numbers_where_they_vary(tmp_path: Path) -> None:
    plain, ragged = write_dataset(tmp_path / "micro"), write_ragged(tmp_path / "ragged")
    data = load_dataset(plain)
    recipe = recipes.get("saf").replace(*SMALL)
    config = configuration(data, recipe, 0)
    assert data.fingerprint == "3b67c4f8a7a206a3"  # of every version so far
    assert folder_of(config, tmp_path).name == "0-2400bc25d466"
    assert "ragged_regions" not in config
    first = load_dataset(ragged)
    assert configuration(first, recipe, 0)["ragged_regions"] is True
    for name in ("train", "dev", "test"):
        np.save(ragged / f"{name}_region_lens.npy", np.full(12, 4))
    assert load_dataset(ragged).fingerprint != first.fingerprint


def test_padding_of_a_dataset_is_masked_whatever_the_recipe_says(tmp_path: Path) -> None:
    data = load_dataset(write_ragged(tmp_path / "some"))
    recipe = recipes.get("chan").replace(*SMALL)
    assert not recipe.encoder.mask_regions
    assert build(recipe, configuration(data, recipe, 0), data.vocabulary).regions.masked


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_batch_has_the_regions_of_its_images(tmp_path: Path, rate: float) -> None:
    split = load_split(write_ragged(tmp_path / "some"), "train")
    pairs = Pairs(split.features, [[1, 5, 2]] * 12, np.arange(12))
    training = recipes.get("chan").training.replace(region_dropout=rate)
    batch = BatchBuilder(pairs, training, 0, torch.device("cpu")).build(np.array([1, 3, 2]), 0, 0)
    assert batch.region_lens is not None
    assert batch.features.shape[1] == batch.region_lens.max() <= 3
    for image, row, count in zip(batch.image, batch.features, batch.region_lens, strict=True):
        real = split.regions[image][: LENS[image]].tolist()
        assert all(region in real for region in row[:count].tolist())
        assert not row[count:].any()
        assert count == LENS[image] or rate


def test_a_check_says_how_many_regions_images_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(write_ragged(tmp_path / "some"))]) == 0
    assert "train: 12 images, 1 to 4 regions of 11" in capsys.readouterr().out


def test_one_image_of_features_is_its_real_regions() -> None:
    some = RaggedRegions(np.ones((2, 3, 4), np.float32), np.array([2, 3]))
    assert (len(some), some.shape, some.ndim) == (2, (2, 3, 4), 3)
    assert some[0].shape == (2, 4)
    assert np.array(some, np.float64).dtype == np.float64
