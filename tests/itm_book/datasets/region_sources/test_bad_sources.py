"""Damaged and hostile sources of region features: one message that names the file."""

from __future__ import annotations

import base64
import io
import json
import logging
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itm_book.datasets.convert import convert
from itm_book.regions.region_boxes import BoxFile
from itm_core.errors import InputError
from tests.itm_book.datasets.region_sources.writing import cocobu, oscar
from tests.itm_book.datasets.test_convert import (
    IDS,
    regions_of,
    write_karpathy,
    write_npz,
    write_tsv,
)

NAME = "COCO_val2014_000000000044.jpg.npz"
PIB = 2**50


def refused(tmp_path: Path, source: Path, message: str, **options: Any) -> None:
    """The conversion is refused with a message, and nothing is left behind."""
    captions = write_karpathy(tmp_path / "dataset.json")
    with pytest.raises(InputError, match=message):
        convert(source, tmp_path / "made", captions, progress=False, **options)
    assert not (tmp_path / "made").exists()
    assert [path.name for path in tmp_path.glob(".made*")] in ([], [".made.lock"])


def npy(values: Any = (), shape: tuple[int, ...] | None = None) -> bytes:
    """The bytes of an .npy file, whose header may name another shape."""
    file = io.BytesIO()
    values = np.asarray(values, np.float32)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape or values.shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + values.tobytes()


