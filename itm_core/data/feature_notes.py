"""Which backbone made a dataset's features: ``features.json`` beside them.

A matcher knows the features that it was trained on, and no others. Two networks may give vectors
of one width that have nothing to do with each other, so what made them is written down with the
features, goes into the configuration of every run on them, and is compared before a run meets
pictures of one's own.

Page: "Your pictures".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itm_core.errors import InputError
from itm_core.files import read_json, write_json

NOTE = "features.json"
PARTS = ("features", "made_with", "source", "images", "left_out")


def write_note(folder: Path, note: dict[str, Any]) -> None:
    """Write what `read_note` returns."""
    assert set(note) == set(PARTS)
    write_json(folder / NOTE, note)


def read_note(folder: Path | str) -> dict[str, Any] | None:
    """Return the note in a folder, None where there is none.

    ``features`` decides the features; ``made_with`` names the backbone, the boxes, versions;
    ``source`` is a hash of what the features were made of; ``left_out`` lists damaged files.
    Raises `InputError` for a file that is no such note.
    """
    path = Path(folder) / NOTE
    if not path.exists():
        return None
    note = read_json(path)
    if not set(PARTS) <= note.keys():
        remedy = "make the features again: itm data make"
        raise InputError("not a note on features", file=path, expected=PARTS, remedy=remedy)
    return note


def features_of_folder(folder: Path | str) -> dict[str, Any] | None:
    """Return what decided the features of a dataset, None where nobody noted it."""
    note = read_note(folder)
    return None if note is None else note["features"]


def require_same(run: dict[str, Any], folder: Path) -> None:
    """Raise `InputError` unless a run with this configuration was trained on such features."""
    own, trained = features_of_folder(folder), run.get("features")
    if own == trained:
        return
    raise InputError(
        "these features are foreign to the matcher, which would score them at random",
        file=folder,
        expected=f"{_said(trained)}, as {run['dataset']} has",
        found=_said(own),
        remedy=(
            "make the features of both with one backbone (itm data make ... --backbone NAME), "
            "or name a run that was trained on such features"
        ),
    )


def _said(features: dict[str, Any] | None) -> str:
    """Return the features in words that tell two networks of one kind apart."""
    if features is None:
        return "features of an unknown backbone"
    weights = f", weights {features['weights'][:12]}…" if "weights" in features else ""
    side = f", at {features['side']} pixels" if "side" in features else ""
    return f"{features['backbone']} [{features['width']}]{weights}{side}"
