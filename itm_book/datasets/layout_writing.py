"""Writes a folder in the SCAN layout: texts, arrays, and a check that it can be loaded.

Page: "Your own data".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from itm_book.folders import reserve
from itm_core.data.arrays import BOXES, REGION_LENS, SIZES
from itm_core.data.dataset import load_split
from itm_core.data.names import require_ids
from itm_core.errors import InputError
from itm_core.files import whole_file

FILES = (  # of a split, without its prefix
    *("ims.npy", "caps.txt", "ids.txt", "counts.txt"),
    *(f"{ending}.npy" for ending in (*BOXES, *SIZES, REGION_LENS, "pictures")),
    *("words.json", "objects.json"),
)


def files_of(folder: Path, split: str) -> list[str]:
    """Return the names of the files of a split that a folder has."""
    return [name for ending in FILES if (folder / (name := f"{split}_{ending}")).exists()]


def open_array(path: Path, kind: type, shape: tuple[int, ...]) -> np.memmap:
    """Return a new memory-mapped array of zeros whose disk blocks are allocated."""
    values = np.lib.format.open_memmap(path, "w+", np.dtype(kind), shape)
    reserve(path)
    return values


def write_texts(
    folder: Path, split: str, ids: Sequence[str], captions: Sequence[Sequence[str]] | None
) -> None:
    """Write the ids, and the captions unless they are None, one per line.

    The number of captions of each image is written where images differ in it. Raises `InputError`
    for an id that cannot be a line of text (`itm_core.data.names`).
    """
    require_ids(ids, f"{split}_ids.txt")
    rows = {"ids": list(ids)}
    if captions is not None:
        rows["caps"] = [caption for of_image in captions for caption in of_image]
        if len(set(map(len, captions))) > 1:
            rows["counts"] = [str(len(of_image)) for of_image in captions]
    for ending, lines in rows.items():
        text = "".join(f"{line}\n" for line in lines)
        (folder / f"{split}_{ending}.txt").write_text(text, encoding="utf-8", newline="\n")


def save_array(path: Path, values: np.ndarray) -> None:
    """Write an array atomically."""
    with whole_file(path) as partial, partial.open("wb") as file:
        np.save(file, values)


def require_loadable(partial: Path, split: str, folder: Path) -> None:
    """Raise `InputError` unless the split in ``partial`` loads; it names ``folder``."""
    try:
        load_split(partial, split)
    except InputError as error:
        raise InputError(
            f"the {split} split would not load: {error.problem}",
            file=folder,
            row=error.row,
            expected=error.expected,
            found=error.found,
            remedy=error.remedy,
        ) from error
