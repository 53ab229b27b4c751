"""Region features of the bottom-up-attention release, converted and read again."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from itm_book.datasets.caption_sources import read_captioned
from itm_book.datasets.convert import convert
from itm_core.data.dataset import load_dataset, load_split
from itm_core.data.photographs import image_key
from itm_core.errors import InputError

IDS = [58350, 124629, 7, 9000, 12, 31, 44]
SPLIT_OF = ("test", "train", "restval", "val", "train", "test", "val")  # Karpathy's names


def regions_of(image: int, regions: int = 3) -> dict[str, Any]:
    draw = np.random.default_rng(image)
    corner = draw.uniform(0, 40, (regions, 2))
    boxes = np.concatenate([corner, corner + draw.uniform(1, 20, (regions, 2))], 1)
    features = draw.normal(size=(regions, 5)).astype(np.float32)
    return {"x": features, "boxes": boxes.astype(np.float32), "image_w": 80, "image_h": 60}


def write_tsv(path: Path, images: list[int], regions: int = 3) -> Path:
    """As the release was written: by Python's csv, whose lines end in CR LF."""
    lines = []
    for image in images:
        r = regions_of(image, regions)
        coded = [base64.b64encode(r[name].tobytes()).decode() for name in ("boxes", "x")]
        lines.append("\t".join([str(image), "80", "60", str(regions), *coded]) + "\r\n")
    path.write_text("".join(lines), newline="")
    return path


def write_npz(folder: Path, images: list[int]) -> Path:
    folder.mkdir()
    for image in images:
        np.savez(folder / f"COCO_val2014_{image:012}.jpg.npz", **regions_of(image))
    return folder


def write_karpathy(path: Path, captions: int = 5, first: int | None = None) -> Path:
    """Every image has as many captions, but for the first one."""
    counts = [captions if first is None else first, *[captions] * (len(IDS) - 1)]
    images = [
        {
            "filename": f"COCO_val2014_{image:012}.jpg",
            "split": split,
            "sentences": [{"raw": f"picture {image}\n says {k} "} for k in range(count)],
        }
        for image, split, count in zip(IDS, SPLIT_OF, counts, strict=True)
    ]
    path.write_text(json.dumps({"images": images, "dataset": "coco"}))
    return path


def test_names_of_one_image_are_one_key() -> None:
    for name in ("COCO_train2014_000000000007.jpg", 7, "7", "x/COCO_val2014_000000000007.jpg.npz"):
        assert image_key(name) == "7"
    assert image_key("1000268201_693b08cb0e.jpg") == "1000268201_693b08cb0e"


@pytest.mark.parametrize("kind", ["tsv", "tsv parts", "npz"])
def test_features_captions_boxes_and_sizes_arrive_at_their_images(
    tmp_path: Path, kind: str
) -> None:
    shuffled = [*IDS[::-1], 999]  # the last has no captions
    if kind == "npz":
        source = write_npz(tmp_path / "npz", shuffled)
    elif kind == "tsv":
        source = write_tsv(tmp_path / "all.tsv", shuffled)
    else:
        source = tmp_path / "parts"
        source.mkdir()
        write_tsv(source / "a.tsv", shuffled[:4])
        write_tsv(source / "b.tsv", shuffled[3:])  # one image is in both
    captions = write_karpathy(tmp_path / "dataset.json", first=6)
    done = convert(source, tmp_path / "made", captions, per_image=5, progress=False)
    assert done.images == {"test": 2, "train": 3, "dev": 2}
    assert (done.shape, done.skipped) == ((3, 5), 1)
    data = load_dataset(tmp_path / "made", full=True)
    expected = {"train": [124629, 7, 12], "dev": [9000, 44], "test": [58350, 31]}
    for split in (data.train, data.dev, data.test):
        assert split.ids == [str(image) for image in expected[split.name]]
        assert split.boxes is not None
        assert split.sizes is not None
        for i, image in enumerate(expected[split.name]):
            truth = regions_of(image)
            np.testing.assert_array_equal(split.regions[i], truth["x"])
            np.testing.assert_array_equal(split.boxes[i], truth["boxes"])
            assert split.sizes[i].tolist() == [80, 60]
            assert split.captions[5 * i + 4] == f"picture {image} says 4"
    assert [path.name for path in tmp_path.glob(".made*")] == [".made.lock"]


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    source, captions = write_tsv(tmp_path / "all.tsv", IDS), write_karpathy(tmp_path / "c.json")
    (tmp_path / ".made.partial").mkdir()  # of the other one
    with (
        FileLock(tmp_path / ".made.lock"),
        pytest.raises(InputError, match="another process converts into this folder"),
    ):
        convert(source, tmp_path / "made", captions, progress=False)
    assert (tmp_path / ".made.partial").exists()


