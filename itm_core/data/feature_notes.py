"""Which backbone made a dataset's features: ``features.json`` beside them.

Vectors of two networks may have the same width and still be unrelated, so the backbone is recorded
beside the features and becomes part of the configuration of every run on them.

Page: "Your pictures".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itm_core.errors import InputError
from itm_core.json_files import read_json

NOTE = "features.json"
PARTS = ("features", "made_with", "source", "images", "left_out")


def read_note(folder: Path | str) -> dict[str, Any] | None:
    """Return the note in a folder, None where there is none.

    ``features`` decides the features; ``made_with`` names the backbone, the boxes, versions;
    ``source`` is a hash of what the features were made of; ``left_out`` lists damaged files and why
    each cannot be read.
    Raises `InputError` for a file that is no such note.
    """
    path = Path(folder) / NOTE
    if not path.exists():
        return None
    note = read_json(path)
    features = note.get("features")
    if not set(PARTS) <= note.keys():
        expected = f"an object with {', '.join(PARTS)}"
    elif (
        not isinstance(features, dict)
        or not isinstance(features.get("backbone"), str)
        or type(features.get("width")) is not int
    ):
        expected = "features with at least the name of a backbone and a width"
    else:
        return note
    remedy = "make the features again: itm data make"
    raise InputError("not a note on features", file=path, expected=expected, remedy=remedy)


def features_of_folder(folder: Path | str) -> dict[str, Any] | None:
    """Return what decides the features of a dataset; None without a note."""
    note = read_note(folder)
    return None if note is None else note["features"]
