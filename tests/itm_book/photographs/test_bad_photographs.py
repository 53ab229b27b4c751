"""Photographs of every kind through ``itm data make``: described as they look, or named."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itm_book.photographs.backbones import Colour
from itm_book.photographs.own_split import load_own
from itm_book.regions.region_boxes import layout
from itm_core.cli import main
from itm_core.data.dataset import load_split
from itm_core.data.feature_notes import read_note
from itm_core.data.photographs import PhotographError, read_photograph
from tests.photos import noise, write_captions, write_photographs

ORIENTATION = 274
PIXELS = noise(5, 6, 8)


def make(pictures: Path, out: Path, *more: str) -> int:
    return main(["data", "make", str(pictures), "--out", str(out), "--backbone", "colour", *more])


def grey(path: Path) -> np.ndarray:
    Image.fromarray(PIXELS[..., 0]).save(path)
    return PIXELS[..., :1].repeat(3, 2)


def grey_of_16_bits(path: Path) -> np.ndarray:
    Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257).save(path)
    return PIXELS[..., :1].repeat(3, 2)


def palette_with_transparency(path: Path) -> np.ndarray:
    image = Image.fromarray((np.arange(48, dtype=np.uint8) % 3).reshape(6, 8))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(path, transparency=1)
    colours = np.array([[255, 0, 0], [255, 255, 255], [0, 0, 255]], np.uint8)
    return colours[np.arange(48).reshape(6, 8) % 3]


def with_alpha(path: Path) -> np.ndarray:
    opaque = np.arange(48).reshape(6, 8, 1) % 2 == 0
    alpha = np.where(opaque, 255, 0).astype(np.uint8)
    Image.fromarray(np.concatenate([PIXELS, alpha], 2)).save(path)
    return np.where(opaque, PIXELS, 255).astype(np.uint8)


def cmyk(path: Path) -> np.ndarray:
    Image.new("CMYK", (8, 6), (0, 255, 255, 0)).save(path)
    return np.full((6, 8, 3), (255, 0, 0), np.uint8)


def on_its_side(path: Path) -> np.ndarray:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(PIXELS).save(path, exif=exif)
    return np.rot90(PIXELS, 3)


def one_pixel(path: Path) -> np.ndarray:
    Image.fromarray(PIXELS[:1, :1]).save(path)
    return PIXELS[:1, :1]


def one_column(path: Path) -> np.ndarray:
    column = noise(6, 5000, 1)
    Image.fromarray(column).save(path)
    return column


def animation(path: Path) -> np.ndarray:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return np.full((6, 8, 3), (255, 0, 0), np.uint8)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (grey, "a.png"),
        (grey_of_16_bits, "a.png"),
        (palette_with_transparency, "a.png"),
        (with_alpha, "a.png"),
        (cmyk, "a.tif"),
        (on_its_side, "a.png"),
        (one_pixel, "a.png"),
        (one_column, "a.png"),
        (animation, "a.gif"),
    ],
)
def test_an_unusual_photograph_is_described_as_it_looks(
    tmp_path: Path, write: Callable[[Path], np.ndarray], name: str
) -> None:
    pictures = tmp_path / "photos"
    pictures.mkdir()
    pixels = write(pictures / name)
    np.testing.assert_array_equal(read_photograph(pictures / name), pixels)
    assert make(pictures, tmp_path / "out") == 0
    split = load_own(tmp_path / "out")
    boxes = layout(pixels.shape[1], pixels.shape[0])
    np.testing.assert_array_equal(split.regions[0], Colour()(pixels, boxes))
    assert split.sizes is not None
    assert split.sizes[0].tolist() == [pixels.shape[1], pixels.shape[0]]


def truncated(path: Path) -> None:
    Image.fromarray(noise(0, 200, 200)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:2000])


def of_declared_size(path: Path, side: int) -> None:
    """Write a PNG of few bytes that declares ``side`` by ``side`` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(9))), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def unreadable(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    path.write_bytes(b"")
    path.chmod(0)


DAMAGED = {
    "truncated": (truncated, "not readable as a picture: image file is truncated"),
    "empty": (lambda path: path.write_bytes(b""), "not readable as a picture: an empty file"),
    "text": (lambda path: path.write_text("no"), "not readable as a picture: no picture"),
    "zeros": (lambda path: path.write_bytes(bytes(999)), "not readable as a picture: no picture"),
    "large": (lambda path: of_declared_size(path, 10_000), "too many pixels: Image size"),
    "huge": (lambda path: of_declared_size(path, 60_000), "too many pixels: Image size"),
    "link": (
        lambda path: path.symlink_to("nowhere.jpg"),
        "not readable as a picture: a link to a file that does not exist",
    ),
    "unreadable": (unreadable, "not readable as a picture: Permission denied"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_photograph_is_named_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    write, reason = DAMAGED[kind]
    pictures = write_photographs(tmp_path / "photos", 2)
    write(pictures / "bad.jpg")
    with pytest.raises(PhotographError, match=r"bad\.jpg: ") as caught:
        read_photograph(pictures / "bad.jpg")
    assert caught.value.reason.startswith(reason)
    assert str(tmp_path) not in caught.value.reason
    assert make(pictures, tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert "bad.jpg: " in message
    assert "--skip-damaged" in message
    assert not (tmp_path / "out").exists()
    for _ in range(2):  # the second call finds the finished folder
        assert make(pictures, tmp_path / "out", "--skip-damaged") == 0
        printed = capsys.readouterr().out
        assert f"damaged photographs, skipped: 1\n    bad.jpg: {reason}" in printed
    assert load_own(tmp_path / "out").ids == ["p0.png", "p1.png"]
    note = read_note(tmp_path / "out")
    assert note is not None
    assert note["left_out"] == [f"bad.jpg: {caught.value.reason}"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_random_damage_gives_pixels_or_a_named_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    Image.fromarray(noise(1)).save(path, kind)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    generator = np.random.default_rng(0)
    damaged = 0
    for _ in range(60):
        content = whole[: generator.integers(1, len(whole) + 1)].copy()
        content[generator.integers(0, len(content), 4)] = generator.integers(0, 256, 4)
        path.write_bytes(content.tobytes())
        try:
            pixels = read_photograph(path)
        except PhotographError:
            damaged += 1
        else:
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
    assert damaged


def test_names_that_differ_in_case_only_are_two_photographs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "photos"
    pictures.mkdir()
    for k, name in enumerate(("a.png", "A.png", "a.PNG")):
        Image.fromarray(noise(k)).save(pictures / name)
    if len(list(pictures.iterdir())) < 3:
        pytest.skip("this file system does not distinguish case")
    assert make(pictures, tmp_path / "out") == 0
    split = load_own(tmp_path / "out")
    assert split.ids == ["A.png", "a.PNG", "a.png"]
    for row, k in enumerate((1, 2, 0)):
        np.testing.assert_array_equal(split.picture(row), noise(k))
    captions = tmp_path / "captions.txt"
    captions.write_text("A.png#0\ta picture\n")
    assert make(pictures, tmp_path / "one", "--captions", f"test={captions}") == 0
    np.testing.assert_array_equal(load_split(tmp_path / "one", "test").picture(0), noise(1))
    captions.write_text("a.png#0\ta picture\n")  # captions name photographs without their ending
    assert make(pictures, tmp_path / "two", "--captions", f"test={captions}") == 2
    assert "two images share the key 'a'" in capsys.readouterr().err


def test_captions_without_a_photograph_and_photographs_without_captions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = write_photographs(tmp_path / "photos", 6)
    captions = write_captions(tmp_path / "captions.txt", [0, 7, 3, 9])
    assert make(pictures, tmp_path / "out", "--captions", f"test={captions}") == 2
    message = capsys.readouterr().err
    assert "captioned photographs are missing; expected 4 photographs" in message
    assert "found 2 missing, such as p7, p9" in message
    write_captions(captions, [0, 3])
    for _ in range(2):
        assert make(pictures, tmp_path / "out", "--captions", f"test={captions}") == 0
        unused = "photographs that no caption or split names: 4 (p1.png, p2.png, p4.png, ...)"
        assert unused in capsys.readouterr().out
    assert load_split(tmp_path / "out", "test").ids == ["p0.png", "p3.png"]
