"""Files and folders that are written completely or not at all, locks, and tables."""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import platform
import re
import shlex
import shutil
import stat
import time
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock, Timeout

from itm_core.errors import InputError, files_named
from itm_core.parallel import require_guard

if TYPE_CHECKING:
    import pandas as pd

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MIN_FREE_BYTES = 2**18  # a disk with less is full
MANY_FILES = 100
LONGEST_STEM = 200  # bytes; file systems allow 255 for a whole name
STALE_SECONDS = 24 * 3600  # after which nobody writes to a partial file


@contextmanager
def space_checked(path: Path) -> Iterator[None]:
    """Turn "no space left on device" while writing ``path`` into an `InputError`.

    Libraries that write files themselves raise other errors on a full disk; any error counts as
    one when less than `MIN_FREE_BYTES` are free.
    """
    try:
        yield
    except Exception as error:
        free = shutil.disk_usage(next(p for p in (path, *path.parents) if p.exists())).free
        full = (
            getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or free < MIN_FREE_BYTES
        )
        if not full or isinstance(error, InputError):
            raise
        raise InputError(
            "no space left to write this file",
            file=path,
            found=f"{free / 2**20:.0f} MiB free",
            remedy="free some space and run the same command again; what was finished is kept",
        ) from error


@contextmanager
def locked(
    path: Path, message: str | None = None, remedy: str | None = None, *, file: Path | None = None
) -> Iterator[None]:
    """Hold the lock file ``path``, whose folder is made if need be, inside the block.

    Args:
        message, remedy: of the `InputError` that is raised when another process holds the lock.
            Without a message this waits for the lock.
        file: what the message names; by default the folder of the lock file.
    """
    make_folder(path.parent)
    lock = FileLock(path)
    try:
        with writing(path.parent):
            lock.acquire(timeout=0)
    except Timeout:
        require_guard()  # a worker would wait here for the process that waits for it
        if message is not None:
            raise InputError(message, file=file or path.parent, remedy=remedy) from None
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it is renamed to ``path`` if the block succeeds.

    The file gets the mode that ``open`` gives a new file there, whatever library writes it. After
    a power failure either the old file or the new one is there. What killed processes left of the
    same file is removed.

    Raises `InputError` when the folder may not be written to, the disk is full, or ``path`` is a
    pipe or a device, which the file would replace; the partial file is removed.
    """
    partial = partial_of(path)
    mode = _created(partial, path)
    try:
        with space_checked(path):
            yield partial
            # safetensors replaces the file by one that its owner alone may read
            if partial.stat().st_mode != mode:
                partial.chmod(stat.S_IMODE(mode))
            put(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _created(partial: Path, path: Path) -> int:
    """Create an empty file and return the mode it has under the umask and the folder's rules."""
    make_folder(path.parent)
    with space_checked(path), writing(path.parent):
        with suppress(FileNotFoundError):
            require_no_device(path)
        remove_partials(path)
        partial.touch()
        return partial.stat().st_mode


def put(new: Path, path: Path) -> None:
    """Rename a finished file or folder to ``path``, after its content is on the disk."""
    below = [part for part in new.rglob("*") if not part.is_symlink()] if new.is_dir() else []
    if len(below) > MANY_FILES:
        os.sync()  # everything at once, which is faster than one by one
    else:
        for part in (*below, new):
            _sync(part)
    new.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError:
        if not path.is_dir():  # some file systems have no such call for folders
            raise
    finally:
        os.close(file)


def partial_of(path: Path) -> Path:
    """Return the temporary path beside ``path`` of this process, see `remove_partials`."""
    return path.with_name(f".{_stem(path)}.{_machine()}-{os.getpid()}.partial")


def _stem(path: Path) -> str:
    """Return a name, or its beginning where a temporary one made of it would be too long."""
    return os.fsencode(path.name)[:LONGEST_STEM].decode(errors="ignore")


def remove_partials(path: Path) -> None:
    """Remove the temporary files and folders of ``path`` whose processes have ended.

    Of a process on another machine, or whose number another process has now, after a day.
    """
    for partial in _partials_in(path.parent.absolute()):
        owner = re.fullmatch(
            rf"\.{re.escape(_stem(path))}\.(?:(\w+)-)?(\d+)\.partial", partial.name
        )
        if owner is None:
            continue
        ended = owner[1] == _machine() and not _is_running(int(owner[2]))
        with suppress(FileNotFoundError):  # removed already
            if ended or time.time() - partial.lstat().st_mtime > STALE_SECONDS:
                remove = shutil.rmtree if stat.S_ISDIR(partial.lstat().st_mode) else os.unlink
                remove(partial)


@lru_cache(maxsize=64)
def _partials_in(folder: Path) -> list[Path]:
    """Return the temporary files in a folder when this process first writes there.

    A folder of many files, such as those of a gallery, is not listed again for each of them.
    """
    return [path for path in folder.iterdir() if path.name.endswith(".partial")]


