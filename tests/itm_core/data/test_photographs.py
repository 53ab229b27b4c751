"""Photographs of every kind come out as they look; broken and hostile ones are named."""

from __future__ import annotations

import struct
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from itm_book.regions.picture_files import photographs_in, shrunk
from itm_core.data.photographs import (
    ENDINGS,
    UNREAD,
    PhotographError,
    find_photograph,
    image_key,
    read_photograph,
)
from itm_core.errors import InputError
from tests.photos import noise

ORIENTATION = 274


UPRIGHT = {  # orientation: is the picture mirrored, and how often is it turned to the left
    **{1: (False, 0), 2: (True, 0), 3: (False, 2), 4: (True, 2)},
    **{5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1)},
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_camera_that_was_held_on_its_side_is_heeded(tmp_path: Path, orientation: int) -> None:
    stored, exif = noise(0), Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    mirrored, turns = UPRIGHT[orientation]
    upright = np.rot90(stored[:, ::-1] if mirrored else stored, turns)
    found = read_photograph(tmp_path / "a.png")
    np.testing.assert_array_equal(found, upright)
    with Image.open(tmp_path / "a.png") as image:  # Pillow's own
        np.testing.assert_array_equal(found, np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize(
    ("tag", "kind", "count", "value"),
    [
        (0x11A, 10, 1, struct.pack("<I", 38)),  # a signed resolution, -72/1
        (0x128, 2, 3, b"ab\0\0"),  # a unit of resolution in letters
        (0x8769, 4, 1, struct.pack("<I", 5000)),  # a block beyond the end
        (0x10F, 2, 5, b"\xff\xff\xff\xff"),  # letters beyond the end, before the orientation
        (0x103, 3, 9, struct.pack("<I", 30)),  # numbers of which some are beyond it
    ],
)
@pytest.mark.parametrize(("orientation", "shape"), [(6, (20, 10, 3)), (0, (10, 20, 3))])
def test_other_tags_may_be_wrong(
    tmp_path: Path, tag: int, kind: int, count: int, value: bytes, orientation: int, shape: object
) -> None:
    turned = (ORIENTATION, 3, 1, struct.pack("<HH", orientation, 0))
    tags = sorted([turned, (tag, kind, count, value)])
    block = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in tags)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + block + bytes(4)
    exif += struct.pack("<ii", -72, 1)
    Image.new("RGB", (20, 10), (200, 30, 60)).save(tmp_path / "a.jpg", exif=exif)
    assert read_photograph(tmp_path / "a.jpg").shape == shape


def test_postscript_is_no_photograph(tmp_path: Path) -> None:
    """Pillow would let Ghostscript, where that is installed, run the program in it."""
    path = tmp_path / "a.jpg"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(PhotographError, match="not readable as a picture; found no picture"):
        read_photograph(path)


