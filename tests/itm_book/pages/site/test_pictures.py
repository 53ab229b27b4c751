"""Pictures of the site: small, described by their size, and loaded when they are seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itm_book.pages.site.pictures import EXACT, shrink_pictures, with_pictures


def site_with(tmp_path: Path, pixels: np.ndarray, name: str = "a.png") -> Path:
    (tmp_path / "_images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "_images" / name)
    return tmp_path


def test_a_chart_becomes_an_exact_smaller_picture(tmp_path: Path) -> None:
    pixels = np.full((200, 300, 3), 250)
    pixels[50:150, ::7] = (0, 114, 178)
    site = site_with(tmp_path, pixels)
    before = (site / "_images" / "a.png").stat().st_size
    assert shrink_pictures(site) == {"_images/a.webp": (300, 200)}
    assert [path.name for path in (site / "_images").iterdir()] == ["a.webp"]
    with Image.open(site / "_images" / "a.webp") as shown:
        np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), pixels)
    assert (site / "_images" / "a.webp").stat().st_size < before


def test_a_large_picture_loses_what_is_not_seen(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal(128, 20, (300, 400, 3)).clip(0, 255)
    site = site_with(tmp_path, pixels)
    before = (site / "_images" / "a.png").stat().st_size
    shrink_pictures(site)
    after = site / "_images" / "a.webp"
    assert before > EXACT
    assert after.stat().st_size < before / 2
    with Image.open(after) as shown:
        error = np.abs(np.asarray(shown.convert("RGB"), float) - pixels.astype(np.uint8)).mean()
    assert error < 16


def test_transparency_and_other_kinds_are_kept(tmp_path: Path) -> None:
    pixels = np.zeros((10, 20, 4))
    pixels[:, :10] = (255, 0, 0, 255)
    site = site_with(tmp_path, pixels)
    (site / "_images" / "drawing.svg").write_text("<svg/>")
    Image.new("RGB", (8, 4)).save(site / "_images" / "photo.jpg")
    assert shrink_pictures(site) == {"_images/a.webp": (20, 10), "_images/photo.jpg": (8, 4)}
    with Image.open(site / "_images" / "a.webp") as shown:
        assert shown.convert("RGBA").getpixel((15, 5))[3] == 0
    assert (site / "_images" / "drawing.svg").exists()


def test_a_site_without_pictures_has_none(tmp_path: Path) -> None:
    assert shrink_pictures(tmp_path) == {}


@pytest.mark.parametrize(
    ("tag", "shown"),
    [
        (
            '<img alt="x" src="../_images/a.png" />',
            '<img alt="x" src="../_images/a.webp" loading="lazy" decoding="async" '
            'width="30" height="20" />',
        ),
        (
            '<img src="../_images/a.png" style="width: 3em">',
            '<img src="../_images/a.webp" style="width: 3em" loading="lazy" decoding="async" />',
        ),
        (
            '<img src="../_images/b.svg">',
            '<img src="../_images/b.svg" loading="lazy" decoding="async" />',
        ),
        ('<img src="../_static/logo.svg">', '<img src="../_static/logo.svg">'),
        ('<img src="data:image/png;base64,AA==">', '<img src="data:image/png;base64,AA==">'),
    ],
)
def test_a_picture_of_a_page_waits_until_it_is_seen(tag: str, shown: str) -> None:
    assert with_pictures(f"<p>{tag}</p>", {"_images/a.webp": (30, 20)}) == f"<p>{shown}</p>"