def members(path: Path, **content: bytes) -> None:
    """An archive with these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            archive.writestr(name, value)


def bad_deflate(path: Path) -> None:
    """An archive whose compressed bytes are noise."""
    members(path, **{"x.npy": npy(np.ones((300, 50)))})
    content = bytearray(path.read_bytes())
    start = 30 + struct.unpack("<H", content[26:28])[0]
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)


def changed(**values: Any) -> Callable[[Path], None]:
    """What writes the arrays of image 44 with some of them changed."""
    return lambda path: np.savez(path, **(regions_of(44) | values))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (changed(x=np.full((3, 5), "red")), "no features of .*expected x or features"),
        (changed(image_w=np.nan), r"no size of the picture .*image_w and image_h, found .*nan"),
        (changed(image_w=1e30), "a picture of 1e[+]30 pixels"),
        (changed(image_h=-5), "a picture of -5 pixels"),
        (changed(image_w=[80, 80]), "no size of the picture"),
        (changed(boxes=np.array(4.0)), "features and boxes do not match"),
        (changed(x=np.array([{"a": 1}])), "no features of"),
        (bad_deflate, "damaged .npz file; .*Remedy: copy or download"),
        (lambda path: members(path, **{"x.npy": npy(shape=(PIB, 4))}), "damaged .npz file"),
        (lambda path: members(path, **{"x.npy": npy([1.0], shape=(-1, -1))}), "damaged .npz"),
        (lambda path: members(path, **{"x.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"}), "damaged"),
        (lambda path: members(path, x=npy(np.ones((3, 5)))), "no features of .*found nothing"),
        (lambda path: path.write_bytes(npy(shape=(PIB, 4))), "damaged .npz file"),
        (lambda path: path.write_bytes(b""), "damaged .npz file"),
    ],
)
def test_a_hostile_npz_is_named(
    write: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    source = write_npz(tmp_path / "npz", IDS)
    write(source / NAME)
    refused(tmp_path, source, message)


CORNERS = {
    "left": [-1.1, 0, 5, 5],
    "above": [0, -1.1, 5, 5],
    "right": [0, 0, 81.1, 5],
    "below": [0, 0, 5, 61.1],
    "exchanged": [9, 5, 5, 9],
}
ROUNDED = [-1, -1, 81, 61]


def with_box(source: Path, box: list[float]) -> Path:
    """A source in which the last region of image 44 has a box."""
    r = regions_of(44)
    r["boxes"][2] = box
    if source.suffix == ".tsv":
        write_tsv(source, IDS[:-1])
        coded = [base64.b64encode(r[name].tobytes()).decode() for name in ("boxes", "x")]
        with source.open("a") as file:
            file.write("\t".join(["44", "80", "60", "3", *coded]) + "\r\n")
    elif source.suffix == ".box":
        cocobu(source)
        np.save(source / "cocobu_box" / "44.npy", r["boxes"])
    else:
        np.savez(write_npz(source, IDS) / NAME, **r)
    return source


@pytest.mark.parametrize("where", CORNERS)
@pytest.mark.parametrize("form", ["all.tsv", "npz", "npy.box"])
def test_a_box_outside_its_picture_is_named(where: str, form: str, tmp_path: Path) -> None:
    if form == "npy.box" and where in ("right", "below"):
        pytest.skip("sizes are not known")
    source = with_box(tmp_path / form, CORNERS[where])
    refused(tmp_path, source, "image 44: the box of region 2 is no box, or leaves its picture")


@pytest.mark.parametrize("form", ["all.tsv", "npz", "npy.box"])
def test_boxes_that_detectors_rounded_are_kept(form: str, tmp_path: Path) -> None:
    source, captions = with_box(tmp_path / form, ROUNDED), write_karpathy(tmp_path / "d.json")
    assert convert(source, tmp_path / "made", captions, progress=False).images["dev"] == 2


@pytest.mark.parametrize("where", [*CORNERS, "shares"])
@pytest.mark.parametrize("form", ["npz", "npy"])
def test_a_box_for_a_photograph_outside_it_is_named(where: str, form: str, tmp_path: Path) -> None:
    box = (CORNERS | {"shares": [0, 0, 0.5, 1]})[where]
    np.save(tmp_path / "boxes.npy", [[ROUNDED], [box]])
    np.savez(tmp_path / "a.npz", boxes=[ROUNDED])
    np.savez(tmp_path / "b.npz", boxes=[box])
    path = tmp_path / "boxes.npy" if form == "npy" else tmp_path
    boxes, picture = BoxFile(path, [("own", ["a", "b"])]), np.zeros((60, 80, 3), np.uint8)
    assert boxes("own", 0, "a", picture)[0].tolist() == [0, 0, 80, 60]
    with pytest.raises(InputError, match=r"invalid boxes of b: .*expected 0 <= x1 <= x2 <= 80"):
        boxes("own", 1, "b", picture)


def test_boxes_that_are_texts_are_named(tmp_path: Path) -> None:
    source = cocobu(tmp_path / "cocobu")
    np.save(source / "cocobu_box" / "44.npy", np.full((3, 4), "near"))
    refused(tmp_path, source, "image 44: features and boxes do not match.*<U4")


@pytest.mark.parametrize("height", [10**30, -1, "NaN", "tall", None, [60]])
def test_a_size_that_no_picture_has_is_named(height: object, tmp_path: Path) -> None:
    source = oscar(tmp_path / "oscar")
    sizes = source / "train.hw.tsv"
    lines = sizes.read_text().splitlines()[:-1]
    note = json.dumps([{"height": height, "width": 80}]).replace('"NaN"', "NaN")
    sizes.write_text("\n".join([*lines, f"44\t{note}"]) + "\n")
    refused(tmp_path, source, r"hw.tsv, row 7: not a line of region features")


@pytest.mark.parametrize(
    ("name", "text"), [("dataset.json", "{}"), ("features.txt", ' [{"a": 1}]')]
)
def test_json_is_not_read_as_features(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / name).write_text(text)
    refused(tmp_path, tmp_path / "source" / name, f"{name}: JSON, not region features.*--captions")


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (np.arange(0, 21, 3)[:, None] + [0, 4], "lead beyond the last region; .*21, found 22"),
        (np.arange(0, 21, 3)[:, None] - [1, 0], "not the places of regions"),
        (np.arange(0, 21, 3)[:, None] + [3, 0], "not the places of regions"),
        (np.arange(0, 21, 3) + 0.5, "not the places of regions"),
    ],
)
def test_places_of_regions_in_hdf5_are_checked(
    bounds: np.ndarray, message: str, tmp_path: Path
) -> None:
    path = write_stacked(tmp_path, bounds)
    refused(tmp_path, path, message)


def test_regions_of_no_image_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_stacked(tmp_path, np.arange(0, 21, 3)[:, None] + [0, 2])
    captions = write_karpathy(tmp_path / "dataset.json")
    with caplog.at_level(logging.WARNING):
        convert(path, tmp_path / "made", captions, progress=False)
    assert "7 of 21 regions are of no image" in caplog.text


def write_stacked(folder: Path, bounds: np.ndarray) -> Path:
    """The regions of all images in one array of an HDF5 file."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "all.hdf5", "w") as file:
        file["image_features"] = np.ones((21, 5), np.float32)
        file["image_bb"] = np.tile(np.float32([0, 0, 5, 5]), (21, 1))
        file["pos_boxes"], file["image_ids"] = bounds, IDS
    return folder / "all.hdf5"
