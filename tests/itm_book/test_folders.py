"""Folders that appear completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from itm_book.folders import reserve, swap, whole_folder
from itm_core.errors import InputError
from tests.rights import closed


def test_reserving_makes_a_sized_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "sized"
    with path.open("wb") as file:
        file.truncate(1_000_000)
    reserve(path)
    assert path.stat().st_blocks * 512 >= 1_000_000


def test_a_swap_puts_the_new_folder_in_place(tmp_path: Path) -> None:
    for name in ("new", "place"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    swap(tmp_path / "new", tmp_path / "place")
    assert (tmp_path / "place" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o077, 0o700), (0o002, 0o775)])
def test_a_whole_folder_has_the_mode_of_any_new_folder(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        with whole_folder(tmp_path / "new" / "folder") as partial:
            (partial / "file").touch()
            assert not (tmp_path / "new" / "folder").exists()
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "folder").stat().st_mode & 0o777 == mode
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["folder"]
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["file"]


def test_a_whole_folder_in_a_place_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir()
    with (
        closed(tmp_path / "shut"),
        pytest.raises(InputError, match="shut: may not be written"),
        whole_folder(tmp_path / "shut" / "folder"),
    ):
        pass
    assert not list((tmp_path / "shut").iterdir())
