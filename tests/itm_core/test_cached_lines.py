"""Lines are made once, and anew when a file that they depend on has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from itm_core.cached_lines import cached_lines, modules_of


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)


def test_lines_are_made_again_when_a_source_has_changed(tmp_path: Path) -> None:
    source, made = tmp_path / "source.py", []

    def make() -> list[str]:
        made.append(source.read_text())
        return [f"read {made[-1]}"]

    source.write_text("one")
    for _ in range(2):
        assert cached_lines("x", [source], make, tmp_path) == ["read one"]
    assert made == ["one"]
    source.write_text("other")
    assert cached_lines("x", [source], make, tmp_path) == ["read other"]
    os.utime(source, ns=(1, 1))
    cached_lines("x", [source], make, tmp_path)
    assert made == ["one", "other", "other"]


@pytest.mark.parametrize("damage", ["", "[]", '{"key": 3}', '{"lines": [1]}', "\x00"])
def test_what_was_damaged_is_made_again(tmp_path: Path, damage: str) -> None:
    cached_lines("x", [], lambda: ["right"], tmp_path)
    (tmp_path / "x.lines.json").write_text(damage)
    assert cached_lines("x", [], lambda: ["made again"], tmp_path) == ["made again"]


def test_nothing_is_kept_where_python_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert cached_lines("x", [], lambda: ["right"], file / "folder") == ["right"]
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    assert cached_lines("x", [], lambda: ["right"], tmp_path) == ["right"]
    assert list(tmp_path.iterdir()) == [file]


def test_the_modules_of_a_package_are_its_files() -> None:
    names = {path.name for path in modules_of("itm_core")}
    assert {"cli.py", "methods.py", "__init__.py"} <= names
