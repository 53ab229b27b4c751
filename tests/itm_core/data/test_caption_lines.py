"""Captions of the layout come without names, ids or numbers before them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from itm_core.data.caption_lines import LONGEST_CAPTION, read_lines
from itm_core.errors import InputError

CAPTIONS = ("A dog .", "A sign says cat.jpg , in red .", "Two men .", "3 boats .")


def lines(folder: Path, form: str) -> Path:
    """Write the captions, each in a form with the number of its image."""
    path = folder / "dev_caps.txt"
    path.write_text("".join(form.format(i=i, c=c) + "\n" for i, c in enumerate(CAPTIONS)))
    return path


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("{i}.jpg,{c}", "row 1: a file name before.*found 0.jpg,A dog .*without the names"),
        ("10{i}.jpg#0 {c}", "row 1: a file name before"),
        ("10{i}.jpg#zhb#0 {c}", "row 1: a file name before"),
        ("{i}.jpg| 0| {c}", "row 1: a file name before"),
        ("my photos/{i}.JPG\t{c}", "row 1: a file name before.*cut -f 2-"),
        ("{i}.jpg\t0\t{c}", "row 1: a file name before.*cut -f 3-"),
        ("{i}\t{c}", "row 1: an id or a number before.*cut -f 2-"),
        ("10{i}_693b08cb0e\t{c}", "row 1: an id or a number before"),
        ("{i}.jpg#0 | {c}", "row 1: a file name before"),
    ],
)
def test_a_column_before_the_captions_is_refused(tmp_path: Path, form: str, message: str) -> None:
    with pytest.raises(InputError, match=f"dev_caps.txt, {message}"):
        read_lines(lines(tmp_path, form))


def test_a_caption_may_name_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_lines(lines(tmp_path, "{c}")) == list(CAPTIONS)
    assert not caplog.records


@pytest.mark.parametrize(
    "caption",
    [
        "DSC_0012.JPG | Flickr - Photo Sharing",
        "cat.png | photo viewer",
        "The .gif | funny",
        "image.png#1 on it",
        "A window with cat.jpg\tin its title",
    ],
)
def test_one_unusual_caption_is_no_column(tmp_path: Path, caption: str) -> None:
    path = lines(tmp_path, "{c}")
    path.write_text(f"{path.read_text()}{caption}\n")
    assert read_lines(path) == [*CAPTIONS, caption]


@pytest.mark.parametrize("name", ["1.jpg", "1.JPG#4"])
def test_one_name_before_a_tab_is_a_column(tmp_path: Path, name: str) -> None:
    path = lines(tmp_path, "{c}")
    path.write_text(f"{path.read_text()}{name}\tA dog .\n")
    with pytest.raises(InputError, match=r"dev_caps.txt, row 5: a file name before.*cut -f 2-"):
        read_lines(path)


def test_tabs_in_most_lines_are_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_lines(lines(tmp_path, "so\t{c}"))[0] == "so\tA dog ."
    assert "dev_caps.txt: most lines have a tab" in caplog.text


def test_a_file_in_one_line_is_refused_at_once(tmp_path: Path) -> None:
    """The time of tokens grows with the square of the length of a text: this one takes hours."""
    path = tmp_path / "dev_caps.txt"
    path.write_text("a dog runs . " * 80_000)
    with pytest.raises(InputError, match=r"row 1: a caption is too long.*found 1040000 characters"):
        read_lines(path)


def test_long_words_are_words(tmp_path: Path) -> None:
    path = tmp_path / "dev_caps.txt"
    path.write_text("/".join(["2019"] * 1000) + "\n")
    assert len(read_lines(path)[0]) > 20 * LONGEST_CAPTION
