"""Captions of a split in the SCAN layout, with the names of their images.

``{split}_caps.txt`` holds captions alone, without names or numbers before them; the ids of
``{split}_ids.txt`` beside it name their images, through ``id_mapping.json`` where a release has it
(VSE-infinity's lies one folder above).

Page: "Which files does it read?".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itm_core.data.caption_counts import read_counts, read_ids
from itm_core.data.caption_lines import column_of_most
from itm_core.errors import InputError
from itm_core.json_files import read_json

CAPTIONS = "_caps.txt"
MAPPING = "id_mapping.json"


def names_of_ids(folder: Path) -> tuple[Path | None, dict[str, str | int]]:
    """Return ``id_mapping.json`` of a folder, or of the one above it, and the names in it.

    None and no names where there is none. Raises `InputError` for a name that is none.
    """
    places = (folder / MAPPING, folder.resolve().parent / MAPPING)
    path = next((place for place in places if place.exists()), None)
    names = {} if path is None else read_json(path)
    if wrong := [name for name in names.values() if type(name) not in (str, int)]:
        raise InputError("not the name of a photograph", file=path, found=repr(wrong[0])[:60])
    return path, names


def images_of_captions(path: Path, lines: Sequence[str]) -> list[str] | None:
    """Return the name of each caption's image; None unless the file has its ids beside it.

    None as well where most lines have the name or the number of their image themselves. Blank
    lines hold no caption.

    Raises `InputError` where the captions cannot be divided among the ids, and where blank lines
    may be captions that are missing: those after them would be of other images.
    """
    if not path.name.endswith(CAPTIONS):
        return None
    captions = [line for line in lines if line.strip()]
    split = path.name.removesuffix(CAPTIONS)
    ids_file = path.with_name(f"{split}_ids.txt")
    counts_file = path.with_name(f"{split}_counts.txt")
    ids = read_ids(ids_file)
    if ids is None or column_of_most(captions):
        return None
    if ids and len(captions) < len(lines) and not counts_file.exists():
        _require_separating(path, lines, len(ids))
    counts = _counts(counts_file, ids_file, len(ids), len(captions))
    _, names = names_of_ids(path.parent)
    pairs = zip(ids, counts, strict=True)
    return [str(names.get(image, image)) for image, count in pairs for _ in range(count)]


def _require_separating(path: Path, lines: Sequence[str], ids: int) -> None:
    """Raise `InputError` for a blank line where the lines fit the ids with the blank ones, too."""
    if len(lines) % ids == 0:
        raise InputError(
            "an empty caption",
            file=path,
            row=next(row for row, line in enumerate(lines, 1) if not line.strip()),
            remedy="give it a text, or take the blank lines out if no caption is missing",
        )


def _counts(path: Path, ids_file: Path, ids: int, captions: int) -> list[int]:
    """Return the number of captions of each id: that of the file, or the same for all."""
    if ids != captions and path.exists():
        counts = read_counts(path, captions).tolist()
        if len(counts) != ids:
            found = f"{len(counts)} rows"
            raise InputError("counts and ids do not fit", file=path, expected=ids, found=found)
        return counts
    if not ids or captions % ids:
        raise InputError(
            "ids and captions do not fit",
            file=ids_file,
            expected=f"an id for each of the {captions} captions, or for as many of each image",
            found=f"{ids} ids",
            remedy=f"write {path.name}, the number of captions of each image, a number a line",
        )
    return [captions // ids] * ids
