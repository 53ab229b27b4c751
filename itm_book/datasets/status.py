"""Status of a dataset's files: present, missing or corrupt; and downloading what is needed.

A dataset's folder has a file ``hashes.json`` with the size and the SHA-256 of each of its files,
written when a file is first verified, and compared afterwards. An archive counts as present when
the files unpacked from it are; the archive itself may be removed.

Page: "The data".
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
from tqdm import tqdm

from itm_book.datasets.archives import unpack
from itm_book.datasets.download import ARRIVING, DownloadError, RetryPolicy, fetch, is_complete
from itm_book.datasets.registry import RECORD, FileEntry, SetEntry, is_member
from itm_book.folders import amount, require_space
from itm_core.errors import InputError
from itm_core.files import locked
from itm_core.json_files import read_json, write_json

log = logging.getLogger(__name__)
PRESENT, MISSING, CORRUPT = "present", "missing", "corrupt"
LARGE = 10**9  # bytes that take seconds to read
HASH = re.compile(r"[0-9a-f]{64}")
REPLACED = "; if you replaced it on purpose, remove hashes.json"


@dataclass(frozen=True)
class FileStatus:
    """State of one file (`PRESENT`, `MISSING` or `CORRUPT`) and a detail for display."""

    file: FileEntry
    state: str
    detail: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing needs to be done: the file is present, or missing and optional."""
        return self.state == PRESENT or (self.state == MISSING and self.file.optional)

    def line(self) -> str:
        """Return the status as one line of text."""
        state = "optional" if self.state == MISSING and self.file.optional else self.state
        return f"{state:9}{self.file.name}: {self.detail or self.file.what}"


class DatasetStatus:
    """Compares the folder of a dataset with the registry and with its recorded hashes.

    ``quick`` compares sizes only for files that are recorded already.

    Raises `InputError` for a record that cannot be read.
    """

    def __init__(self, entry: SetEntry, data: Path, *, quick: bool = False) -> None:
        self.entry, self.folder, self.quick = entry, data / entry.name, quick
        self.path = self.folder / RECORD
        recorded = read_json(self.path) if self.path.exists() else {}
        self.record: dict[str, Any] = {"files": {}, "unpacked": {}} | recorded
        if not _is_record(self.record):
            remedy = "remove it; the present files are then recorded as they are"
            raise InputError("not a record of files", file=self.path, remedy=remedy)
        self._problems: dict[tuple[str, int, int], str] = {}

    def all_files(self) -> list[FileStatus]:
        """Return the status of each file of the dataset; intact files are recorded."""
        return [self.of(file) for file in self.entry.files]

    def of(self, file: FileEntry) -> FileStatus:
        """Return the status of one file."""
        unpacked = self.record["unpacked"].get(file.name)
        if unpacked is not None:
            return self._unpacked_status(file, unpacked)
        path = self.folder / file.name
        if not path.is_file():
            part = self.folder / ARRIVING / f"{file.name}.part"
            received = f"{amount(part.stat().st_size)} downloaded so far" if part.exists() else ""
            return FileStatus(file, MISSING, received)
        problem = self.problem(file)
        if problem:
            return FileStatus(file, CORRUPT, problem)
        if file.unpack:
            return FileStatus(file, MISSING, "the archive is present, but not unpacked")
        sha256 = self._recorded_hash(file)[:12]
        return FileStatus(file, PRESENT, f"{amount(path.stat().st_size)}, {sha256}…")

    def expected_hash(self, file: FileEntry) -> str | None:
        """Return the hash of a file: the listed SHA-256, else the recorded one, else the MD5."""
        recorded = self._recorded_hash(file)
        return f"sha256:{recorded}" if recorded and not file.sha256 else file.known_hash

    def accept(self, file: FileEntry) -> None:
        """Verify, record and unpack a present file; raises `InputError` when it is corrupt."""
        path = self.folder / file.name
        problem = self.problem(file)
        if problem:
            raise InputError(problem, file=path, remedy="remove it and run the command again")
        if file.unpack:
            log.info("unpacking %s", path)
            written = unpack(path, self.folder, file.unpack)
            self.record["unpacked"][file.name] = {
                name: {"size": member.size, "sha256": member.sha256}
                for name, member in written.items()
            }
            write_json(self.path, self.record)

    def problem(self, file: FileEntry) -> str:
        """Return what is wrong with a present file; empty when it is intact and recorded."""
        stat = (self.folder / file.name).stat()
        key = (file.name, stat.st_size, stat.st_mtime_ns)
        if key not in self._problems:  # gigabytes are read once
            self._problems[key] = self._verify(file, self.folder / file.name)
        return self._problems[key]

    def _recorded_hash(self, file: FileEntry) -> str:
        return str(self.record["files"].get(file.name, {}).get("sha256", ""))

    def _verify(self, file: FileEntry, path: Path) -> str:
        size, recorded = path.stat().st_size, self.record["files"].get(file.name)
        expected_size = file.size or (recorded and recorded["size"])
        if expected_size and size != expected_size:
            hint = "" if file.size else REPLACED
            return f"has {size} bytes instead of {expected_size}{hint}"
        if recorded and self.quick:
            return ""
        if size > LARGE:
            log.info("checking %s, %s", path, amount(size))
        algorithm, digits = (self.expected_hash(file) or "sha256:").split(":")
        sha256 = pooch.file_hash(str(path))
        digest = sha256 if algorithm == "sha256" else pooch.file_hash(str(path), algorithm)
        if digits and digest != digits:
            return "its content differs from the expected hash" + (
                "" if file.known_hash else REPLACED
            )
        if not digits and not is_complete(path):
            return "is truncated, or not a file of this type"
        if recorded != {"size": size, "sha256": sha256}:
            self.record["files"][file.name] = {"size": size, "sha256": sha256}
            write_json(self.path, self.record)
        return ""

    def _unpacked_status(
        self, file: FileEntry, unpacked: Mapping[str, Mapping[str, Any]]
    ) -> FileStatus:
        problems = []
        bar = tqdm(unpacked.items(), file.name, unit="files", disable=None, leave=False)
        for name, recorded in bar:
            path = self.folder / name
            if not path.is_file():
                problems.append(f"{name} is missing")
            elif path.stat().st_size != recorded["size"] or (
                not self.quick and pooch.file_hash(str(path)) != recorded["sha256"]
            ):
                problems.append(f"{name} has changed")
        if problems:
            detail = f"{len(problems)} of {len(unpacked)}: {problems[0]}, ..."
            return FileStatus(file, CORRUPT, detail)
        total = amount(sum(recorded["size"] for recorded in unpacked.values()))
        return FileStatus(file, PRESENT, f"unpacked, {len(unpacked)} files, {total}")