def test_sizes_that_an_image_lacks_are_left_out_and_said(tmp_path: Path) -> None:
    source, captions = write_npz(tmp_path / "npz", IDS), write_karpathy(tmp_path / "c.json")
    sizeless = {name: regions_of(44)[name] for name in ("x", "boxes")}
    np.savez(source / f"COCO_val2014_{44:012}.jpg.npz", **sizeless)
    done = convert(source, tmp_path / "made", captions, progress=False)
    assert "no sizes were written: 1 images have none, such as 44" in done.lines()
    assert load_split(tmp_path / "made", "dev").sizes is None


def test_splits_may_come_one_after_the_other(tmp_path: Path) -> None:
    source = write_tsv(tmp_path / "all.tsv", IDS)
    for split, image in (("train", 7), ("dev", 12)):
        text = tmp_path / f"{split}.token"
        text.write_text("".join(f"{image}.jpg#{k}\tsays {k}\n" for k in range(5)))
        convert(source, tmp_path / "made", text, split=split, progress=False)
    assert load_split(tmp_path / "made", "train").ids == ["7"]
    assert load_split(tmp_path / "made", "dev").captions[2] == "says 2"
    with pytest.raises(InputError, match="files of these splits already; found dev_ims.npy"):
        convert(source, tmp_path / "made", text, split="dev", progress=False)


@pytest.mark.parametrize("file", ["dev_counts.txt", "dev_caps.txt", "dev_ims_bbx.npy"])
def test_files_of_a_split_are_neither_replaced_nor_read_with_the_new_ones(
    tmp_path: Path, file: str
) -> None:
    """Numbers of captions with the right sum gave captions to other images."""
    source, captions = write_tsv(tmp_path / "all.tsv", IDS), write_karpathy(tmp_path / "c.json")
    left = tmp_path / "made" / file
    left.parent.mkdir()
    left.write_text("of an earlier dataset")
    with pytest.raises(InputError, match=f"files of these splits already; found {file}"):
        convert(source, tmp_path / "made", captions, progress=False)
    assert left.read_text() == "of an earlier dataset"
    assert [path.name for path in left.parent.iterdir()] == [file]


def test_coco_annotations_follow_the_order_of_the_images(tmp_path: Path) -> None:
    path = tmp_path / "captions_val2014.json"
    images = [{"id": i, "file_name": f"COCO_val2014_{i:012}.jpg"} for i in (7, 12)]
    notes = [{"image_id": i, "caption": f"{i} says {k}"} for k in range(5) for i in (12, 7)]
    notes.append({"image_id": 7, "caption": "7 says too much"})
    images.append({"id": 9, "file_name": "9.jpg"})
    notes += [{"image_id": 9, "caption": f"9 says {k}"} for k in range(5)]
    path.write_text(json.dumps({"images": images, "annotations": notes}))
    found = read_captioned(path, "test")
    assert [image.image for image in found] == ["7", "12", "9"]
    assert found[0].captions == (*(f"7 says {k}" for k in range(5)), "7 says too much")
    first_five = read_captioned(path, "test", per_image=5)
    assert first_five[0].captions == tuple(f"7 says {k}" for k in range(5))
    with pytest.raises(InputError, match="this file has no splits"):
        read_captioned(path)


