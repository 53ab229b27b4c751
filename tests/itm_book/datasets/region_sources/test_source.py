"""Every form of the releases is converted to the same arrays; damage matters where it is needed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from itm_book.datasets.convert import convert
from itm_book.datasets.region_sources.record import BOXES, COUNTS, FEATURES
from itm_book.datasets.region_sources.tsv_rows import BUTD, LXMERT
from itm_core.data.dataset import load_dataset, load_split
from itm_core.data.photographs import ENDINGS
from itm_core.errors import InputError
from tests.itm_book.datasets.region_sources.writing import (
    FORMS,
    b64,
    butd_parts,
    cocobu,
    grid_npy,
    vinvl,
)
from tests.itm_book.datasets.test_convert import IDS, regions_of, write_karpathy, write_tsv


def require_truth(folder: Path, boxes: bool, sizes: bool) -> None:
    """Compare every image of a converted dataset with what was written."""
    data = load_dataset(folder, full=True)
    for split in (data.train, data.dev, data.test):
        assert (split.boxes is not None, split.sizes is not None) == (boxes, sizes)
        for i, image in enumerate(map(int, split.ids)):
            truth = regions_of(image)
            np.testing.assert_array_equal(split.regions[i], truth["x"])
            assert split.captions[5 * i + 4] == f"picture {image} says 4"
            if split.boxes is not None:
                np.testing.assert_array_equal(split.boxes[i], truth["boxes"])
            if split.sizes is not None:
                assert split.sizes[i].tolist() == [80, 60]


@pytest.mark.parametrize(
    ("write", "boxes", "sizes"), FORMS, ids=lambda v: getattr(v, "__name__", "")
)
def test_every_form_gives_the_same_dataset(
    tmp_path: Path, write: Callable[[Path], Path], boxes: bool, sizes: bool
) -> None:
    source = write(tmp_path / "source")
    captions = write_karpathy(tmp_path / "dataset.json")
    done = convert(source, tmp_path / "made", captions, progress=False)
    assert (done.shape, done.skipped, len(done.broken)) == ((3, 5), 0, 0)
    require_truth(tmp_path / "made", boxes, sizes)


def test_boxes_may_be_in_another_folder_or_nowhere(tmp_path: Path) -> None:
    source, captions = cocobu(tmp_path / "bu"), write_karpathy(tmp_path / "dataset.json")
    done = convert(source / "cocobu_att", tmp_path / "without", captions, progress=False)
    require_truth(tmp_path / "without", False, False)
    assert "no boxes were written: 7 images have none, such as 58350" in done.lines()
    boxes = source / "cocobu_box"
    given = source / "cocobu_att", tmp_path / "made", captions
    convert(*given, boxes=boxes, progress=False)
    require_truth(tmp_path / "made", True, False)
    with pytest.raises(InputError, match="boxes of another form than the records"):
        convert(given[0], tmp_path / "again", captions, boxes=captions, progress=False)
    (boxes / "44.npy").unlink()
    with pytest.raises(InputError, match=r"44.npy: no boxes of image 44"):
        convert(source, tmp_path / "again", captions, progress=False)
    with pytest.raises(InputError, match="has four numbers a region, as boxes have"):
        convert(boxes, tmp_path / "again", captions, progress=False)
    with pytest.raises(InputError, match=r"image \d+: not the features of regions.*\[5\]"):
        convert(source / "cocobu_fc", tmp_path / "again", captions, progress=False)


def test_a_header_names_the_columns_of_boxes_in_another_file(tmp_path: Path) -> None:
    source, captions = vinvl(tmp_path / "vinvl"), write_karpathy(tmp_path / "dataset.json")
    lines = ["image_id\timage_h\timage_w\tnum_boxes\tboxes\tfeatures"]
    for image in IDS:
        boxes, features = (b64(regions_of(image)[name]) for name in ("boxes", "x"))
        lines.append(f"{image}\t60\t80\t3\t{boxes}\t{features}")
    (tmp_path / "boxes.tsv").write_text("\n".join(lines))
    given = source / "features.tsv", tmp_path / "made", captions
    convert(*given, boxes=tmp_path / "boxes.tsv", progress=False)
    require_truth(tmp_path / "made", True, True)


def test_boxes_of_other_regions_are_refused_and_can_be_left_out(tmp_path: Path) -> None:
    source, captions = vinvl(tmp_path / "vinvl"), write_karpathy(tmp_path / "dataset.json")
    features = source / "features.tsv"
    lines = features.read_text().splitlines()
    lines[2] = f"7\t4\t{b64(regions_of(7, regions=4)['x'])}"
    features.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"row 3: image 7 .*expected 4 boxes, found 3"):
        convert(source, tmp_path / "made", captions, progress=False)
    vinvl(tmp_path / "whole")
    convert(tmp_path / "whole/features.tsv", tmp_path / "made", captions, progress=False)
    require_truth(tmp_path / "made", False, False)


def spoil(path: Path, image: str, row: int) -> None:
    """Insert a row that ends in its base64, as one of the released files has it."""
    lines = path.read_bytes().splitlines(keepends=True)
    rest = lines[0].split(b"\t", 1)[1]
    lines.insert(row - 1, image.encode() + b"\t" + rest[:-21] + b"\r\n")
    path.write_bytes(b"".join(lines))


def test_damaged_rows_count_where_no_caption_needs_them(tmp_path: Path) -> None:
    source, captions = butd_parts(tmp_path / "parts"), write_karpathy(tmp_path / "dataset.json")
    part = source / "karpathy_train_resnet101_faster_rcnn_genome.tsv.1"
    spoil(part, "300104", row=2)
    write_tsv(source / "z.tsv", [999])
    done = convert(source, tmp_path / "made", captions, progress=False)
    require_truth(tmp_path / "made", True, True)
    assert done.skipped == 1
    assert len(done.broken) == 1
    assert "1 damaged records that no caption needs were skipped" in done.lines()[-1]
    assert "genome.tsv.1, row 2: not a line of region features" in done.lines()[-1]

    # a damaged row of a captioned image does not matter beside a whole one
    spoil(part, "44", row=1)
    assert len(convert(source, tmp_path / "more", captions, progress=False).broken) == 2
    whole = source / "karpathy_val_resnet101_faster_rcnn_genome.tsv"
    whole.write_bytes(whole.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(InputError, match=r"genome.tsv.1, row 1: not a line of region features"):
        convert(source, tmp_path / "again", captions, progress=False)


def test_a_row_without_a_name_is_told_where_an_image_is_missing(tmp_path: Path) -> None:
    captions = write_karpathy(tmp_path / "dataset.json")
    source = write_tsv(tmp_path / "all.tsv", IDS[:-1])
    with source.open("ab") as file:
        file.write(b"A" * 400 + b"\n")
    message = r"1 without, such as 44; and 1 records without a name, the first: .*all.tsv, row 7"
    with pytest.raises(InputError, match=message):
        convert(source, tmp_path / "made", captions, progress=False)


def test_subfolders_with_records_are_one_source(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    captions, source = write_karpathy(tmp_path / "dataset.json"), tmp_path / "feats"
    for place, images in (("train2014", IDS[:3]), ("val2014", IDS[3:])):
        (source / place).mkdir(parents=True)
        (tmp_path / "boxes" / place).mkdir(parents=True)
        for image in images:
            np.save(source / place / f"{image}.npy", regions_of(image)["x"])
            np.save(tmp_path / "boxes" / place / f"{image}.npy", regions_of(image)["boxes"])
    (source / "notes").mkdir()
    with caplog.at_level(logging.INFO):
        convert(source, tmp_path / "made", captions, progress=False)
    require_truth(tmp_path / "made", False, False)
    assert "the records of train2014/, val2014/" in caplog.text
    given = source, tmp_path / "boxed", captions
    convert(*given, boxes=tmp_path / "boxes", progress=False)
    require_truth(tmp_path / "boxed", True, False)


def test_boxes_beside_features_are_no_features(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    captions, source = write_karpathy(tmp_path / "dataset.json"), tmp_path / "feats"
    for name, array in (("boxes", "boxes"), ("features", "x")):
        (source / name).mkdir(parents=True)
        for image in IDS:
            np.save(source / name / f"{image}.npy", regions_of(image)[array])
    convert(source, tmp_path / "made", captions, progress=False)
    require_truth(tmp_path / "made", False, False)
    assert "left out: boxes/ holds no features; boxes need --boxes" in caplog.text
    convert(source, tmp_path / "boxed", captions, boxes=source / "boxes", progress=False)
    require_truth(tmp_path / "boxed", True, False)
    shutil.rmtree(source / "features")
    with pytest.raises(InputError, match="no region features here.*found boxes/"):
        convert(source, tmp_path / "again", captions, progress=False)


def test_a_folder_of_pickles_has_the_remedy_of_one(tmp_path: Path) -> None:
    captions, source = write_karpathy(tmp_path / "dataset.json"), tmp_path / "feats"
    source.mkdir()
    for name in ("1.pt", "2.pt"):
        (source / name).touch()
    with pytest.raises(InputError, match=r"1\.pt: pickled objects.*write an \.npz for each image"):
        convert(source, tmp_path / "made", captions, progress=False)


def test_files_that_no_caption_needs_are_not_opened(tmp_path: Path) -> None:
    source, captions = grid_npy(tmp_path / "npy"), write_karpathy(tmp_path / "dataset.json")
    (source / "1000.npy").write_bytes(b"damaged")
    (source / "7_info.npy").write_bytes(b"\x80pickled")
    (source / "._7.npy").write_bytes(b"a note of another system")
    done = convert(source, tmp_path / "made", captions, progress=False)
    assert (done.skipped, len(done.broken)) == (2, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("features.pkl", "pickled objects, which are not opened"),
        ("train_img_frcnn_feats.pt", "pickled objects, which are not opened"),
        ("trainval.zip", "a packed file.*unpack it"),
    ],
)
def test_files_that_are_not_opened_have_a_way_out(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    captions = write_karpathy(tmp_path / "dataset.json")
    with pytest.raises(InputError, match=message):
        convert(tmp_path / name, tmp_path / "made", captions, progress=False)


def test_folders_without_features_say_what_is_there(tmp_path: Path) -> None:
    source, captions = tmp_path / "photos", write_karpathy(tmp_path / "dataset.json")
    (source / "inner").mkdir(parents=True)
    for name in ("1.jpg", "2.jpg"):
        (source / name).touch()
    with pytest.raises(InputError, match=r"expected a .tsv or .h5.*found 2 files .jpg, inner/"):
        convert(source, tmp_path / "made", captions, progress=False)
    np.save(source / "train_ims.npy", np.ones((2, 3, 5), np.float32))
    with pytest.raises(InputError, match="in the SCAN layout already.*itm check"):
        convert(source, tmp_path / "made", captions, progress=False)
    assert not (tmp_path / "made").exists()


def test_one_image_is_in_memory_at_a_time(tmp_path: Path) -> None:
    """The records of a source are read when they are asked for."""
    from itm_book.datasets.region_sources.source import entries

    source = write_tsv(tmp_path / "all.tsv", IDS)
    images = entries(source)
    assert next(images).image == str(IDS[0])
    with source.open("ab") as file:
        file.write(write_tsv(tmp_path / "more.tsv", [999]).read_bytes())
    assert [entry.image for entry in images] == [str(image) for image in [*IDS[1:], 999]]


def test_the_split_that_was_made_has_the_names_of_the_captions(tmp_path: Path) -> None:
    captions = tmp_path / "c.token"
    names = ["000000000007.jpg", "COCO_val2014_000000000012.JPG", "rsicd_31.tif", "a.webp"]
    captions.write_text("".join(f"{name}#0\ta dog\n" for name in names))
    source = tmp_path / "npz"
    source.mkdir()
    for name, image in zip(("7", "12", "rsicd_31", "a"), (7, 12, 31, 44), strict=True):
        np.savez(source / name, **regions_of(image))
    convert(source, tmp_path / "made", captions, split="test", progress=False)
    split = load_split(tmp_path / "made", "test")
    assert split.ids == ["7", "12", "rsicd_31", "a"]
    np.testing.assert_array_equal(split.regions[3], regions_of(44)["x"])


def test_the_page_names_what_is_read() -> None:
    page = (Path(__file__).parents[4] / "book/files.md").read_text()
    for name in (*ENDINGS, *FEATURES, *BOXES, *COUNTS, *BUTD, *LXMERT):
        assert f"`{name}`" in page or name in page.split("### LXMERT")[1].split("as in")[0], name
