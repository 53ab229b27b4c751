"""What of a set is there, missing or damaged, and how to get the rest.

A folder keeps ``hashes.json``: the size and the SHA-256 of each of its files, written when a file
is first seen whole, and compared ever after. An archive is there when what was unpacked from it is;
the archive itself may be removed.

Page: "The data".
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
from filelock import FileLock, Timeout
from tqdm import tqdm

from itm_book.datasets.archives import unpack
from itm_book.datasets.download import ARRIVING, DownloadError, RetryPolicy, fetch, is_whole
from itm_book.datasets.registry import RECORD, FileEntry, SetEntry
from itm_book.folders import amount, require_space
from itm_core.errors import InputError
from itm_core.files import read_json, write_json

log = logging.getLogger(__name__)
THERE, MISSING, DAMAGED = "there", "missing", "damaged"
LONG = 10**9  # bytes that take seconds to read
MEANT = "; if it was replaced on purpose, remove hashes.json"


@dataclass(frozen=True)
class FileStatus:
    """How a file is: there, missing or damaged; what more is to say."""

    file: FileEntry
    state: str
    detail: str = ""

    @property
    def fine(self) -> bool:
        """Whether nothing needs to be done: it is there, or missing and optional."""
        return self.state == THERE or (self.state == MISSING and self.file.optional)

    def line(self) -> str:
        """Return one line about it."""
        state = "optional" if self.state == MISSING and self.file.optional else self.state
        return f"{state:9}{self.file.name}: {self.detail or self.file.what}"


class DatasetStatus:
    """The folder of a set, and what is recorded of it.

    ``quick`` compares sizes and leaves the hashes of recorded files alone.
    """

    def __init__(self, entry: SetEntry, data: Path, *, quick: bool = False) -> None:
        self.entry, self.folder, self.quick = entry, data / entry.name, quick
        self.path = self.folder / RECORD
        kept = read_json(self.path) if self.path.exists() else {}
        self.record: dict[str, Any] = {"files": {}, "unpacked": {}} | kept
        if not all(isinstance(part, dict) for part in self.record.values()):
            remedy = "remove it; what is there is taken as it is then"
            raise InputError("not a record of files", file=self.path, remedy=remedy)
        self._seen: dict[tuple[str, int, int], str] = {}

    def examine(self) -> list[FileStatus]:
        """Return how each file of the set is; a whole one without a record gets one."""
        return [self.look(file) for file in self.entry.files]

    def look(self, file: FileEntry) -> FileStatus:
        """Return how a file is."""
        unpacked = self.record["unpacked"].get(file.name)
        if unpacked is not None:
            return self._compared(file, unpacked)
        path = self.folder / file.name
        if not path.is_file():
            arrived = self.folder / ARRIVING / f"{file.name}.part"
            so_far = f"{amount(arrived.stat().st_size)} have arrived" if arrived.exists() else ""
            return FileStatus(file, MISSING, so_far)
        wrong = self.wrong_with(file)
        if wrong:
            return FileStatus(file, DAMAGED, wrong)
        if file.unpack:
            return FileStatus(file, MISSING, "the archive is there, but not unpacked")
        return FileStatus(file, THERE, f"{amount(path.stat().st_size)}, {self._kept(file)[:12]}…")

    def known(self, file: FileEntry) -> str | None:
        """Return the hash a file must have: the listed SHA-256, else the recorded, else MD5."""
        kept = self._kept(file)
        return f"sha256:{kept}" if kept and not file.sha256 else file.known_hash

    def take_in(self, file: FileEntry) -> None:
        """Unpack and record a file that is there; raises `InputError` when it is damaged."""
        path = self.folder / file.name
        wrong = self.wrong_with(file)
        if wrong:
            raise InputError(wrong, file=path, remedy="remove it and type the command again")
        if file.unpack:
            log.info("unpacking %s", path)
            written = unpack(path, self.folder, file.unpack)
            self.record["unpacked"][file.name] = {
                name: {"size": one.size, "sha256": one.sha256} for name, one in written.items()
            }
            write_json(self.path, self.record)

    def _kept(self, file: FileEntry) -> str:
        return str(self.record["files"].get(file.name, {}).get("sha256", ""))

    def wrong_with(self, file: FileEntry) -> str:
        """Return what is wrong with a file that is there, or nothing; then it has a record."""
        about = (self.folder / file.name).stat()
        key = (file.name, about.st_size, about.st_mtime_ns)
        if key not in self._seen:  # gigabytes are read once
            self._seen[key] = self._verified(file, self.folder / file.name)
        return self._seen[key]

    def _verified(self, file: FileEntry, path: Path) -> str:
        size, kept = path.stat().st_size, self.record["files"].get(file.name)
        expected = file.size or (kept and kept["size"])
        if expected and size != expected:
            return f"has {size} bytes instead of {expected}" + ("" if file.size else MEANT)
        if kept and self.quick:
            return ""
        if size > LONG:
            log.info("checking %s, %s", path, amount(size))
        algorithm, digits = (self.known(file) or "sha256:").split(":")
        digest = pooch.file_hash(str(path))
        found = digest if algorithm == "sha256" else pooch.file_hash(str(path), algorithm)
        if digits and found != digits:
            return "has another content than it should" + ("" if file.known_hash else MEANT)
        if not digits and not is_whole(path):
            return "is cut off, or no such file at all"
        if kept != {"size": size, "sha256": digest}:
            self.record["files"][file.name] = {"size": size, "sha256": digest}
            write_json(self.path, self.record)
        return ""

    def _compared(self, file: FileEntry, unpacked: Mapping[str, Mapping[str, Any]]) -> FileStatus:
        wrong = []
        for name, one in tqdm(unpacked.items(), file.name, unit="files", disable=None, leave=False):
            path = self.folder / name
            if not path.is_file():
                wrong.append(f"{name} is missing")
            elif path.stat().st_size != one["size"] or (
                not self.quick and pooch.file_hash(str(path)) != one["sha256"]
            ):
                wrong.append(f"{name} has another content")
        if wrong:
            return FileStatus(file, DAMAGED, f"{len(wrong)} of {len(unpacked)}: {wrong[0]}, ...")
        total = amount(sum(one["size"] for one in unpacked.values()))
        return FileStatus(file, THERE, f"unpacked, {len(unpacked)} files, {total}")


def get(
    entry: SetEntry,
    names: Collection[str] = (),
    *,
    data: Path = Path("data"),
    patience: RetryPolicy | None = None,
) -> list[FileStatus]:
    """Return how the files are after fetching those that were missing or damaged.

    Without ``names`` all but the optional ones are fetched. A file that no source has is told as
    missing, and the others are fetched all the same. Raises `InputError` for an unknown name, too
    little space, a hostile archive, or another process at work in the folder.
    """
    wanted = entry.chosen(names) if names else [file for file in entry.files if not file.optional]
    with _alone(data / entry.name):
        holdings = DatasetStatus(entry, data)
        found = {file.name: holdings.look(file) for file in wanted}
        lacking = [file for file in wanted if found[file.name].state != THERE]
        fetched = [file for file in lacking if file.sources and not _usable(holdings, file)]
        _announce(entry, fetched, holdings.folder)
        for file in lacking:
            found[file.name] = _got(holdings, file, found[file.name], patience)
    return list(found.values())


def _got(
    holdings: DatasetStatus, file: FileEntry, before: FileStatus, patience: RetryPolicy | None
) -> FileStatus:
    if not _usable(holdings, file):
        if not file.sources:
            return before
        try:
            fetch(file, holdings.folder, known=holdings.known(file), patience=patience)
        except DownloadError as error:
            return FileStatus(file, before.state, str(error))
    holdings.take_in(file)
    return holdings.look(file)


def _usable(holdings: DatasetStatus, file: FileEntry) -> bool:
    """Return whether an archive needs unpacking only."""
    there = (holdings.folder / file.name).is_file()
    return file.unpack is not None and there and not holdings.wrong_with(file)


def _announce(entry: SetEntry, files: Collection[FileEntry], folder: Path) -> None:
    """Say what will be downloaded and unfolded; raises `InputError` when it would not fit."""
    if not files:
        return
    parts = (folder / ARRIVING / f"{file.name}.part" for file in files)
    arrived = sum(part.stat().st_size for part in parts if part.exists())
    needed = max(0, sum(file.size or file.about or 0 for file in files) - arrived)
    unfolded = sum(file.unpack.most for file in files if file.unpack)
    unknown = sum(not (file.size or file.about) for file in files)
    more = f", and {unknown} of unknown size" if unknown else ""
    log.info("%s: %s", entry.title, entry.terms)
    free = amount(shutil.disk_usage(folder).free)
    log.info("to download: %s%s; unpacked at most %s", amount(needed), more, amount(unfolded))
    log.info("free here: %s", free)
    require_space(folder, needed, f"download {entry.name}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; raises `InputError` when another process fetches into it."""
    (folder / ARRIVING).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ARRIVING / "lock", timeout=0):
            yield
    except Timeout:
        raise InputError(
            "another process is fetching this set", file=folder, remedy="wait until it is done"
        ) from None


def next_command(entry: SetEntry, found: Collection[FileStatus]) -> str:
    """Return what to type next, or how to get by hand what has no source."""
    lacking = [finding.file for finding in found if not finding.fine]
    if not lacking:
        return entry.then
    if any(file.sources for file in lacking):
        return f"itm data get {entry.name}"
    return entry.by_hand.strip()
