"""Data and runs that belong to somebody else, and a project that has moved."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from itm_core.cli import main
from itm_core.experiments.runs import all_runs
from tests.micro import SMALL, write_dataset
from tests.rights import NOBODY

TRAIN = ["train", "--recipe", "scan-t2i-mean", "--device", "cpu"]
TRAIN += [word for change in SMALL for word in ("--set", change)]


def rights(folder: Path, of_folders: int, of_files: int) -> None:
    """Set the rights of a folder and of everything in it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(of_folders if path.is_dir() else of_files)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_read_only_data_and_runs_are_used_where_they_are(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, store, own = shared / "micro", shared / "runs", shared / "own"
    write_dataset(data)
    train = [*TRAIN, "--dataset", str(data)]
    assert main([*train, "--root", str(store)]) == 0
    (run,) = all_runs(store)
    own.mkdir()
    own.chmod(0o777)
    monkeypatch.chdir(own)
    commands = (
        ["check", str(data)],
        [*train, "--root", str(store)],  # the finished run
        [*train, "--root", "runs"],
        ["score", str(run.folder), str(data), "--out", "scores"],
        ["runs", "--root", str(store)],
    )
    rights(data, 0o555, 0o444)
    rights(store, 0o555, 0o444)
    user = os.geteuid()
    if user == 0:  # whom no rights stop
        os.seteuid(NOBODY)
    try:
        assert [main(command) for command in commands] == [0] * len(commands)
        capsys.readouterr()
        assert main([*train, "--seed", "1", "--root", str(store)]) == 2
        assert "may not be written. Remedy: its owner gives access" in capsys.readouterr().err
    finally:
        os.seteuid(user)
        rights(data, 0o755, 0o644)
        rights(store, 0o755, 0o644)


def test_a_project_that_has_moved_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faiss")
    before, after = tmp_path / "before", tmp_path / "elsewhere" / "after"
    write_dataset(before / "data" / "micro")
    monkeypatch.chdir(before)
    assert main([*TRAIN, "--dataset", "data/micro"]) == 0
    (run,) = all_runs()
    assert main(["index", "data/micro", "gallery", "--run", str(run.folder)]) == 0
    assert main(["search", "gallery", "a red dog"]) == 0
    shown = capsys.readouterr().out.splitlines()[-3:]
    monkeypatch.chdir(tmp_path)
    after.parent.mkdir()
    before.rename(after)
    monkeypatch.chdir(after)
    assert main(["search", "gallery", "a red dog"]) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == shown
    modified = run.folder.joinpath("metrics.json").stat().st_mtime_ns
    assert main([*TRAIN, "--dataset", "data/micro"]) == 0  # loaded, not trained again
    assert run.folder.joinpath("metrics.json").stat().st_mtime_ns == modified