def _is_running(process: int) -> bool:
    """Return whether another process has this number; it is not this process."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


@cache
def _machine() -> str:
    """Return what tells the numbers of processes of this machine, or container, from others."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return f"{zlib.crc32(f'{platform.node()} {space}'.encode()):08x}"


def make_folder(folder: Path) -> None:
    """Make a folder and those above it where they do not exist.

    Raises `InputError` when it may not be made, or a file is in its place.
    """
    with writing(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InputError(
                "not a folder",
                file=folder,
                expected="a folder, or a place where one can be made",
                found="a file there or above it",
                remedy="name another folder",
            ) from None


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn the system's errors of writing to ``folder`` into an `InputError` (`files_named`)."""
    with files_named(folder, "written"):
        yield


@contextmanager
def reading(
    path: Path, missing: str = "file not found", remedy: str | None = None
) -> Iterator[None]:
    """Turn the errors of opening ``path`` for reading into an `InputError` (`files_named`).

    A pipe, a socket and a device are refused: opening them may wait, or never end.

    Args:
        missing, remedy: the message for a file that does not exist.
    """
    with files_named(path, "read"):
        try:
            with suppress(FileNotFoundError):  # it may be one that the block does without
                require_no_device(path)
            yield
        except FileNotFoundError:
            raise InputError(missing, file=path, remedy=remedy) from None


def require_no_device(path: Path) -> None:
    """Raise `InputError` for what is neither a file nor a folder; opening it may never end."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        found = "a pipe, a socket or a device"
        raise InputError("not a file", file=path, found=found, remedy="name a file")


def read_csv(
    path: Path, missing: str = "file not found", remedy: str | None = None, **options: Any
) -> pd.DataFrame:
    """Return a table; ``options`` are those of ``pandas.read_csv``.

    Raises `InputError` when it cannot be opened (see `reading`), or is not such a table.
    """
    import pandas as pd

    try:
        with reading(path, missing, remedy):
            return pd.read_csv(path, **options)
    except (ValueError, OverflowError) as error:  # also of pandas, and of text in another encoding
        if isinstance(error, InputError):
            raise
        raise InputError(
            "not readable as CSV", file=path, found=str(error).strip(), remedy=remedy
        ) from None


def not_utf8(path: Path, row: int, content: bytes, line: bytes, error: ValueError) -> InputError:
    """Return the error for a line that is not UTF-8, with the command for the likely encoding."""
    guess = "latin1"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        guess = "utf-16"
    elif b"\0" in line:
        guess = "utf-16le"  # as Windows writes it, here without its mark
    command = shlex.join(["iconv", "-f", guess, "-t", "utf-8", "--", str(path)])
    remedy = f"{command} > new{path.suffix}, if {guess} is what it is"
    if guess == "utf-16le":
        remedy += "; else the file is damaged: copy or download it again"
    return InputError("not UTF-8", file=path, row=row, found=str(error), remedy=remedy)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read once per process while it is the same."""
    with reading(path):
        status = path.stat()
        return _sha256_of(path, status.st_size, status.st_mtime_ns, status.st_ino)


def require_sha256(path: Path, expected: str, problem: str, remedy: str) -> None:
    """Raise `InputError` for a file with another SHA-256 than was noted when it was written."""
    if (found := sha256(path)) != expected:
        raise InputError(
            problem, file=path, expected=f"SHA-256 {expected}", found=found, remedy=remedy
        )


@lru_cache(maxsize=1024)
def _sha256_of(path: Path, size: int, modified: int, inode: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unique_keys(
    pairs: Iterable[tuple[K, V]],
    file: Path | str | None,
    *,
    what: str = "images",
    source: Callable[[V], object] = str,
    remedy: str = "rename one of them, or remove it",
    row: int | None = None,
) -> dict[K, V]:
    """Return ``dict(pairs)``; raises `InputError` when two pairs have the same key.

    A plain ``dict`` would keep the last value of a repeated key, so an image would get the
    captions, boxes or features of another one without any message.

    Args:
        file: where the pairs come from.
        what: the plural name of the things that are keyed, for the message.
        source: turns a value into the text that identifies it in the message.
        remedy: what the user can do.
        row: the line of the file that all pairs come from.

    >>> unique_keys([("1", "a/1.jpg"), ("2", "a/2.jpg")], "captions.txt")
    {'1': 'a/1.jpg', '2': 'a/2.jpg'}
    """
    values: dict[K, V] = {}
    for key, value in pairs:
        if key in values:
            raise InputError(
                f"two {what} share the key {key!r}",
                file=file,
                row=row,
                found=f"{source(values[key])} and {source(value)}",
                remedy=remedy,
            )
        values[key] = value
    return values
