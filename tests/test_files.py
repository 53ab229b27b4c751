"""Whole files, or none."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from itm_core.errors import InputError
from itm_core.files import read_json, whole_file, write_json


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


@pytest.mark.parametrize("text", ["{half", "[1]", "\ud800"])
def test_broken_json_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text, errors="surrogatepass")
    with pytest.raises(InputError, match=r"broken\.json"):
        read_json(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        read_json(tmp_path / "absent.json")
