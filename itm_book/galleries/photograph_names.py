"""The photographs below a folder, and the names that a gallery gives them.

A name is the path relative to the folder of the photographs, with ``/``. It may be any name that
the file system allows, a line break included.

Page: "Your pictures".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from itm_core.data.photographs import ENDINGS, UNREAD, UNREAD_REASON
from itm_core.errors import InputError
from itm_core.files import reading

NOTE = "search.json"  # in the folder of every gallery
LINKED = "a link to a folder, which is not followed; index that folder itself"


@dataclass(frozen=True)
class Photographs:
    """Photographs by name, and the reason of each folder that cannot be read, by its name."""

    files: dict[str, Path]
    unreadable: dict[str, str]


def photographs_below(folder: Path) -> Photographs:
    """Return the photographs of a folder and its subfolders, sorted by name.

    Hidden files and folders, and the folders of galleries, are left out. Pictures of formats that
    are not read and links to folders, which may lead back, are among those that cannot be read.

    Raises `InputError` when there are none, or the folder itself may not be read.
    """
    if not folder.is_dir():
        raise InputError(
            "no such folder of photographs",
            file=folder,
            found="a file" if folder.exists() else None,
            remedy="name a folder of pictures, or of a dataset in the SCAN layout",
        )
    with reading(folder):
        next(folder.iterdir(), None)
    unreadable: dict[str, str] = {}

    def note_error(error: OSError) -> None:
        unreadable[name_of(Path(error.filename), folder)] = os.strerror(error.errno or 0)

    files: dict[str, Path] = {}
    for place, subfolders, names in os.walk(folder, onerror=note_error):
        if NOTE in names and Path(place) != folder:
            subfolders.clear()
            continue
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for path in (Path(place, name) for name in subfolders):
            if path.is_symlink():
                unreadable[path.relative_to(folder).as_posix()] = LINKED
        for name in names:
            path = Path(place, name)
            ending = "" if name.startswith(".") else path.suffix.lower()
            if ending in ENDINGS:
                files[path.relative_to(folder).as_posix()] = path
            elif ending in UNREAD:
                unreadable[path.relative_to(folder).as_posix()] = UNREAD_REASON
    if not files:
        raise InputError(
            "no photographs here",
            file=folder,
            expected=", ".join(ENDINGS),
            found="; ".join(f"{name}: {why}" for name, why in [*unreadable.items()][:3]) or None,
        )
    return Photographs(dict(sorted(files.items())), unreadable)


def photographs_at(paths: Sequence[Path], root: Path) -> Photographs:
    """Return the photographs at some paths, files or folders, with names relative to ``root``.

    Raises `InputError` for a path that does not exist, and as `photographs_below` does.
    """
    files: dict[str, Path] = {}
    unreadable: dict[str, str] = {}
    for path in paths:
        if path.is_dir():
            below = photographs_below(path)
            start = name_of(path, root)
            files |= {_below(start, name, root): file for name, file in below.files.items()}
            unreadable |= {
                _below(start, name, root): reason for name, reason in below.unreadable.items()
            }
        elif os.path.lexists(path):
            files[name_of(path, root)] = path
        else:
            raise InputError("no such photograph or folder", file=path)
    return Photographs(dict(sorted(files.items())), unreadable)


def name_of(path: Path, root: Path) -> str:
    """Return the name of a photograph: its path relative to ``root``; a link is not followed."""
    return Path(os.path.relpath(path.parent.resolve() / path.name, root.resolve())).as_posix()


def _below(start: str, name: str, root: Path) -> str:
    """Return the name of a photograph of a folder that is named ``start``, perhaps above root."""
    base = root.resolve()
    return Path(os.path.relpath(base / start / name, base)).as_posix()


def outside(name: str) -> bool:
    """Return whether a photograph is not below the folder that a gallery indexes."""
    return name.startswith("../")
