"""Whole files, or none."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from itm_core import files
from itm_core.errors import InputError
from itm_core.files import locked, make_folder, put, read_csv, whole_file
from itm_core.json_files import read_json, write_json
from tests.rights import closed


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


@pytest.mark.parametrize("content", [b"", b"a,b\n1\n2,3,4\n", b'a\n"open', b"a\n\xff", b"a\nx"])
def test_a_broken_table_names_the_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.csv: not readable as CSV; found .+"):
        read_csv(path, dtype={"a": int})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        read_json(tmp_path / "absent.json")


def test_a_folder_is_no_file_and_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path / "folder", "folder: not a file; found a folder, not a file"),
        (tmp_path / "file" / "below.json", r"below\.json: a file in the place of a folder"),
    ):
        with pytest.raises(InputError, match=message):
            read_json(path)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_whole_file_has_the_mode_of_any_new_file(tmp_path: Path, umask: int, mode: int) -> None:
    path, before = tmp_path / "numbers", os.umask(umask)
    try:
        with whole_file(path) as partial:  # as a library does that makes a file of its own
            partial.unlink(missing_ok=True)
            os.close(os.open(partial, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_a_file_that_may_not_be_read_is_not_called_missing(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    write_json(path, {"a": 1})
    with closed(path), pytest.raises(InputError, match=r"numbers\.json: may not be read.*chmod"):
        read_json(path)
    assert read_json(path) == {"a": 1}


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    for write in (lambda: write_json(folder / "a.json", {}), lambda: make_folder(folder / "b")):
        with closed(folder), pytest.raises(InputError, match="closed.*: may not be written"):
            write()
    assert not list(folder.iterdir())


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="not a folder"):
            make_folder(folder)


def test_a_lock_that_is_held_is_refused_or_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".lock"
    with locked(path):
        with (
            pytest.raises(InputError, match=r"new: in use\. Remedy: wait"),
            locked(path, "in use", "wait"),
        ):
            pass
        with (
            pytest.raises(InputError, match="^set: in use$"),
            locked(path, "in use", file=Path("set")),
        ):
            pass
    with locked(path, "in use"):
        pass


# --- what killed processes leave -----------------------------------------------------------------


def ended_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("owner", "age", "stays"),
    [
        ("{here}-{ended}", 0, False),
        ("{here}-{alive}", 0, True),
        ("{here}-{alive}", 2, False),  # the number belongs to another process now
        ("elsewhere-{ended}", 0, True),
        ("elsewhere-{ended}", 2, False),
        ("{ended}", 0, True),  # without a machine, as they were named before
        ("{ended}", 2, False),
        ("mine", 2, True),
    ],
)
@pytest.mark.parametrize("folder", [False, True])
def test_partial_files_of_killed_processes_are_removed_by_the_next_that_writes(
    tmp_path: Path, owner: str, age: float, stays: bool, folder: bool
) -> None:
    numbers = {"here": files._machine(), "ended": ended_process(), "alive": os.getppid()}
    left = tmp_path / f".numbers.json.{owner.format(**numbers)}.partial"
    other = tmp_path / f".other.json.{owner.format(**numbers)}.partial"
    for path in (left, other):
        if folder:
            (path / "below").mkdir(parents=True)
        else:
            path.touch()
        os.utime(path, (time.time() - age * 24 * 3600,) * 2)
    write_json(tmp_path / "numbers.json", {})
    assert left.exists() == stays
    assert other.exists()


def test_a_folder_is_listed_once_for_all_files_that_are_written_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, listing = [], Path.iterdir

    def counted(folder: Path) -> Iterator[Path]:
        listed.append(folder)
        return listing(folder)

    monkeypatch.setattr(Path, "iterdir", counted)
    for number in range(3):
        write_json(tmp_path / f"{number}.json", {})
    assert listed == [tmp_path]


class Disk:
    """Notes what is written, synced and renamed; `after_a_power_cut` has what is on the disk then.

    Only synced content survives, under the names that the synced folder has.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.synced: dict[int, bytes] = {}  # by number of the file
        self.names: dict[str, int] = {}  # of the folder on the disk
        self.calls: list[str] = []
        self.cuts: list[dict[str, bytes]] = []
        sync, replace = os.fsync, Path.replace

        def fsync(file: int) -> None:
            sync(file)
            status = os.fstat(file)
            if stat.S_ISDIR(status.st_mode):
                self.calls.append("sync folder")
                self.names = {p.name: p.stat().st_ino for p in folder.iterdir()}
            else:
                self.calls.append("sync file")
                self.synced[status.st_ino] = os.pread(file, status.st_size, 0)
            self.cut()

        def renamed(path: Path, target: Path) -> Path:
            self.calls.append("rename")
            self.cut()
            result = replace(path, target)
            # a file system may write the new name at once, and the content late
            self.names[target.name] = target.stat().st_ino
            self.cut()
            return result

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "replace", renamed)

    def cut(self) -> None:
        """Note what would be there after a power cut at this moment."""
        self.cuts.append({n: self.synced.get(file, b"") for n, file in self.names.items()})


def test_a_power_cut_leaves_the_old_content_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, tmp_path)
    path = tmp_path / "numbers.json"
    write_json(path, {"old": 1})
    old = path.read_bytes()
    disk.calls.clear()
    disk.cuts.clear()
    write_json(path, {"new": 2})
    assert disk.calls == ["sync file", "rename", "sync folder"]
    assert {cut["numbers.json"] for cut in disk.cuts} == {old, path.read_bytes()}
    assert disk.cuts[-1]["numbers.json"] == path.read_bytes()


def test_the_files_of_a_folder_are_on_the_disk_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new"
    (new / "below").mkdir(parents=True)
    (new / "below" / "file").write_text("content")
    (new / "link").symlink_to("nowhere")
    disk = Disk(monkeypatch, tmp_path)
    put(new, tmp_path / "whole")
    file = (tmp_path / "whole" / "below" / "file").stat().st_ino
    assert disk.calls.index("rename") > disk.calls.index("sync file")
    assert disk.synced[file] == b"content"
    many = tmp_path / "many"
    many.mkdir()
    for k in range(files.MANY_FILES + 1):
        (many / str(k)).touch()
    disk.calls.clear()
    monkeypatch.setattr(os, "sync", lambda: disk.calls.append("sync all"))
    put(many, tmp_path / "all")
    assert disk.calls == ["sync all", "rename", "sync folder"]


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_is_neither_read_nor_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "ids.json"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"ids\.json: not a file; found a pipe, a socket or a dev"):
        read_json(path)
    with pytest.raises(InputError, match=r"ids\.json: not a file"):
        write_json(path, {})
    assert [*tmp_path.iterdir()] == [path]
    assert not path.is_file()
