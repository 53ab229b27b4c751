"""Writing so that a file or folder is there whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from itm_core.errors import InputError
from itm_core.unique_keys import unique_keys

MIN_FREE_BYTES = 2**18  # bytes free that count as none


@contextmanager
def space_checked(path: Path) -> Iterator[None]:
    """Turn "no space left on device" while writing ``path`` into an `InputError`.

    Libraries that write with code of their own raise other errors then; theirs are taken for a
    full disk when there is next to nothing free.
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


def amount(size: int) -> str:
    """Return a number of bytes as people say it.

    >>> amount(862_182_613), amount(570)
    ('862.2 MB', '570 bytes')
    """
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Raise `InputError` when the disk of ``folder`` has less than ``needed`` bytes free."""
    free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
    if needed > free:
        raise InputError(
            f"no space to {purpose}",
            file=folder,
            expected=f"{amount(needed)} free",
            found=f"{amount(free)} free",
            remedy="free some space and run the same command again",
        )


def swap(new: Path, place: Path) -> None:
    """Put a folder in the place of another, which is removed."""
    previous = place.with_name(f".{place.name}.previous")
    shutil.rmtree(previous, ignore_errors=True)
    if place.exists():
        place.replace(previous)
    new.replace(place)
    shutil.rmtree(previous, ignore_errors=True)


def reserve(path: Path) -> None:
    """Claim the blocks of a file that was only sized; raises OSError when the disk is full.

    Writing to a mapped file whose blocks do not exist would end the process without a word.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


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
    lock = FileLock(path, timeout=-1 if message is None else 0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(message or "locked", file=file or path.parent, remedy=remedy) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a sibling path to write to; it becomes ``path`` only if the block succeeds.

    The file gets the mode that ``open`` gives a new file there, whatever library writes it.

    Raises `InputError` when the folder may not be written to or the disk is full; the partial
    file is removed.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    mode = _created(partial, path)
    try:
        with space_checked(path):
            yield partial
            # safetensors replaces the file by one that its owner alone may read
            if partial.stat().st_mode != mode:
                partial.chmod(stat.S_IMODE(mode))
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _created(partial: Path, path: Path) -> int:
    """Create an empty file and return the mode it has under the umask and the folder's rules."""
    make_folder(path.parent)
    with space_checked(path), _writing(path.parent):
        partial.unlink(missing_ok=True)
        partial.touch()
        return partial.stat().st_mode


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write to; it becomes ``folder`` only if the block succeeds.

    It has the mode of any new folder there, in a temporary sibling of a name of its own, which is
    removed however the block ends, with the folders above that were made for it unless it succeeds.

    Raises `InputError` when something is there already, when the folder cannot be made, and when
    the disk is full.
    """
    if os.path.lexists(folder):  # a symbolic link that leads nowhere does not exist
        raise InputError(
            "this folder exists already", file=folder, remedy="name another folder, or remove it"
        )
    made = [above for above in folder.parents if not os.path.lexists(above)]
    try:
        with _making(folder):
            make_folder(folder.parent)
            aside = tempfile.TemporaryDirectory(
                dir=folder.parent, prefix=".", suffix=".partial", ignore_cleanup_errors=True
            )
        with aside, space_checked(folder.parent):
            new = Path(aside.name) / folder.name
            with _making(folder):
                new.mkdir()
            yield new
            with _making(folder):
                new.rename(folder)
    except BaseException:
        for above in made:
            with suppress(OSError):
                above.rmdir()
        raise


@contextmanager
def _making(folder: Path) -> Iterator[None]:
    """Turn the ways in which a folder cannot be made into an `InputError`."""
    try:
        with _writing(folder.parent), space_checked(folder.parent):
            yield
    except OSError as error:
        raise InputError(
            "this folder cannot be made",
            file=folder,
            found=os.strerror(error.errno) if error.errno else type(error).__name__,
            remedy="name another folder",
        ) from None


def make_folder(folder: Path) -> None:
    """Make a folder and those above it where they do not exist.

    Raises `InputError` when it may not be made, or a file is in its place.
    """
    try:
        with _writing(folder):
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
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise InputError(
            "may not be written",
            file=folder,
            expected="a folder that you may write to",
            remedy="name another folder, or ask its owner for write access",
        ) from None


@contextmanager
def reading(
    path: Path, missing: str = "file not found", remedy: str | None = None
) -> Iterator[None]:
    """Turn each of the ways in which ``path`` cannot be opened into an `InputError`.

    The file may be missing, closed to the reader, a folder, or below what is a file itself.

    Args:
        missing: what is said of a file that does not exist, with its ``remedy``.
    """
    try:
        yield
    except FileNotFoundError:
        raise InputError(missing, file=path, remedy=remedy) from None
    except (IsADirectoryError, NotADirectoryError) as error:
        folder = isinstance(error, IsADirectoryError)
        raise InputError(
            "not a file",
            file=path,
            found="a folder, not a file" if folder else "a file in the place of a folder above it",
            remedy=remedy or "name a file",
        ) from None
    except PermissionError:
        raise InputError(
            "may not be read",
            file=path,
            expected="a file that you may read, in folders that you may enter",
            remedy=f"its owner gives access with: chmod a+r {path}",
        ) from None


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as indented JSON, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """Return the JSON object in ``path``.

    Raises `InputError` when it cannot be opened (see `reading`), is broken, or has an object with
    one key twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return unique_keys(pairs, path, what="values", source=lambda value: repr(value)[:60])

    try:
        with reading(path):
            content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError("not readable as JSON", file=path, found=str(error)) from None
    if not isinstance(content, dict):
        raise InputError("not a JSON object", file=path, found=type(content).__name__)
    return content