@pytest.mark.parametrize("name", ["../../x/44.jpg", "a/../44.jpg", "..\\\\44.jpg"])
def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    path = write_karpathy(tmp_path / "dataset.json")
    path.write_text(path.read_text().replace("COCO_val2014_000000000044.jpg", name))
    with pytest.raises(InputError, match="a name of an image leads out of its folder"):
        read_captioned(path)


def spoil(line: bytes, how: str) -> bytes:
    cells = line.split(b"\t")
    if how == "cut off":
        return line[:-90]
    if how == "columns":
        return b"\t".join(cells[:5]) + b"\r\n"
    if how == "nan":
        nan = np.full((3, 5), np.nan, np.float32).tobytes()
        return b"\t".join([*cells[:5], base64.b64encode(nan)]) + b"\r\n"
    if how == "outside":
        far = np.tile(np.float32([0, 0, 500, 10]), (3, 1)).tobytes()
        return b"\t".join([*cells[:4], base64.b64encode(far), cells[5]])
    return line


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut off", r"all.tsv, row 7: not a line of region features"),
        ("columns", r"all.tsv, row 7: .*found 5 columns"),
        ("nan", r"all.tsv, row 7: image 44: NaN or infinity"),
        (
            "outside",
            r"all.tsv, row 7: image 44: the box of region 0 .*expected 0 <= x1 <= x2 <= 80",
        ),
        ("missing", r"captioned images have no features; expected 7 images, found 1 without.*44"),
        ("width", r"image 44 has features of another width; expected 5 numbers a region.*found 6"),
    ],
)
def test_a_broken_source_is_named_and_leaves_nothing(
    tmp_path: Path, how: str, message: str
) -> None:
    source = write_tsv(tmp_path / "all.tsv", IDS)
    lines = source.read_bytes().splitlines(keepends=True)
    if how == "missing":
        lines.pop()
    elif how == "width":
        cells = lines[-1].split(b"\t")
        wide = base64.b64encode(np.ones((3, 6), np.float32))
        lines[-1] = b"\t".join([*cells[:5], wide + b"\r\n"])
    else:
        lines[-1] = spoil(lines[-1], how)
    source.write_bytes(b"".join(lines))
    captions = write_karpathy(tmp_path / "dataset.json")
    with pytest.raises(InputError, match=message):
        convert(source, tmp_path / "made", captions, progress=False)
    assert not (tmp_path / "made").exists()
    assert [path.name for path in tmp_path.glob(".made*")] == [".made.lock"]


def test_broken_archives_and_captions_are_named(tmp_path: Path) -> None:
    captions = write_karpathy(tmp_path / "dataset.json")
    source = write_npz(tmp_path / "npz", IDS)
    archive = source / "COCO_val2014_000000000031.jpg.npz"
    np.savez(archive, conf=np.ones(3))
    with pytest.raises(InputError, match=r"31.jpg.npz: no features of .*expected x or.*found conf"):
        convert(source, tmp_path / "made", captions, progress=False)
    archive.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=r"31.jpg.npz: damaged .npz file"):
        convert(source, tmp_path / "made", captions, progress=False)
    with pytest.raises(InputError, match="no region features here"):
        convert(tmp_path / "nowhere", tmp_path / "made", captions, progress=False)
    captions.write_text('{"annotations": []}')
    with pytest.raises(InputError, match="not a file of captions"):
        convert(source, tmp_path / "made", captions, progress=False)
    text = tmp_path / "text.token"
    text.write_text("1.jpg#0\ta dog\na cat\n")
    with pytest.raises(InputError, match="row 2: no image before the caption"):
        convert(source, tmp_path / "made", text, split="dev", progress=False)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_the_number_of_captions_per_image_is_that_of_the_file(tmp_path: Path, count: int) -> None:
    source = write_tsv(tmp_path / "all.tsv", IDS)
    captions = write_karpathy(tmp_path / "dataset.json", captions=count)
    convert(source, tmp_path / "converted", captions, progress=False)
    split = load_split(tmp_path / "converted", "test")
    assert set(split.caption_counts.tolist()) == {count}
    assert split.captions[count - 1] == f"picture 58350 says {count - 1}"


