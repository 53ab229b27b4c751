"""Puts the arrays of ``itm data make`` together: the SCAN layout, without damaged pictures.

Page: "From photographs to features".
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itm_book.datasets.layout_writing import open_array, require_loadable, save_array, write_texts
from itm_book.photographs.own_split import load_own
from itm_book.photographs.picture_sources import Source
from itm_core.data.annotations import AGAIN
from itm_core.data.dataset import VOCABULARY
from itm_core.data.feature_notes import NOTE
from itm_core.errors import InputError
from itm_core.json_files import read_json_value, write_json

ARRAYS = {"ims": np.float32, "boxes": np.float32, "img_sizes": np.int32}
ROWS = 32  # of the features, copied at a time
MEANINGS = "meanings.json"  # of scenes
OF_IMAGES, OF_CAPTIONS = ("objects.json",), ("words.json", MEANINGS)  # lists


def assemble(
    assembled: Path,
    work: Path,
    sources: Sequence[Source],
    note: dict[str, Any],
    damaged: dict[int, str],
    folder: Path,
) -> list[str]:
    """Make the finished folder: without damaged rows, with texts and the note.

    Returns the files of the source that were not carried, as they describe damaged pictures too.

    Args:
        assembled: the folder to make; one of a killed process is replaced.
        work: folder of the arrays with a row for every picture.
        note: parts of the note, without ``images`` and ``left_out``.
        damaged: reasons of damaged pictures, by the place among all pictures.
        folder: where the finished folder will be.

    Raises `InputError` when no picture of a split could be read, or a split would not load.
    """
    shutil.rmtree(assembled, ignore_errors=True)  # of a process that was killed
    assembled.mkdir()
    images, skipped, not_carried, start = {}, [], [], 0
    for part in sources:
        reasons = {k: damaged[start + k] for k in range(len(part.ids)) if start + k in damaged}
        rows = [k for k in range(len(part.ids)) if k not in reasons]
        if not rows:
            raise InputError(f"no picture of {part.split} can be read", file=part.home)
        skipped += [f"{part.ids[k]}: {reason}" for k, reason in reasons.items()]
        _write_split(assembled, work, part, rows)
        not_carried += _carry(assembled, part, rows)
        images[part.split] = len(rows)
        start += len(part.ids)
    write_json(assembled / NOTE, {**note, "images": images, "left_out": skipped})
    _link_pictures(assembled, sources, folder)
    for part in sources:
        if part.captions is None:
            load_own(assembled)
        else:
            require_loadable(assembled, part.split, folder)
    return not_carried


def _write_split(target: Path, work: Path, source: Source, rows: Sequence[int]) -> None:
    for kind in ARRAYS:
        name = f"{source.split}_{kind}.npy"
        if len(rows) == len(source.ids):
            link_or_copy(work / name, target / name)
        elif kind == "ims":
            _copy_rows(work / name, target / name, rows)
        else:
            save_array(target / name, np.load(work / name)[rows])
    captions = None if source.captions is None else [source.captions[k] for k in rows]
    write_texts(target, source.split, [source.ids[k] for k in rows], captions)


def _carry(target: Path, source: Source, rows: Sequence[int]) -> list[str]:
    """Copy the annotations of some images; return the names of files that cannot be divided."""
    left = []
    for path in source.carried:
        out, ending = target / path.name, path.name.removeprefix(f"{source.split}_")
        if out.exists():  # the vocabulary, by another split
            continue
        if len(rows) == len(source.ids) or path.name == VOCABULARY:
            link_or_copy(path, out)
        elif ending in (*OF_IMAGES, *OF_CAPTIONS):
            entries, images = _entries(path, source)
            some = [entries[k] for k in np.flatnonzero(np.isin(images, rows))]
            out.write_text(json.dumps(some), encoding="utf-8")
        else:
            left.append(path.name)
    return left


def require_dividable(sources: Sequence[Source]) -> None:
    """Raise `InputError` for annotations that could not be divided if a picture were damaged."""
    for source in sources:
        for path in source.carried:
            if path.name.removeprefix(f"{source.split}_") in (*OF_IMAGES, *OF_CAPTIONS):
                _entries(path, source)


def _entries(path: Path, source: Source) -> tuple[list[Any], np.ndarray]:
    """Return the entries of a file, and the image of each.

    Raises `InputError` for another number of them than of images or captions.
    """
    ending = path.name.removeprefix(f"{source.split}_")
    by_caption = ending in OF_CAPTIONS
    counts = [len(texts) if by_caption else 1 for texts in source.captions or ()]
    images, entries = np.repeat(np.arange(len(counts)), counts), read_json_value(path)
    if not isinstance(entries, list) or len(entries) != len(images):
        raise InputError(
            "wrong length",
            file=path,
            expected=f"{len(images)} {'captions' if by_caption else 'images'}",
            found=f"{len(entries)} rows" if isinstance(entries, list) else type(entries).__name__,
            remedy="make the dataset again: itm scenes, or remove this file"
            if ending == MEANINGS
            else AGAIN,
        )
    return entries, images


def keep_vocabulary(folder: Path, new: Path) -> str:
    """Copy the vocabulary of a folder that is replaced into the new one, if captions are equal.

    Returns what became of it; an empty text where there was none.
    """
    old, kept = folder / VOCABULARY, new / VOCABULARY
    if not old.exists():
        return ""
    if kept.exists():
        same = kept.read_bytes() == old.read_bytes()
        return "kept" if same else "replaced by that of the dataset with the pictures"
    if _captions(folder) != _captions(new):
        return "removed, as it was of other captions"
    link_or_copy(old, kept)
    return "kept"


def _captions(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*_caps.txt")}


def _copy_rows(path: Path, out: Path, rows: Sequence[int]) -> None:
    """Copy some rows of a large array, a few at a time."""
    values = np.load(path, mmap_mode="r")
    copied = open_array(out, np.float32, (len(rows), *values.shape[1:]))
    for start in range(0, len(rows), ROWS):
        copied[start : start + ROWS] = values[rows[start : start + ROWS]]
    copied.flush()


def link_or_copy(path: Path, out: Path) -> None:
    """Hard-link a file to ``out``, or copy it where links are not possible."""
    try:
        os.link(path, out)
    except OSError:
        shutil.copy2(path, out)


def _link_pictures(assembled: Path, sources: Sequence[Source], folder: Path) -> None:
    """Link ``pictures`` to the folder of the photographs."""
    home = sources[0].home
    if home is not None:
        (assembled / "pictures").symlink_to(os.path.relpath(home.resolve(), folder.resolve()))
