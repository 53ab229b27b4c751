"""Writing so that a file or folder is there whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from itm_core.errors import InputError
from itm_core.unique_keys import unique_keys

NOTHING = 2**18  # bytes free that count as none


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
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or free < NOTHING
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
def whole_file(path: Path) -> Iterator[Path]:
    """Give a sibling path to write to; it becomes ``path`` only if the block succeeds.

    Raises `InputError` when the disk is full; the partial file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with space_checked(path):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as indented JSON, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """Return the JSON object in ``path``.

    Raises `InputError` when it is missing, broken, or has an object with one key twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return unique_keys(pairs, path, what="values", source=lambda value: repr(value)[:60])

    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except FileNotFoundError:
        raise InputError("file not found", file=path) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError("not readable as JSON", file=path, found=str(error)) from None
    if not isinstance(content, dict):
        raise InputError("not a JSON object", file=path, found=type(content).__name__)
    return content