def _is_record(record: Mapping[str, Any]) -> bool:
    """Return whether files and unpacked files have sizes and hashes, and are in their folder."""
    files, unpacked = record["files"], record["unpacked"]
    if not all(isinstance(part, dict) for part in (files, unpacked, *_values(unpacked))):
        return False
    members = [(name, note) for part in _values(unpacked) for name, note in part.items()]
    return all(
        isinstance(note, dict)
        and type(note.get("size")) is int
        and isinstance(note.get("sha256"), str)
        and HASH.fullmatch(note["sha256"])
        and is_member(name)
        for name, note in [*files.items(), *members]
    )


def _values(part: object) -> list[Any]:
    return list(part.values()) if isinstance(part, dict) else []


def get(
    entry: SetEntry,
    names: Collection[str] = (),
    *,
    data: Path = Path("data"),
    retry: RetryPolicy | None = None,
) -> list[FileStatus]:
    """Return the status of the files after downloading those that were missing or corrupt.

    Without ``names`` all but the optional files are downloaded. A file that no source provides is
    returned as missing; the others are downloaded nevertheless. Raises `InputError` for an unknown
    name, too little disk space, an unsafe archive, or another process that downloads into the
    folder.
    """
    files = entry.chosen(names) if names else [file for file in entry.files if not file.optional]
    folder = data / entry.name
    lock, busy = folder / ARRIVING / "lock", "another process downloads this dataset"
    with locked(lock, busy, "wait until it has ended", file=folder):
        status = DatasetStatus(entry, data)
        by_name = {file.name: status.of(file) for file in files}
        incomplete = [file for file in files if by_name[file.name].state != PRESENT]
        downloads = [file for file in incomplete if file.sources and not _archive(status, file)]
        _announce(entry, downloads, status.folder)
        for file in incomplete:
            by_name[file.name] = _complete(status, file, by_name[file.name], retry)
    return list(by_name.values())


def _complete(
    status: DatasetStatus, file: FileEntry, before: FileStatus, retry: RetryPolicy | None
) -> FileStatus:
    """Return the status of a file after downloading and unpacking it where needed."""
    if not _archive(status, file):
        if not file.sources:
            return before
        try:
            fetch(file, status.folder, expected_hash=status.expected_hash(file), retry=retry)
        except DownloadError as error:
            return FileStatus(file, before.state, str(error))
    status.accept(file)
    return status.of(file)


def _archive(status: DatasetStatus, file: FileEntry) -> bool:
    """Return whether a file is an intact archive, which only needs to be unpacked."""
    present = (status.folder / file.name).is_file()
    return file.unpack is not None and present and not status.problem(file)


def _announce(entry: SetEntry, files: Collection[FileEntry], folder: Path) -> None:
    """Log what will be downloaded and unpacked; raises `InputError` when there is no space."""
    if not files:
        return
    parts = (folder / ARRIVING / f"{file.name}.part" for file in files)
    received = sum(part.stat().st_size for part in parts if part.exists())
    needed = max(0, sum(file.size or file.about or 0 for file in files) - received)
    unpacked = sum(file.unpack.most for file in files if file.unpack)
    unknown = sum(not (file.size or file.about) for file in files)
    more = f", and {unknown} of unknown size" if unknown else ""
    log.info("%s: %s", entry.title, entry.terms)
    free = amount(shutil.disk_usage(folder).free)
    log.info("to download: %s%s; unpacked at most %s", amount(needed), more, amount(unpacked))
    log.info("free disk space: %s", free)
    require_space(folder, needed, f"download {entry.name}")


def next_command(entry: SetEntry, statuses: Collection[FileStatus]) -> str:
    """Return the next command, or how to get manually the files that have no source."""
    incomplete = [status.file for status in statuses if not status.complete]
    if not incomplete:
        return entry.then
    if any(file.sources for file in incomplete):
        return f"itm data get {entry.name}"
    return entry.by_hand.strip()
