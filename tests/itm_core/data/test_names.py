"""Ids of images and names of splits, which become lines of files and parts of paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from itm_book.datasets.layout_writing import write_texts
from itm_core.data.dataset import load_dataset, load_split
from itm_core.data.names import id_problem
from itm_core.errors import InputError
from tests.micro import write_dataset


@pytest.mark.parametrize(
    "image", ["1", "a_1.JPG", "Züge/größe 2.png", "图片 1", "http://a.b/c?d=#1", "a..b", "C:d", "…"]
)
def test_names_of_every_script_and_subfolders_are_ids(image: str) -> None:
    assert id_problem(image) is None


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ("", "it is empty"),
        ("1 ", "a space at an end"),
        ("a\nb", "control character"),
        ("a\x1b[31m", "control character"),
        ("a\u2028b", "control character"),
        ("\udcff.jpg", "control character"),
        ("../1", "leads out"),
        ("a/../../1", "leads out"),
        ("a\\..\\1", "leads out"),
        ("..", "leads out"),
        ("/etc/passwd", "leads out"),
        ("C:\\1.jpg", "leads out"),
        ("a/" + 256 * "x", "longer than the name of a file"),
        (86 * "图", "longer than the name of a file"),  # three bytes each
    ],
)
def test_what_breaks_a_line_or_leaves_the_folder_is_no_id(image: str, problem: str) -> None:
    assert problem in (id_problem(image) or "")


@pytest.mark.parametrize("image", ["../secret", "/etc/passwd", "a\x07b", "a\u2029b"])
def test_a_dataset_with_such_an_id_is_refused_with_its_row(tmp_path: Path, image: str) -> None:
    folder = write_dataset(tmp_path / "micro")
    path = folder / "dev_ids.txt"
    ids = path.read_text().splitlines()
    path.write_text("\n".join([*ids[:15], *[image] * 5, *ids[20:]]) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"dev_ids\.txt, row 16: not an id of an image: a "):
        load_dataset(folder)


def test_such_an_id_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="test_ids.txt, row 2: .* line break"):
        write_texts(tmp_path, "test", ["a", "b\nc"], None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "../micro/test", "test/", "test ", "te\nst", "-x"])
def test_a_split_is_named_without_a_path(tmp_path: Path, name: str) -> None:
    folder = write_dataset(tmp_path / "micro")
    with pytest.raises(InputError, match="not the name of a split"):
        load_split(folder, name)
    assert len(load_split(folder, "test").ids) == 12