def test_grey_is_the_same_in_three_channels(tmp_path: Path) -> None:
    grey = noise(0)[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.png"), grey[..., None].repeat(3, 2))


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert read_photograph(tmp_path / "a.png")[0, :, 0].tolist() == [0, 0, 1, 255]


def test_thirty_two_bits_are_eight_or_sixteen(tmp_path: Path) -> None:
    for values, grey in (
        ([[0, 200, 255, -1]], [0, 200, 255, 0]),
        ([[0, 200, 51400, 65536 * 9]], [0, 0, 200, 255]),
    ):
        Image.fromarray(np.array(values, np.int32)).save(tmp_path / "a.tif")
        assert read_photograph(tmp_path / "a.tif")[0, :, 0].tolist() == grey


def test_what_shines_through_is_white(tmp_path: Path) -> None:
    pixels = np.array([[[9, 9, 9, 0], [9, 9, 9, 255]]], np.uint8)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    Image.fromarray(pixels[..., 2:], "LA").save(tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        found = read_photograph(tmp_path / name)
        assert found.tolist() == [[[255, 255, 255], [9, 9, 9]]]


def test_cmyk_and_palettes_become_rgb(tmp_path: Path) -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    red.convert("CMYK").save(tmp_path / "a.jpg")
    red.convert("P").save(tmp_path / "b.gif")
    for name in ("a.jpg", "b.gif"):
        red_, green, blue = read_photograph(tmp_path / name)[4, 4].tolist()
        assert red_ > 240
        assert max(green, blue) < 20


def test_damaged_files_are_named(tmp_path: Path) -> None:
    Image.fromarray(noise(0, 200, 200)).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    for content in (b"", b"no picture", whole[: len(whole) // 2]):
        (tmp_path / "b.jpg").write_bytes(content)
        with pytest.raises(PhotographError, match=r"b.jpg: not readable.*--skip-damaged"):
            read_photograph(tmp_path / "b.jpg")


def test_a_picture_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(noise(0)).save(tmp_path / "a.png")
    for limit in (1000, 100):  # Pillow warns of the first and raises at the second
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(PhotographError, match="too many pixels"):
            read_photograph(tmp_path / "a.png")


def test_photographs_of_a_folder_come_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    assert [path.name for path in photographs_in(tmp_path)] == ["a.png", "b.JPG"]
    with pytest.raises(InputError, match="no photographs here"):
        photographs_in(tmp_path / "below")
    with pytest.raises(InputError, match="no such folder"):
        photographs_in(tmp_path / "nowhere")
    caplog.clear()
    (tmp_path / "below" / "IMG_1.HEIC").touch()
    with pytest.raises(InputError, match=r"found 1 such as IMG_1\.HEIC: a format that is not read"):
        photographs_in(tmp_path / "below")
    (tmp_path / "below" / "a.jpg").touch()
    assert [path.name for path in photographs_in(tmp_path / "below")] == ["a.jpg"]
    assert "left out: 1 such as IMG_1.HEIC: a format that is not read" in caplog.text
    for name in ("2023/c.jpg", "2024/d.PNG", "2023/trip/f.jpg", "2023/a.txt", ".thumbs/e.jpg"):
        (tmp_path / "below" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "below" / name).touch()
    assert [path.name for path in photographs_in(tmp_path / "below")] == ["a.jpg"]
    assert "left out: at least 2 photographs in subfolders such as 2023/c.jpg" in caplog.text
    (tmp_path / "below" / "a.jpg").unlink()
    with pytest.raises(InputError, match="at least 2 photographs in .* such as .* that holds"):
        photographs_in(tmp_path / "below")
    (tmp_path / "line\nbreak.png").touch()
    with pytest.raises(InputError, match="a name that cannot be an id"):
        photographs_in(tmp_path)


def test_shrinking_keeps_the_mean_and_the_size_asked_for() -> None:
    picture = noise(0, 60, 80)
    small = shrunk(picture, 20, 15)
    assert small.shape == (15, 20, 3)
    np.testing.assert_allclose(small.mean((0, 1)), picture.mean((0, 1)), atol=2)
    assert shrunk(picture, 80, 60) is picture


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (("7", "007", "a/0007.JPG", "COCO_val2014_000000000007.jpg", "b\\07.npy"), "7"),
        (("coco_train2014_000000000007.npz", "COCO_train2014_000000000007.jpg.npz"), "7"),
        (("flickr30k_000000036979.npz", "36979.jpg"), "36979"),
        (("000.jpg", "0"), "0"),
        (("1000268201_693b08cb0e.jpg",), "1000268201_693b08cb0e"),
        (("07_a.jpg",), "07_a"),
        (("v1.5.jpg",), "v1.5"),
        (("٧.jpg",), "٧"),  # digits of another script are a name
    ],
)
def test_names_of_digits_are_numbers(names: tuple[str, ...], key: str) -> None:
    assert {image_key(name) for name in names} == {key}
    assert image_key(key) == key


@pytest.mark.parametrize(
    "name",
    [".jpg" * 50_000, f"{'0' * 200_000}x", f"coco_a_{'0' * 200_000}x"],
    ids=["endings", "digits", "digits of COCO"],
)
def test_names_of_any_length_have_a_key(name: str) -> None:
    """Endings and digits of a name are looked for in a time that grows with its square."""
    assert image_key(f"a/{name}") == name


@pytest.mark.parametrize("ending", [*ENDINGS, ".TIF", ".JPG"])
def test_every_ending_is_a_photograph_everywhere(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"airport_1{ending}"
    Image.fromarray(noise(0)).save(path)
    assert photographs_in(tmp_path) == [path]
    assert find_photograph(tmp_path, "airport_1") == path
    assert image_key(path.name) == "airport_1"


@pytest.mark.parametrize("ending", UNREAD)
def test_a_folder_with_formats_that_are_not_read_names_one(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"IMG_7{ending.upper()}").touch()
    with pytest.raises(InputError, match=rf"found 1 such as IMG_7\{ending.upper()}: a format"):
        photographs_in(tmp_path)


def test_an_accent_is_one_character_or_two(tmp_path: Path) -> None:
    one, two = (unicodedata.normalize(form, "Café.jpg") for form in ("NFC", "NFD"))
    assert one != two
    assert image_key(one) == image_key(two) == "Café"
    Image.fromarray(noise(0)).save(tmp_path / two)
    assert find_photograph(tmp_path, one) == tmp_path / two


def test_a_photograph_is_found_by_its_number(tmp_path: Path) -> None:
    assert find_photograph(tmp_path / "nowhere", "7") is None
    first = tmp_path / "COCO_val2014_000000000007.jpg"
    Image.fromarray(noise(0)).save(first)
    assert find_photograph(tmp_path, "7") == first
    assert find_photograph(tmp_path, "8") is None
    (tmp_path / "8.txt").touch()
    assert find_photograph(tmp_path, "8") is None
    second = tmp_path / "007.png"
    Image.fromarray(noise(1)).save(second)
    assert find_photograph(tmp_path, "007") == second  # its own name comes first
    with pytest.raises(InputError, match=r"share the key '7'; found 007.png and COCO_val2014_"):
        find_photograph(tmp_path, "7")


def test_a_folder_in_the_id_is_one_below(tmp_path: Path) -> None:
    for name in ("COCO_val2014_000000000007.jpg", "a/1.jpg", "b/COCO_val2014_000000000007.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(noise(0)).save(tmp_path / name)
    assert find_photograph(tmp_path, "a/1") == tmp_path / "a" / "1.jpg"
    numbered = "COCO_val2014_000000000007"
    assert find_photograph(tmp_path, f"b/{numbered}") == tmp_path / "b" / f"{numbered}.jpg"
    assert find_photograph(tmp_path, f"a/{numbered}") is None


def test_a_flat_folder_is_taken_where_that_of_the_id_is_not_there(tmp_path: Path) -> None:
    pictures, numbered = tmp_path / "pictures", "COCO_val2014_000000000007"
    pictures.mkdir()
    Image.fromarray(noise(0)).save(pictures / f"{numbered}.jpg")
    ids = tmp_path / "test_ids.txt"
    ids.write_text(f"val2014/{numbered}\n" * 5)
    assert find_photograph(pictures, f"val2014/{numbered}") == pictures / f"{numbered}.jpg"
    assert find_photograph(pictures, "val2014/8") is None
    assert find_photograph(pictures, f"val2014\\{numbered}") == pictures / f"{numbered}.jpg"
    (pictures / "val2014").mkdir()
    assert find_photograph(pictures, f"val2014/{numbered}") is None


def test_two_images_never_have_one_photograph(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(noise(0)).save(pictures / "1.jpg")
    (tmp_path / "train_ids.txt").write_text("a/1\nc/1_x\n")
    (tmp_path / "test_ids.txt").write_text("b/1\n")
    for image, other in (("a/1", "b/1"), ("b/1", "a/1")):
        with pytest.raises(
            InputError, match=rf"1\.jpg: two images would .*found {image} and {other}"
        ):
            find_photograph(pictures, image)
    numbered = [f"COCO_{part}2014_000000000007" for part in ("train", "val")]
    Image.fromarray(noise(0)).save(pictures / f"{numbered[1]}.jpg")
    for ids in (["a\\1", "b\\1"], numbered):
        (tmp_path / "dev_ids.txt").write_text("\n".join(ids) + "\n")
        with pytest.raises(InputError, match="two images would have one photograph"):
            find_photograph(pictures, ids[0])
    assert find_photograph(pictures, numbered[1]) == pictures / f"{numbered[1]}.jpg"
    (tmp_path / "dev_ids.txt").unlink()
    (pictures / "b").mkdir()  # where its photographs are looked for
    assert find_photograph(pictures, "a/1") == pictures / "1.jpg"
    assert find_photograph(pictures, "b/1") is None
    (tmp_path / "test_ids.txt").write_text("1\n")  # it has the photograph by its name
    assert find_photograph(pictures, "1") == pictures / "1.jpg"
    with pytest.raises(InputError, match="found a/1 and 1"):
        find_photograph(pictures, "a/1")


def test_files_of_their_own_names_are_two_photographs_of_one_number(tmp_path: Path) -> None:
    pictures, names = (
        tmp_path / "pictures",
        [f"COCO_{s}2014_000000000007" for s in ("train", "val")],
    )
    pictures.mkdir()
    ids = [f"{name.split('_')[1]}/{name}" for name in names]
    (tmp_path / "test_ids.txt").write_text("\n".join(ids) + "\n")
    for name in names:
        Image.fromarray(noise(0)).save(pictures / f"{name}.jpg")
    for image, name in zip(ids, names, strict=True):
        assert find_photograph(pictures, image) == pictures / f"{name}.jpg"
