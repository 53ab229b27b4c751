"""Folders that are written completely or not at all, and the space they take."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from itm_core.errors import InputError
from itm_core.files import (
    make_folder,
    partial_of,
    put,
    reading,
    remove_partials,
    require_sha256,
    sha256,
    space_checked,
    writing,
)

NOT_A_FOLDER = re.compile(
    r"""[.\s-].*|.*[\s.]\Z|.*[/\\:*?"<>|\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff].*
    |(con|prn|aux|nul|com\d|lpt\d)(\..*)?""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
HASHED = 2**28  # bytes; larger files are not read at every opening


def hashes_of(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of those of some files that a folder has, of at most `HASHED` bytes."""
    paths = [folder / name for name in names]
    return {p.name: sha256(p) for p in paths if p.exists() and p.stat().st_size <= HASHED}


def require_hashes(folder: Path, hashes: Mapping[str, str]) -> None:
    """Raise `InputError` unless the files of a gallery are those that its note names."""
    for name, expected in hashes.items():
        require_sha256(
            folder / name,
            expected,
            "not the file that this gallery was made with",
            "put that file back, or delete the folder and run itm index again",
        )


def amount(size: int) -> str:
    """Format a byte count for display.

    >>> amount(862_182_613), amount(570)
    ('862.2 MB', '570 bytes')
    """
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"


def require_folder_name(name: str, what: str) -> None:
    """Raise `InputError` unless ``name`` can be that of a new folder on every system.

    >>> require_folder_name("my laptop", "size")
    """
    if not name or len(name.encode("utf-8", "replace")) > 100 or NOT_A_FOLDER.fullmatch(name):
        raise InputError(
            f"{what}: not the name of a folder",
            expected='up to 100 bytes without / \\ : * ? " < > |, '
            "a dot, dash or space at the start, and names that Windows keeps, such as CON",
            found=repr(name[:100]),
        )


def require_name(folder: Path | str) -> Path:
    """Return a folder that is to be written; raises `InputError` for one without a name.

    Such are the empty text, ``.`` and ``/``: files are first written beside the folder.
    """
    folder = Path(folder)
    if not folder.name:
        remedy = "name a folder that is to be made"
        raise InputError("the folder has no name", found=f"{str(folder)!r}", remedy=remedy)
    return folder


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


def is_free(folder: Path) -> bool:
    """Return whether a folder does not exist or holds only what a killed process left."""
    if not folder.exists():
        return True
    with reading(folder):
        names = [path.name for path in folder.iterdir()]
    return all(name.startswith(".") and name.endswith((".partial", ".lock")) for name in names)


def require_free(folder: Path, note: str) -> None:
    """Raise `InputError` when a folder without the file ``note`` has files of something else."""
    if not is_free(folder):
        raise InputError(
            "this folder holds something else",
            file=folder,
            found=f"files, and no {note}",
            remedy="name another folder",
        )


def swap(new: Path, target: Path) -> None:
    """Replace a folder by another one; the replaced folder is removed."""
    previous = target.with_name(f".{target.name}.previous")
    shutil.rmtree(previous, ignore_errors=True)
    if target.exists():
        target.replace(previous)
    put(new, target)
    shutil.rmtree(previous, ignore_errors=True)


def reserve(path: Path) -> None:
    """Allocate the disk blocks of a sparse file; raises OSError when the disk is full.

    Writing to a memory-mapped file without blocks would end the process with SIGBUS.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; it is renamed to ``folder`` if the block succeeds.

    It is made beside ``folder`` with the mode of any new folder there, and is removed if the block
    fails, together with the parent folders that were made for it. What killed processes left of
    the same folder is removed.

    Raises `InputError` when something is there already, when the folder cannot be made, and when
    the disk is full.
    """
    if os.path.lexists(folder):  # a symbolic link that leads nowhere does not exist
        raise InputError(
            "this folder exists already", file=folder, remedy="name another folder, or remove it"
        )
    new_parents = [parent for parent in folder.parents if not os.path.lexists(parent)]
    new = partial_of(folder)
    try:
        with _making(folder):
            make_folder(folder.parent)
            remove_partials(folder)
            new.mkdir()
        with space_checked(folder.parent):
            yield new
            with _making(folder):
                put(new, folder)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        for parent in new_parents:
            with suppress(OSError):
                parent.rmdir()
        raise


@contextmanager
def _making(folder: Path) -> Iterator[None]:
    """Turn the errors of making a folder into an `InputError`."""
    try:
        with writing(folder.parent), space_checked(folder.parent):
            yield
    except OSError as error:
        raise InputError(
            "this folder cannot be made",
            file=folder,
            found=os.strerror(error.errno) if error.errno else type(error).__name__,
            remedy="name another folder",
        ) from None
