"""Features that are named after ids of the caption file, and ids that name two images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from itm_book.datasets.convert import Converted, convert
from itm_core.data.dataset import load_split
from itm_core.errors import InputError
from tests.itm_book.datasets.test_convert import regions_of, write_tsv


def karpathy(path: Path, records: list[dict]) -> Path:
    images = [
        {"split": "test", "sentences": [{"raw": f"{n} says {k}"} for k in range(5)], **record}
        for n, record in enumerate(records)
    ]
    path.write_text(json.dumps({"images": images}))
    return path


def converted(tmp_path: Path, records: list[dict], source: list[int]) -> Converted:
    captions = karpathy(tmp_path / "dataset.json", records)
    tsv = write_tsv(tmp_path / "all.tsv", source)
    return convert(tsv, tmp_path / "made", captions, progress=False)


def require_images(folder: Path, ids: list[str], images: list[int]) -> None:
    split = load_split(folder, "test")
    assert split.ids == ids
    for regions, image in zip(split.regions, images, strict=True):
        np.testing.assert_array_equal(regions, regions_of(image)["x"])


@pytest.mark.parametrize("field", ["imgid", "cocoid", "id"])
def test_the_id_of_a_record_is_a_second_key(tmp_path: Path, field: str) -> None:
    records = [{"filename": f"photo_{name}.jpg", field: n} for n, name in ((3, "a"), (0, "b"))]
    done = converted(tmp_path, records, [0, 1, 2, 3])
    require_images(tmp_path / "made", ["photo_a", "photo_b"], [3, 0])
    assert (done.matched_by, done.skipped) == (field, 2)
    assert f"records were found by {field}, not by the names of files" in done.lines()


def test_names_come_first(tmp_path: Path) -> None:
    records = [{"filename": "3.jpg", "imgid": 0}, {"filename": "0.jpg", "imgid": 3}]
    done = converted(tmp_path, records, [0, 3])
    require_images(tmp_path / "made", ["3", "0"], [3, 0])
    assert done.matched_by is None


def test_numbers_of_coco_2017_are_those_of_its_files(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"{n:012}.jpg"} for n in (1000, 139)]
    notes = [{"image_id": n, "caption": f"{n} {k}"} for n in (1000, 139) for k in range(5)]
    captions = tmp_path / "captions_val2017.json"
    captions.write_text(json.dumps({"images": images, "annotations": notes}))
    done = convert(
        write_tsv(tmp_path / "all.tsv", [139, 1000]),
        tmp_path / "made",
        captions,
        split="test",
        progress=False,
    )
    require_images(tmp_path / "made", ["1000", "139"], [1000, 139])
    assert done.matched_by is None


@pytest.mark.parametrize(
    ("records", "message"),
    [
        # record 7 is the first image by its name, and the second by its imgid
        (
            [{"filename": "7.jpg", "imgid": 9}, {"filename": "b.jpg", "imgid": 7}],
            r"fit image 7; found '9' by its imgid and '7' by its name",
        ),
        (
            [
                {"filename": "a.jpg", "id": 7, "imgid": 9},
                {"filename": "b.jpg", "id": 9, "imgid": 7},
            ],
            r"fit image a; found '7' by its id and '9' by its imgid",
        ),
        (
            [{"filename": "a.jpg", "imgid": 7}, {"filename": "b.jpg", "imgid": "07"}],
            r"two images, by imgid, share the key '7'; found a and b",
        ),
    ],
)
def test_ids_that_fit_two_images_are_refused(
    tmp_path: Path, records: list[dict], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        converted(tmp_path, records, [7, 9])
    assert not (tmp_path / "made").exists()


def test_without_a_fitting_id_the_missing_are_named(tmp_path: Path) -> None:
    records = [{"filename": "a.jpg", "imgid": 0}, {"filename": "b.jpg", "imgid": 1}]
    message = r"2 without, such as a, b; records without captions are named 1, 2"
    with pytest.raises(InputError, match=message):
        converted(tmp_path, records, [1, 2])
