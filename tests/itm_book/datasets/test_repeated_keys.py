"""Two images with one key are refused wherever user data is keyed, with both sources named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itm_book.datasets.caption_sources import photographs, read_captioned
from itm_book.datasets.convert import convert
from itm_book.photographs.picture_sources import OWN, of_flickr8k, of_folder
from itm_book.regions.region_boxes import BoxFile
from itm_core.cli import main
from itm_core.data.dataset import load_split
from itm_core.errors import InputError
from tests.itm_book.datasets.test_convert import regions_of, write_tsv
from tests.micro import write_dataset
from tests.photos import noise, write_captions, write_flickr8k, write_photographs


def karpathy(path: Path, files: list[tuple[str, str]]) -> Path:
    images = [
        {"filename": name, "split": split, "sentences": [{"raw": f"{n} {k}"} for k in range(5)]}
        for n, (name, split) in enumerate(files)
    ]
    path.write_text(json.dumps({"images": images}))
    return path


def coco(path: Path, files: list[tuple[int, str]]) -> Path:
    images = [{"id": number, "file_name": name} for number, name in files]
    notes = [{"image_id": n, "caption": f"{name} {k}"} for n, name in files for k in range(5)]
    path.write_text(json.dumps({"images": images, "annotations": notes}))
    return path


@pytest.mark.parametrize("splits", [("train", "train"), ("train", "test")])
@pytest.mark.parametrize("names", [("a/1.jpg", "b/1.jpg"), ("1.jpg", "1.jpg"), ("1.jpg", "1.png")])
def test_karpathy_records_of_one_key(
    tmp_path: Path, names: tuple[str, str], splits: tuple[str, str]
) -> None:
    files = [("0.jpg", "val"), *zip(names, splits, strict=True)]
    message = (
        rf"two images share the key '1'; found images\[1\] {names[0]} and images\[2\] {names[1]}"
    )
    with pytest.raises(InputError, match=message):
        read_captioned(karpathy(tmp_path / "d.json", files))
    kept = read_captioned(karpathy(tmp_path / "d.json", files[:2]))
    assert [(c.image, c.captions[4]) for c in kept] == [("0", "0 4"), ("1", "1 4")]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([(3, "a/1.jpg"), (4, "b/1.jpg")], r"key '1'; found a/1.jpg \(id 3\) and b/1.jpg \(id 4\)"),
        ([(3, "1.jpg"), (3, "2.jpg")], r"by their id\) share the key 3; found 1.jpg and 2.jpg"),
    ],
)
def test_coco_images_of_one_key(tmp_path: Path, files: list[tuple[int, str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_captioned(coco(tmp_path / "d.json", files), "dev")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("b/1.jpg#0\tanother\n", r"key '1'; found a/1.jpg and b/1.jpg"),
        ("a/1.jpg#4\tanother\n", r"two captions share the key 'a/1.jpg#4'; found row 5 and row 6"),
    ],
)
def test_lines_of_a_text_with_one_key(tmp_path: Path, extra: str, message: str) -> None:
    lines = "".join(f"a/1.jpg#{k}\tsays {k}\n" for k in range(5))
    path = tmp_path / "caps.token"
    path.write_text(lines)
    assert [c.image for c in read_captioned(path, "dev")] == ["1"]
    path.write_text(lines + extra)
    with pytest.raises(InputError, match=message):
        read_captioned(path, "dev")


def other_regions(path: Path, name: str) -> Path:
    """A .tsv whose one image has a name, and the regions of image 12."""
    path.write_text(write_tsv(path, [12]).read_text().replace("12\t", f"{name}\t", 1))
    return path


def test_regions_of_two_images_with_one_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captions = tmp_path / "caps.token"
    captions.write_text("".join(f"7.jpg#{k}\tsays {k}\n" for k in range(5)))
    parts = tmp_path / "parts"
    parts.mkdir()
    write_tsv(parts / "a.tsv", [7])
    other_regions(parts / "b.tsv", "7")
    given = ["data", "convert", str(parts), str(tmp_path / "made"), "--captions", str(captions)]
    assert main([*given, "--split", "dev"]) == 2
    printed = capsys.readouterr().err
    assert "two images share the key '7'" in printed
    assert "a.tsv, row 1" in printed
    assert "b.tsv, row 1" in printed
    assert not (tmp_path / "made").exists()

    # the same regions under another name are another image, too
    text = (parts / "a.tsv").read_text()
    (parts / "b.tsv").write_text(text.replace("7\t", "val/7.jpg\t", 1))
    with pytest.raises(InputError, match=r"found 7 in .*a.tsv, row 1 and val/7.jpg in .*b.tsv"):
        convert(parts, tmp_path / "made", captions, split="dev", progress=False)

    # and the same record, computed twice, is one
    (parts / "b.tsv").write_text(text)
    convert(parts, tmp_path / "made", captions, split="dev", progress=False)
    np.testing.assert_array_equal(
        load_split(tmp_path / "made", "dev").regions[0], regions_of(7)["x"]
    )


def test_region_files_of_one_stem(tmp_path: Path) -> None:
    captions, source = tmp_path / "caps.token", tmp_path / "npz"
    captions.write_text("".join(f"7.jpg#{k}\tsays {k}\n" for k in range(5)))
    source.mkdir()
    for name, image in (("7.jpg.npz", 7), ("7.npz", 12)):
        np.savez(source / name, **regions_of(image))
    with pytest.raises(InputError, match=r"key '7'; found 7.jpg.npz in .* and 7.npz in "):
        convert(source, tmp_path / "made", captions, split="dev", progress=False)
    assert not (tmp_path / "made").exists()


def test_photographs_of_one_stem_and_images_of_two_splits(tmp_path: Path) -> None:
    pictures = write_photographs(tmp_path / "photos", 3)
    Image.fromarray(noise(9)).save(pictures / "p1.jpg")
    first = write_captions(tmp_path / "first.token", [0, 2])
    assert len(of_folder(pictures)[0].ids) == 4  # without captions a whole name is the id
    assert of_folder(pictures, {"train": first})[0].ids == ["p0.png", "p2.png"]
    both = write_captions(tmp_path / "both.token", [1, 2])
    with pytest.raises(InputError, match=r"key 'p1'; found .*p1.jpg and .*p1.png"):
        of_folder(pictures, {"train": both})
    message = r"key 'p2'; found one of the train split and one of the test split"
    with pytest.raises(InputError, match=message):
        of_folder(pictures, {"train": first, "test": both})


@pytest.mark.parametrize(("split", "where"), [("train", "train"), ("test", "test")])
def test_a_photograph_listed_twice_in_flickr8k(tmp_path: Path, split: str, where: str) -> None:
    folder = write_flickr8k(tmp_path / "flickr8k")
    with (folder / "text" / f"Flickr_8k.{split}Images.txt").open("a") as file:
        file.write("p0.jpg\n")
    with pytest.raises(InputError, match=f"key 'p0'; found one of the train .* one of the {where}"):
        of_flickr8k(folder)


def test_one_split_captioned_by_two_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = write_photographs(tmp_path / "photos", 2)
    files = [write_captions(tmp_path / f"{k}.token", [k]) for k in range(2)]
    given = ["data", "make", str(pictures), "--backbone", "colour", "--out", str(tmp_path / "out")]
    assert main([*given, *(f"--captions=train={file}" for file in files)]) == 2
    printed = capsys.readouterr().err
    assert "two --captions share the key 'train'" in printed
    assert "0.token" in printed
    assert "1.token" in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("twice", ["files", "photographs"])
def test_boxes_of_one_stem(tmp_path: Path, twice: str) -> None:
    np.savez(tmp_path / "1.npz", boxes=[[0.0, 0, 1, 1]])
    names = ["1.jpg", "1.png"]
    if twice == "files":
        np.savez(tmp_path / "1.jpg.npz", boxes=[[0.0, 0, 2, 2]])
        names.pop()
    message = {"files": r"1.jpg.npz and .*1.npz", "photographs": r"1.jpg of own and 1.png of own"}
    with pytest.raises(InputError, match=rf"key '1'; found .*{message[twice]}"):
        BoxFile(tmp_path, [(OWN, names)])


def first_id_again(ids: list[str]) -> list[str]:
    return [*ids[:-1], ids[0]]


def first_image_again(ids: list[str]) -> list[str]:
    return [*ids[:-5], *ids[:5]]


@pytest.mark.parametrize(
    ("per_image", "change", "message"),
    [
        (True, first_id_again, "key '2000'; found row 1 and row 12"),
        (False, first_image_again, "key '2000'; found row 1 and row 56"),
    ],
)
def test_ids_of_a_split(
    tmp_path: Path, per_image: bool, change: Callable[[list[str]], list[str]], message: str
) -> None:
    folder = write_dataset(tmp_path / "micro")
    path = folder / "test_ids.txt"
    ids = path.read_text().split()[:: 5 if per_image else 1]
    path.write_text("\n".join(ids))
    assert len(load_split(folder, "test").ids) == 12
    path.write_text("\n".join(change(ids)))
    with pytest.raises(InputError, match=rf"test_ids.txt: two images share the {message}"):
        load_split(folder, "test")


def test_names_that_ids_are_mapped_to(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "micro")
    (folder / "id_mapping.json").write_text('{"2000": "a/1.jpg", "2003": "b/1.jpg"}')
    with pytest.raises(InputError, match=r"id_mapping.json: .*'1'; found id 2000 and id 2003"):
        photographs(load_split(folder, "test"))


def test_two_pictures_of_one_id(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "micro")
    pictures = write_photographs(folder / "pictures", 1)
    (pictures / "p0.png").rename(pictures / "2000.png")
    split = load_split(folder, "test")
    found = split.picture(0)
    assert found is not None
    np.testing.assert_array_equal(found, noise(0))
    (folder / "test_ids.txt").rename(folder / "ids.txt")
    (pictures / "2000.png").rename(pictures / "0.png")
    with pytest.raises(InputError, match=r"test_ids.txt: splits whose ids only number their im"):
        load_split(folder, "test").picture(0)
    (pictures / "0.png").rename(pictures / "2000.png")
    shutil.copy(pictures / "2000.png", pictures / "2000.jpg")
    with pytest.raises(InputError, match=r"key '2000'; found 2000.jpg and 2000.png"):
        split.picture(0)