def test_different_numbers_of_captions_are_all_kept(tmp_path: Path) -> None:
    source = write_tsv(tmp_path / "all.tsv", IDS)
    captions = write_karpathy(tmp_path / "dataset.json", captions=2, first=7)
    convert(source, tmp_path / "made", captions, progress=False)
    split = load_split(tmp_path / "made", "test")
    assert (tmp_path / "made" / "test_counts.txt").read_text() == "7\n2\n"
    assert split.caption_counts.tolist() == [7, 2]
    assert split.captions_of(0)[6] == "picture 58350 says 6"
    assert not (tmp_path / "made" / "train_counts.txt").exists()
    convert(source, tmp_path / "cut", captions, per_image=2, progress=False)
    assert set(load_split(tmp_path / "cut", "test").caption_counts.tolist()) == {2}


COUNTS = (4, 2, 6, 3, 6, 1, 5)  # regions of each image: the arrays grow twice


def write_ragged(folder: Path) -> Path:
    folder.mkdir()
    for image, count in zip(IDS, COUNTS, strict=True):
        write_tsv(folder / f"{image}.tsv", [image], regions=count)
    return folder


def test_images_with_different_numbers_of_regions_are_filled_up(tmp_path: Path) -> None:
    captions = write_karpathy(tmp_path / "dataset.json")
    done = convert(write_ragged(tmp_path / "tsv"), tmp_path / "made", captions, progress=False)
    assert done.shape == (6, 5)
    assert done.lines()[0] == "test: 2 images, 1 to 6 regions of 5"
    data, count_of = load_dataset(tmp_path / "made", full=True), dict(zip(IDS, COUNTS, strict=True))
    for split in (data.train, data.dev, data.test):
        assert split.boxes is not None
        assert split.region_lens is not None
        for i, image in enumerate(map(int, split.ids)):
            truth, count = regions_of(image, count_of[image]), count_of[image]
            assert split.regions_of(i) == count
            np.testing.assert_array_equal(split.features[i], truth["x"])
            np.testing.assert_array_equal(split.boxes[i][:count], truth["boxes"])
            assert not split.regions[i][count:].any()
            assert not split.boxes[i][count:].any()


@pytest.mark.parametrize("most", [1, 3, 9])
def test_the_first_regions_are_kept(tmp_path: Path, most: int) -> None:
    captions = write_karpathy(tmp_path / "dataset.json")
    source, made = write_ragged(tmp_path / "tsv"), tmp_path / "made"
    done = convert(source, made, captions, regions=most, progress=False)
    assert done.cut == sum(count > most for count in COUNTS)
    assert done.shape[0] == min(most, max(COUNTS))
    data, count_of = load_dataset(made, full=True), dict(zip(IDS, COUNTS, strict=True))
    for split in (data.train, data.dev, data.test):
        kept = [min(most, count_of[int(image)]) for image in split.ids]
        varies = any(count < done.shape[0] for count in kept)
        assert (made / f"{split.name}_region_lens.npy").exists() == varies
        for i, image in enumerate(map(int, split.ids)):
            truth = regions_of(image, count_of[image])["x"]
            np.testing.assert_array_equal(split.regions[i][: kept[i]], truth[: kept[i]])


def test_a_repeated_record_has_as_many_regions(tmp_path: Path) -> None:
    source = write_ragged(tmp_path / "tsv")
    write_tsv(source / "again.tsv", IDS[:1], regions=COUNTS[0])
    captions = write_karpathy(tmp_path / "dataset.json")
    convert(source, tmp_path / "made", captions, progress=False)
    write_tsv(source / "other.tsv", IDS[:1], regions=COUNTS[0] - 1)
    with pytest.raises(InputError, match="two images share the key '58350'"):
        convert(source, tmp_path / "again", captions, progress=False)


def test_the_name_of_a_split_leads_to_no_other_folder(tmp_path: Path) -> None:
    text = tmp_path / "text.token"
    text.write_text(f"{IDS[0]}.jpg#0\ta dog\n")
    source = write_ragged(tmp_path / "tsv")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match="not the name of a split"):
        convert(source, tmp_path / "made", text, split="../x", progress=False)
    assert sorted(tmp_path.iterdir()) == before
