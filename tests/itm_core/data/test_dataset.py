"""Reading folders in the SCAN layout (what is refused stands in test_cli)."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from itm_core.data.dataset import load_dataset, load_split
from itm_core.errors import InputError
from itm_core.json_files import write_json
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
    for image, caption, message in ((12, 0, "no such image"), (0, 5, "no such caption")):
        with pytest.raises(InputError, match=message):
            test.place(image, caption)


def test_images_repeated_for_their_captions_are_read_once(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    path = tmp_path / "train_ims.npy"
    once = np.load(path)
    np.save(path, once.repeat(5, axis=0))
    np.testing.assert_array_equal(load_split(tmp_path, "train").regions, once)
    for copy in (2, 4):
        mixed = once.repeat(5, axis=0)
        mixed[copy] += 1
        np.save(path, mixed)
        with pytest.raises(InputError, match="rows 0 to . are equal, but not as many"):
            load_split(tmp_path, "train")


def test_boxes_sizes_and_pictures_are_read_where_they_are(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    np.save(tmp_path / "test_boxes.npy", np.tile([0, 0, 8, 6], (12, 4, 1)))
    np.save(tmp_path / "test_img_sizes.npy", np.full((12, 2), 32))
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 6), "red").save(tmp_path / "pictures" / "2001.png")
    test = load_split(tmp_path, "test")
    picture = test.picture(1)
    assert picture is not None
    assert picture.shape == (6, 8, 3)
    assert test.picture(0) is None
    (tmp_path / "pictures" / "2000.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"2000.jpg: not readable as a picture"):
        test.picture(0)


def test_numbers_of_rows_in_two_splits_name_no_picture(tmp_path: Path) -> None:
    """Picture 3 would be that of both; ids that a larger split has too are names."""
    write_dataset(tmp_path)
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 6), "red").save(tmp_path / "pictures" / "3.png")
    numbers = "".join(f"{row + 1}\n" for row in range(12))
    (tmp_path / "test_ids.txt").write_text(numbers)
    assert load_split(tmp_path, "test").picture(0) is None
    (tmp_path / "dev_ids.txt").write_text(numbers)
    for split in ("dev", "test"):
        with pytest.raises(InputError, match=rf"{split}_ids.txt: splits whose ids only number"):
            load_split(tmp_path, split).picture(2)
    for split in ("dev", "test"):
        (tmp_path / f"{split}_ids.txt").write_text("".join(f"{3 * k}\n" for k in range(12)))
        assert load_split(tmp_path, split).picture(1) is not None


def test_a_part_of_a_split_from_its_start_has_its_pictures(tmp_path: Path) -> None:
    """As test of testall; images of the same numbers with other features are others."""
    write_dataset(tmp_path)
    (tmp_path / "train_ids.txt").unlink()  # its ids are 0 to 11
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 6), "red").save(tmp_path / "pictures" / "1.png")
    (tmp_path / "test_ids.txt").write_text("".join(f"{row}\n" for row in range(12)))
    regions = np.load(tmp_path / "test_ims.npy")
    captions = (tmp_path / "test_caps.txt").read_text()
    np.save(tmp_path / "testall_ims.npy", np.concatenate([regions, regions + 1]))
    (tmp_path / "testall_caps.txt").write_text(captions + captions)
    (tmp_path / "testall_ids.txt").write_text("".join(f"{row}\n" for row in range(24)))
    for split in ("test", "testall"):
        assert load_split(tmp_path, split).picture(1) is not None
    np.save(tmp_path / "testall_ims.npy", np.concatenate([regions + 1, regions]))
    for split in ("test", "testall"):
        with pytest.raises(InputError, match=rf"{split}_ids.txt: splits whose ids only number"):
            load_split(tmp_path, split).picture(1)


def test_numbers_are_shared_only_where_both_splits_have_numbers(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    (tmp_path / "train_ids.txt").unlink()  # its ids are 0 to 11
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 6), "red").save(tmp_path / "pictures" / "1.png")
    (tmp_path / "test_ids.txt").write_text("".join(f"{row}\n" for row in range(12)))
    (tmp_path / "dev_ids.txt").write_text("".join(f"{7 * row + 1}\n" for row in range(12)))
    for split, image in (("test", 1), ("dev", 0)):
        assert load_split(tmp_path, split).picture(image) is not None


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("boxes", np.zeros((12, 3, 4)), r"wrong shape; expected \[12, 4, 4\], found \[12, 3, 4\]"),
        ("boxes", np.tile([5.0, 0.0, 3.0, 9.0], (12, 4, 1)), "row 0: the box of region 0 is no"),
        ("boxes", np.full((12, 4, 4), np.nan), "is no box, or leaves its picture"),
        ("boxes", np.tile([-1.5, 0.0, 3.0, 9.0], (12, 4, 1)), "1 more on each side for rounding"),
        (
            "boxes",
            np.tile([0.1, 0.2, 0.5, 0.9], (12, 4, 1)),
            "boxes are shares of the picture; expected x1, y1, x2, y2 in pixels, found up to 0.9",
        ),
        ("boxes", np.full((12, 4, 4), "far"), "wrong type; expected number, found <U3"),
        ("img_sizes", np.zeros((12, 2), int), "row 0: a size makes no sense"),
    ],
)
def test_wrong_boxes_and_sizes_are_named(
    tmp_path: Path, name: str, values: np.ndarray, message: str
) -> None:
    np.save(write_dataset(tmp_path) / f"test_{name}.npy", values)
    with pytest.raises(InputError, match=f"test_{name}.npy.*{message}"):
        load_split(tmp_path, "test")


def test_pictures_in_an_array_are_read_or_refused(tmp_path: Path) -> None:
    path = write_dataset(tmp_path) / "test_pictures.npy"
    pictures = np.arange(12 * 6 * 8 * 3).astype(np.uint8).reshape(12, 6, 8, 3)
    np.save(path, pictures)
    np.testing.assert_array_equal(load_split(tmp_path, "test").picture(7), pictures[7])
    np.save(path, pictures[:3])
    with pytest.raises(InputError, match=r"\[12, height, width, 3\]"):
        load_split(tmp_path, "test").picture(1)
    np.save(path, pictures / 255)
    with pytest.raises(InputError, match="expected uint8, found float64"):
        load_split(tmp_path, "test").picture(1)


def test_truths_of_another_length_are_refused(tmp_path: Path) -> None:
    test = load_split(write_dataset(tmp_path), "test")
    write_json(tmp_path / "test_words.json", [[None]] * 59)
    with pytest.raises(InputError, match="expected 60 captions, found 59 rows"):
        test.words()
    for text in ("[{", "[" * 100_000, "9" * 5000):
        (tmp_path / "test_words.json").write_text(text)
        with pytest.raises(InputError, match="not readable as JSON"):
            test.objects()


def test_a_cut_off_file_is_told_in_bytes(tmp_path: Path) -> None:
    path = write_dataset(tmp_path) / "train_ims.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(InputError, match=f"expected {len(whole)} bytes, found 1000 bytes"):
        load_split(tmp_path, "train")


@given(cuts=st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), min_size=1, max_size=4))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_a_spoilt_header_is_refused_in_one_way(tmp_path: Path, cuts: list[tuple[int, int]]) -> None:
    path = write_dataset(tmp_path, images=2) / "train_ims.npy"
    content = bytearray(path.read_bytes())
    for place, byte in cuts:
        content[place] = byte
    path.write_bytes(content)
    with suppress(InputError):  # a lucky change may leave the file readable
        load_split(tmp_path, "train")


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path)
    (tmp_path / "train_ims.npy").rename(tmp_path / "testall_ims.npy")
    (tmp_path / "train_caps.txt").rename(tmp_path / "testall_caps.txt")
    assert len(load_split(tmp_path, "testall").captions) == 60
    with pytest.raises(InputError, match=r"splits dev, test, testall. Remedy: put train_ims.npy"):
        load_dataset(tmp_path)
    with pytest.raises(InputError, match=r"no such folder\."):
        load_dataset(tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)  # as papermill without --cwd
    with pytest.raises(InputError, match=f"found no such folder from {re.escape(str(tmp_path))}"):
        load_dataset(Path("../data/nowhere"))


def test_captions_are_counted_and_measured(tmp_path: Path) -> None:
    path = write_dataset(tmp_path) / "dev_caps.txt"
    with pytest.raises(InputError, match=r"dev_caps.txt, row 5: .*expected 7 tokens at most"):
        load_split(tmp_path, "dev", max_words=7)
    path.write_bytes(path.read_bytes() + b"One more .\n")
    with pytest.raises(InputError, match=r"dev_caps.txt.*each of the 12 images.*found 61"):
        load_split(tmp_path, "dev")
    path.write_bytes(b"fine\n\xff\n")
    with pytest.raises(InputError, match=r"dev_caps.txt, row 2: not UTF-8"):
        load_split(tmp_path, "dev")


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
    (tmp_path / ".train_ims.npy.checked").write_text("{")
    with pytest.raises(InputError, match="not finite"):
        load_split(tmp_path, "train")


def test_a_verdict_holds_for_the_rows_that_were_read(tmp_path: Path) -> None:
    """A row between the first of two images is read only when each row is an image."""
    path = write_dataset(tmp_path, images=60) / "train_ims.npy"
    repeated = np.load(path).repeat(5, axis=0)
    repeated[6] = np.nan  # image 1 is none of the 20 that are compared
    np.save(path, repeated)
    assert len(load_split(tmp_path, "train").regions) == 60
    (tmp_path / "train_caps.txt").write_text("A red ball .\n" * 1500)
    (tmp_path / "train_ids.txt").unlink()
    with pytest.raises(InputError, match=r"train_ims.npy, row 6: .*not finite"):
        load_split(tmp_path, "train")


def test_a_verdict_that_cannot_be_kept_is_no_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: object) -> None:
        raise InputError("no space left", file=path)

    monkeypatch.setattr("itm_core.data.arrays.write_json", full)
    assert len(load_split(write_dataset(tmp_path), "train").captions) == 60


def test_ids_that_only_count_are_no_overlap(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}_ids.txt").write_text("".join(f"{i}\n" for i in range(12)))
    assert load_dataset(tmp_path).dev.ids[3] == "3"
    (tmp_path / "dev_ids.txt").write_text("".join(f"{i}\n" for i in range(11, 23)))
    with pytest.raises(
        InputError, match=r"image 11 is in the train split too; found it is image 0"
    ):
        load_dataset(tmp_path)


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


def test_captions_of_other_editors_are_the_same_captions(tmp_path: Path) -> None:
    path = write_dataset(tmp_path) / "dev_caps.txt"
    plain = load_dataset(tmp_path)
    text = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n").replace(b" dog", b"\tdog"))
    other = load_dataset(tmp_path)
    assert other.dev.captions[0] == plain.dev.captions[0].replace(" dog", "\tdog")
    for ours, theirs in zip(plain.dev.captions, other.dev.captions, strict=True):
        assert plain.vocabulary.encode(ours) == plain.vocabulary.encode(theirs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a dog\n\nb\nc\nd\n", "row 2: an empty caption"),
        (b"a dog\nb\nc\nd\ne\n\n", "row 6: an empty caption.*take it out"),
        (b"a dog\nun caf\xe9\n", "row 2: not UTF-8.*iconv"),
        (b"a dog\n12.jpg#1\ta cat\n", "row 2: a file name before the caption.*cut -f 2"),
    ],
)
def test_lines_that_are_no_caption_are_named(tmp_path: Path, text: bytes, message: str) -> None:
    (write_dataset(tmp_path) / "dev_caps.txt").write_bytes(text)
    with pytest.raises(InputError, match=f"dev_caps.txt, {message}"):
        load_split(tmp_path, "dev")


def test_captions_of_one_image_stand_together(tmp_path: Path) -> None:
    path = write_dataset(tmp_path) / "dev_ids.txt"
    path.write_text("".join(f"{1000 + i}\n" for _ in range(5) for i in range(12)))
    with pytest.raises(InputError, match=r"dev_ids.txt, row 2: the captions.*not in consecutive"):
        load_split(tmp_path, "dev")
    path.write_text("".join(f"{i}\n" for i in range(60)))  # counts the captions
    assert load_split(tmp_path, "dev").ids[:3] == ["0", "5", "10"]
