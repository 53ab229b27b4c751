"""Reading folders in the SCAN layout (what is refused stands in test_cli)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itm_core.data.precomp import load_dataset, load_split
from itm_core.errors import InputError
from tests.micro import write_dataset


def test_five_captions_belong_to_each_image(tmp_path: Path) -> None:
    data = load_dataset(write_dataset(tmp_path))
    assert data.train.regions.shape == (12, 4, 11)
    assert isinstance(data.train.regions, np.memmap)
    assert data.train.caption_image.tolist()[:6] == [0, 0, 0, 0, 0, 1]
    assert data.train.ids[:2] == ["0", "1"]
    assert data.test.boxes is None
    assert data.test.picture(0) is None
    assert data.test.words() is None


def test_a_pair_that_is_not_there_is_refused(tmp_path: Path) -> None:
    test = load_split(write_dataset(tmp_path), "test")
    assert test.place(2, 3) == 13
    for image, caption, said in ((12, 0, "no such image"), (0, 5, "no such caption")):
        with pytest.raises(InputError, match=said):
            test.place(image, caption)


def test_images_repeated_for_their_captions_are_read_once(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    path = tmp_path / "train_ims.npy"
    once = np.load(path)
    np.save(path, once.repeat(5, axis=0))
    np.testing.assert_array_equal(load_split(tmp_path, "train").regions, once)
    mixed = once.repeat(5, axis=0)
    mixed[4] += 1
    np.save(path, mixed)
    with pytest.raises(InputError, match="don't fit"):
        load_split(tmp_path, "train")


def test_boxes_sizes_and_pictures_are_read_where_they_are(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    np.save(tmp_path / "test_boxes.npy", np.zeros((12, 4, 4), np.float32))
    np.save(tmp_path / "test_img_sizes.npy", np.full((12, 2), 32))
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 6), "red").save(tmp_path / "pictures" / "2001.png")
    test = load_split(tmp_path, "test")
    picture = test.picture(1)
    assert picture is not None
    assert picture.shape == (6, 8, 3)
    assert test.picture(0) is None
    np.save(tmp_path / "test_boxes.npy", np.zeros((12, 3, 4), np.float32))
    with pytest.raises(InputError, match=r"test_boxes.npy: wrong shape"):
        load_split(tmp_path, "test")


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    first = load_dataset(write_dataset(tmp_path / "a")).fingerprint
    assert load_dataset(write_dataset(tmp_path / "b")).fingerprint == first
    assert load_dataset(write_dataset(tmp_path / "c", seed=1)).fingerprint != first


def test_a_verdict_on_features_is_forgotten_when_they_change(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    load_split(tmp_path, "train")
    assert (tmp_path / ".train_ims.npy.checked").exists()
    broken = np.load(tmp_path / "train_ims.npy")
    broken[0, 0, 0] = np.inf
    np.save(tmp_path / "train_ims.npy", broken)
    with pytest.raises(InputError, match="not finite"):
        load_split(tmp_path, "train")


def test_a_vocabulary_in_the_folder_is_used(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    words = '{"word2idx": {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3, "dog": 4}}'
    (tmp_path / "vocab.json").write_text(words)
    assert load_dataset(tmp_path).vocabulary.encode("a dog") == [1, 3, 4, 2]


def test_another_width_in_one_split_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    np.save(tmp_path / "dev_ims.npy", np.load(tmp_path / "dev_ims.npy")[..., :5])
    with pytest.raises(InputError, match="another width"):
        load_dataset(tmp_path)


def test_the_wrong_number_of_ids_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    (tmp_path / "dev_ids.txt").write_text("1\n2\n")
    with pytest.raises(InputError, match="wrong number of ids"):
        load_split(tmp_path, "dev")
