"""``itm book`` and ``itm grid`` where the package is installed from a wheel, without a clone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from itm_book import shipped
from itm_core.cli import main
from tests.tiny_book import PROJECT

OF_NOTEBOOKS = ("experiment.ipynb", "grids")
OF_DATA = ("published", "results", "registry.toml")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the wheel installs."""
    folder = tmp_path_factory.mktemp("site-packages")
    hidden = shutil.ignore_patterns("__pycache__")
    for package in ("itm_core", "itm_book"):
        shutil.copytree(PROJECT / package, folder / package, ignore=hidden)
    for parent, names in (("notebooks", OF_NOTEBOOKS), ("data", OF_DATA)):
        target = folder / "itm_book" / "shipped_files" / parent
        target.mkdir(parents=True)
        for name in names:
            source = PROJECT / parent / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, target / name)
    return folder


def itm(site: Path, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.path.insert(0, {str(site)!r}); "
    program += "from itm_core.cli import entry; entry()"
    command = [sys.executable, "-P", "-c", program, *words]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(place), "PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)


def test_grids_are_listed_and_checked_without_a_clone(site: Path, tmp_path: Path) -> None:
    listed = itm(site, tmp_path, "grid")
    assert listed.returncode == 0, listed.stderr
    names = sorted(path.stem for path in (PROJECT / "notebooks" / "grids").glob("*.yml"))
    head, *lines = listed.stdout.split("\n\n")[0].splitlines()
    assert head.split() == ["grid", "rows", "title"]
    assert [line.split()[0] for line in lines[::2]] == names
    planned = itm(site, tmp_path, "grid", "scan", "--size", "tiny", "--dry-run", "--device", "cpu")
    assert planned.returncode == 0, planned.stderr
    assert "to run: 14 of 14" in planned.stdout


def test_the_book_needs_a_clone_and_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipped, "CLONE", tmp_path)
    assert main(["book"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the book is built from a clone of the project" in line
    assert "Remedy: clone the repository" in line
