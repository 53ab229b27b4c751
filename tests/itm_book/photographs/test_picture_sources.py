"""Photographs of a folder meet their captions under the names that releases use."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from itm_book.photographs.picture_sources import of_folder
from itm_core.errors import InputError
from tests.photos import noise


def photographs(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for k, name in enumerate(names):
        Image.fromarray(noise(k)).save(folder / name)
    return folder


def test_val_is_the_dev_split(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photos", "1.jpg", "2.jpg")
    captions = tmp_path / "captions.csv"
    captions.write_text("image,caption\n1.jpg,A dog\n")
    (source,) = of_folder(folder, {"val": captions})
    assert (source.split, list(source.ids), list(source.unused)) == ("dev", ["1.jpg"], ["2.jpg"])


def test_the_image_that_flickr8k_does_not_have_is_not_missing(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photos", "2258277193_586949ec62.jpg")
    captions = tmp_path / "Flickr8k.token.txt"
    lines = [f"2258277193_586949ec62.jpg{ending}#0\tA dog\n" for ending in ("", ".1")]
    captions.write_text("".join(lines))
    (source,) = of_folder(folder, {"train": captions})
    assert source.captions == [("A dog",)]
    captions.write_text("3.jpg#0\tA dog\n")
    with pytest.raises(InputError, match="captioned photographs are missing.*such as 3"):
        of_folder(folder, {"train": captions})


def test_accents_of_another_system_are_the_same(tmp_path: Path) -> None:
    one, two = (unicodedata.normalize(form, "Café.jpg") for form in ("NFC", "NFD"))
    folder = photographs(tmp_path / "photos", two)
    captions = tmp_path / "captions.csv"
    captions.write_text(f"image,caption\n{one},A cup\n", encoding="utf-8")
    (source,) = of_folder(folder, {"train": captions})
    assert list(source.ids) == [two]
