"""Whole files, or none."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from itm_core.errors import InputError
from itm_core.files import read_json, reserve, swap, whole_file, write_json


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    write_json(path, {"a": 1})
    with pytest.raises(UnicodeEncodeError), whole_file(path) as partial:
        partial.write_text("half \ud800", encoding="utf-8")
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no space left.*MiB free"), whole_file(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_an_error_of_a_library_on_a_full_disk_is_said_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(InputError, match="no space left"), whole_file(tmp_path / "x"):
        raise RuntimeError("write failed")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**30))
    with pytest.raises(RuntimeError, match="write failed"), whole_file(tmp_path / "x"):
        raise RuntimeError("write failed")


def test_reserving_makes_a_sized_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "sized"
    with path.open("wb") as file:
        file.truncate(1_000_000)
    reserve(path)
    assert path.stat().st_blocks * 512 >= 1_000_000


@pytest.mark.parametrize("text", ["{half", "[1]", "\ud800"])
def test_broken_json_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text, errors="surrogatepass")
    with pytest.raises(InputError, match=r"broken\.json"):
        read_json(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        read_json(tmp_path / "absent.json")


def test_a_swap_puts_the_new_folder_in_place(tmp_path: Path) -> None:
    for name in ("new", "place"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    swap(tmp_path / "new", tmp_path / "place")
    assert (tmp_path / "place" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
