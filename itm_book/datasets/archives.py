"""Taking listed members out of an archive that nobody trusts: all of them, or nothing.

Whoever makes an archive chooses the names in it, what kind of thing each is, and how much it
unfolds to. So names are checked before anything is written: none absolute, none with ``..``, none
that a file system would take for another. Links and devices are refused wherever they stand, as no
dataset needs them. What is written is counted as it is written, beside its place, and renamed when
it is whole.

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

MEMBERS = 500_000  # far above any release of the field
RATIO = 100  # bytes out for a byte in; texts of captions stay below 10
SMALL = 2**20  # bytes out that are never too many
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
)


@dataclass(frozen=True)
class Member:
    """One member of an archive: its name, its declared size, and how to read it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Written:
    """A file that was written: its size in bytes and its SHA-256."""

    size: int
    sha256: str


def unpack(archive: Path, folder: Path, wanted: Unpack) -> dict[str, Written]:
    """Return what was written, by path below ``folder``: the wanted members, whole.

    They take the place of the folder ``folder / wanted.into``. Raises `InputError` for an archive
    that is broken, hostile, too large, or lacks a wanted member; then nothing has changed.
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


def is_whole(archive: Path) -> bool:
    """Return whether a file can be listed as an archive to its end."""
    try:
        with _opened(archive):
            return True
    except InputError:
        return False


@contextmanager
def _opened(archive: Path) -> Iterator[list[Member]]:
    """Give the regular files of an archive; raises `InputError` for anything that is no file."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                yield _of_zip(archive, zipped)
        else:
            with tarfile.open(archive) as tarred:
                yield _of_tar(archive, tarred)
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno:  # of this machine, not of the archive
            raise
        raise InputError("not a whole archive", file=archive, found=str(error)) from None


def _of_zip(archive: Path, zipped: zipfile.ZipFile) -> list[Member]:
    found = []
    for info in zipped.infolist():
        _checked_name(archive, info.orig_filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            _refuse(archive, info.filename, "is a link or a device")
        if info.flag_bits & 1:
            _refuse(archive, info.filename, "is encrypted")
        if not info.is_dir():
            found.append(Member(info.filename, info.file_size, partial(zipped.open, info)))
    return _few(archive, found)


def _of_tar(archive: Path, tarred: tarfile.TarFile) -> list[Member]:
    found, total = [], 0
    for info in tarred:
        total += info.size
        _bounded(archive, total)  # here, as going on to the next one unfolds this one
        _checked_name(archive, info.name)
        if not (info.isreg() or info.isdir()):
            _refuse(archive, info.name, "is a link or a device")
        if info.isreg():
            found.append(Member(info.name, info.size, partial(_read_from, tarred, info)))
        _few(archive, found)
    return found


def _read_from(tarred: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = tarred.extractfile(info)
    if stream is None:  # for what is no file; `_of_tar` lets none through
        raise tarfile.ReadError(f"{info.name} can't be read")
    return stream


def _few(archive: Path, members: list[Member]) -> list[Member]:
    if len(members) > MEMBERS:
        raise InputError("too many members", file=archive, expected=f"{MEMBERS} at most")
    return members


def _checked_name(archive: Path, name: str) -> None:
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        _refuse(archive, name, "has an absolute path")
    if ".." in parts:
        _refuse(archive, name, "leads out of its folder")
    controls = any(unicodedata.category(letter) == "Cc" for letter in name)
    if not name or controls or "\\" in name or max(map(_length, parts)) > LONGEST_NAME:
        _refuse(archive, name[:LONGEST_NAME], "has a name that is none")


def _length(part: str) -> int:
    return len(part.encode("utf-8", "surrogateescape"))


def _chosen(archive: Path, members: Sequence[Member], wanted: Unpack) -> dict[str, Member]:
    """Return the wanted members by the path that they get; each pattern must have found one."""
    chosen: dict[str, Member] = {}
    taken: set[str] = set()
    for pattern in wanted.members:
        found = [member for member in members if _matches(member.name, pattern)]
        if not found:
            raise InputError("a listed member is missing", file=archive, expected=pattern)
        for member in found:
            parts = PurePosixPath(member.name).parts[wanted.strip :]
            # file systems differ in whether case and composed letters make two names
            plain = unicodedata.normalize("NFC", "/".join(parts)).casefold()
            if plain in taken:
                _refuse(archive, member.name, "has the name of another, but for case")
            taken.add(plain)
            chosen["/".join(parts)] = member
    folders = {str(parent) for name in taken for parent in PurePosixPath(name).parents}
    if both := sorted(folders & taken):
        _refuse(archive, both[0], "is a file and a folder")
    return chosen


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = PurePosixPath(name).parts, PurePosixPath(pattern).parts
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _bounded(archive: Path, total: int, most: int | None = None) -> None:
    allowed = max(RATIO * archive.stat().st_size, SMALL)
    allowed = allowed if most is None else min(most, allowed)
    if total > allowed:
        raise InputError(
            "unfolds to too much",
            file=archive,
            expected=f"{amount(allowed)} at most",
            found=amount(total),
        )


def _write(archive: Path, member: Member, path: Path) -> Written:
    """Write a member, no byte more than it declared."""
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
        _refuse(archive, member.name, "is not as long as it declares")
    return Written(size, digest.hexdigest())


def _refuse(archive: Path, member: str, why: str) -> NoReturn:
    raise InputError(
        f"the member {member!r} {why}",
        file=archive,
        remedy="don't use this archive; nothing was unpacked",
    )
