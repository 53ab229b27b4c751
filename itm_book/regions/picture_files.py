"""The photographs of a folder, and their reduction to another size.

Page: "Your pictures".
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from itm_core.data.names import id_problem
from itm_core.data.photographs import ENDINGS, UNREAD, UNREAD_REASON
from itm_core.errors import InputError
from itm_core.files import reading

log = logging.getLogger(__name__)


def photographs_in(folder: Path) -> list[Path]:
    """Return the photographs of a folder, sorted by name, without those of subfolders.

    Links that lead nowhere are among them: they are reported when they are read. Pictures of
    formats that are not read, and photographs in subfolders, are counted in the log.

    Raises `InputError` when there are none, for a folder that may not be read, or for a name that
    is not a line of text.
    """
    if not folder.is_dir():
        raise InputError("no such folder of photographs", file=folder)
    with reading(folder):
        visible = [p for p in folder.iterdir() if not p.name.startswith(".")]
    named = [p for p in visible if p.suffix.lower() in ENDINGS]
    unread = sorted(p.name for p in visible if p.suffix.lower() in UNREAD)
    photographs = [p for p in named if p.is_file() or (p.is_symlink() and not p.exists())]
    below = _below(visible)
    left_out = []
    if unread:
        left_out.append(f"{len(unread)} such as {unread[0]}: {UNREAD_REASON}")
    if below:
        left_out.append(f"at least {len(below)} photographs in subfolders such as {below[0]}")
    if not photographs:
        subfolders = any(p.is_dir() for p in visible)
        raise InputError(
            "no photographs here",
            file=folder,
            expected=", ".join(ENDINGS),
            found="; ".join(left_out) or None,
            remedy="name the folder that holds the files itself" if subfolders else None,
        )
    for text in left_out:
        log.warning("%s: left out: %s", folder, text)
    for path in photographs:
        if problem := id_problem(path.name):
            raise InputError(
                f"a name that cannot be an id: {problem}", file=path, remedy="rename it"
            )
    return sorted(photographs, key=lambda path: path.name)


def _below(visible: Sequence[Path]) -> list[str]:
    """Return the photographs in the subfolders among some paths, as paths from their folder.

    They are sorted. Folders inside the subfolders are not read: there may be any number of them.
    """
    found = []
    for place in visible:
        with suppress(OSError), os.scandir(place) as files:  # no folder, or closed to this user
            named = (file.name for file in files if file.name[0] != "." and file.is_file())
            found += [f"{place.name}/{n}" for n in named if Path(n).suffix.lower() in ENDINGS]
    return sorted(found)


def shrunk(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a picture ``[H, W, 3]`` uint8 at another size; the same bytes on every machine.

    Pillow computes with integers here, and averages over all pixels when it reduces the size.
    """
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
