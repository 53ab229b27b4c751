"""The photographs of a folder, and their reduction to another size.

Page: "Your pictures".
"""

from __future__ import annotations

import logging
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
    formats that are not read are counted in the log.

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
    if not photographs:
        subfolders = any(p.is_dir() for p in visible)
        raise InputError(
            "no photographs here",
            file=folder,
            expected=", ".join(ENDINGS),
            found=f"{len(unread)} such as {unread[0]}: {UNREAD_REASON}" if unread else None,
            remedy="name the folder that holds the files itself" if subfolders else None,
        )
    if unread:
        log.warning(
            "%s: left out: %d such as %s: %s", folder, len(unread), unread[0], UNREAD_REASON
        )
    for path in photographs:
        if problem := id_problem(path.name):
            raise InputError(
                f"a name that cannot be an id: {problem}", file=path, remedy="rename it"
            )
    return sorted(photographs, key=lambda path: path.name)


def shrunk(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a picture ``[H, W, 3]`` uint8 at another size; the same bytes on every machine.

    Pillow computes with integers here, and averages over all pixels when it reduces the size.
    """
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
