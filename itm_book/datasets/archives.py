"""Extracts listed members from an untrusted archive: all of them, or none.

The names, types and sizes in an archive are chosen by its author. So names are checked before
anything is written: no absolute path, no ``..``, no two names that a file system takes for one.
Links and devices are refused, as no dataset needs them. Bytes are counted while they are written
to a temporary folder, which is renamed when it is complete.

Page: "The data".
"""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

from itm_book.datasets.registry import Unpack
from itm_book.folders import amount, require_space, swap
from itm_core.errors import InputError
from itm_core.files import space_checked

MAX_MEMBERS = 500_000  # far above any release of the field
MAX_RATIO = 100  # unpacked bytes per packed byte; texts of captions stay below 10
ALLOWED = 2**20  # unpacked bytes that are always allowed
LONGEST_NAME = 255  # bytes that file systems allow
CHUNK = 2**20
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    UnicodeError,  # of a name
)


@dataclass(frozen=True)
class Member:
    """One member of an archive: its name, its declared size, and a function that opens it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Written:
    """Size in bytes and SHA-256 of a written file."""

    size: int
    sha256: str


def unpack(archive: Path, folder: Path, wanted: Unpack) -> dict[str, Written]:
    """Extract the wanted members and return the written files by their path below ``folder``.

    They replace the folder ``folder / wanted.into``. Raises `InputError`, and changes nothing, for
    an archive that is damaged, unsafe, too large, or lacks a wanted member.
    """
    place = folder / wanted.into
    new = folder / f".{wanted.into}.partial"
    shutil.rmtree(new, ignore_errors=True)
    try:
        with _opened(archive) as members:
            chosen = _chosen(archive, members, wanted)
            total = sum(member.size for member in chosen.values())
            _bounded(archive, total, wanted.most)
            require_space(folder, total, f"unpack {archive.name}")
            with space_checked(new):
                written = {
                    f"{wanted.into}/{name}": _write(archive, member, new / name)
                    for name, member in chosen.items()
                }
        swap(new, place)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return written


def is_complete(archive: Path) -> bool:
    """Return whether all members of an archive can be listed."""
    try:
        with _opened(archive):
            return True
    except InputError:
        return False


@contextmanager
def _opened(archive: Path) -> Iterator[list[Member]]:
    """Yield the regular files of an archive; raises `InputError` for links and devices."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                yield _of_zip(archive, zipped)
        else:
            with tarfile.open(archive) as tarred:
                yield _of_tar(archive, tarred)
    except BROKEN as error:
        if (
            isinstance(error, OSError) and error.errno
        ):  # an error of this machine, not of the archive
            raise
        raise InputError("damaged archive", file=archive, found=str(error)) from None


def _of_zip(archive: Path, zipped: zipfile.ZipFile) -> list[Member]:
    members = []
    for info in zipped.infolist():
        _checked_name(archive, info.orig_filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            _refuse(archive, info.filename, "is a link or a device")
        if info.flag_bits & 1:
            _refuse(archive, info.filename, "is encrypted")
        if not info.is_dir():
            members.append(Member(info.filename, info.file_size, partial(zipped.open, info)))
    return _require_few(archive, members)


def _of_tar(archive: Path, tarred: tarfile.TarFile) -> list[Member]:
    members, total = [], 0
    for info in tarred:
        total += info.size
        _bounded(archive, total)  # here, as reading the next one unpacks this one
        _checked_name(archive, info.name)
        if not (info.isreg() or info.isdir()):
            _refuse(archive, info.name, "is a link or a device")
        if info.isreg():
            members.append(Member(info.name, info.size, partial(_read_from, tarred, info)))
        _require_few(archive, members)
    return members


def _read_from(tarred: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = tarred.extractfile(info)
    if stream is None:  # not a file; refused by `_of_tar`
        raise tarfile.ReadError(f"{info.name} cannot be read")
    return stream


def _require_few(archive: Path, members: list[Member]) -> list[Member]:
    if len(members) > MAX_MEMBERS:
        raise InputError("too many members", file=archive, expected=f"{MAX_MEMBERS} at most")
    return members


def _checked_name(archive: Path, name: str) -> None:
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        _refuse(archive, name, "has an absolute path")
    if ".." in parts:
        _refuse(archive, name, "leads out of its folder")
    controls = any(unicodedata.category(letter) == "Cc" for letter in name)
    if not name or controls or "\\" in name or max(map(_length, parts)) > LONGEST_NAME:
        _refuse(archive, name[:LONGEST_NAME], "has an invalid name")


def _length(part: str) -> int:
    return len(part.encode("utf-8", "surrogateescape"))


def _chosen(archive: Path, members: Sequence[Member], wanted: Unpack) -> dict[str, Member]:
    """Return the wanted members by their new path; each pattern must match at least one."""
    chosen: dict[str, Member] = {}
    taken: set[str] = set()
    for pattern in wanted.members:
        matching = [member for member in members if _matches(member.name, pattern)]
        if not matching:
            raise InputError("a listed member is missing", file=archive, expected=pattern)
        for member in matching:
            parts = PurePosixPath(member.name).parts[wanted.strip :]
            # some file systems ignore case, or composition of letters
            plain = unicodedata.normalize("NFC", "/".join(parts)).casefold()
            if plain in taken:
                _refuse(archive, member.name, "has the name of another member, but for case")
            taken.add(plain)
            chosen["/".join(parts)] = member
    folders = {str(parent) for name in taken for parent in PurePosixPath(name).parents}
    if conflicts := sorted(folders & taken):
        _refuse(archive, conflicts[0], "is a file and a folder")
    return chosen


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = PurePosixPath(name).parts, PurePosixPath(pattern).parts
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _bounded(archive: Path, total: int, most: int | None = None) -> None:
    allowed = max(MAX_RATIO * archive.stat().st_size, ALLOWED)
    allowed = allowed if most is None else min(most, allowed)
    if total > allowed:
        raise InputError(
            "the unpacked files are too large",
            file=archive,
            expected=f"{amount(allowed)} at most",
            found=amount(total),
        )


def _write(archive: Path, member: Member, path: Path) -> Written:
    """Write a member; raises `InputError` unless it has its declared size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with member.open() as stream, path.open("xb") as file:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > member.size:
                break
            digest.update(chunk)
            file.write(chunk)
    if size != member.size:
        _refuse(archive, member.name, "does not have its declared size")
    return Written(size, digest.hexdigest())


def _refuse(archive: Path, member: str, why: str) -> NoReturn:
    raise InputError(
        f"the member {member!r} {why}",
        file=archive,
        remedy="do not use this archive; nothing was unpacked",
    )
