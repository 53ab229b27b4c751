"""The note of a gallery, ``search.json``: with a checksum of its own, and checked when it is read.

Page: "Your pictures", "Search at scale".
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itm_book.galleries.photograph_names import NOTE
from itm_core.data.names import SPLIT_NAME
from itm_core.errors import InputError
from itm_core.json_files import read_json

CHECKSUM, FILES = "checksum", "files"
SHA256 = re.compile("[0-9a-f]{64}")


def with_checksum(note: Mapping[str, Any]) -> dict[str, Any]:
    """Return a note with the SHA-256 of all else that is in it."""
    content = {name: value for name, value in note.items() if name != CHECKSUM}
    text = json.dumps(content, sort_keys=True)
    return content | {CHECKSUM: hashlib.sha256(text.encode()).hexdigest()}


def read_note(folder: Path) -> dict[str, Any]:
    """Return the note of a gallery of either kind; of a former one without a checksum too.

    Raises `InputError` when it is damaged or was changed.
    """
    note = read_json(folder / NOTE)
    if isinstance(note.get("run"), str):  # of former galleries, an absolute path
        note["matcher"] = {"run": note["run"]}
    wrong = [] if _is_matcher(note.get("matcher")) else ["matcher"]
    wrong += _wrong_photographs(note) if "photographs" in note else _wrong_dataset(note)
    files = note.get(FILES, {})
    if not _is_texts(files, SHA256) or any("/" in name for name in files):
        wrong.append(FILES)
    if wrong:
        raise damaged(folder, f"no valid {', '.join(wrong)}")
    if CHECKSUM in note and with_checksum(note)[CHECKSUM] != note[CHECKSUM]:
        raise damaged(folder, "another content than was written: it was changed")
    return note


def damaged(folder: Path, problem: str) -> InputError:
    """Return the error to raise for a note that is not one."""
    return InputError(
        "the note of the gallery is damaged",
        file=folder / NOTE,
        expected="the matcher, and the names of the images",
        found=problem,
        remedy="delete the folder and run itm index again",
    )


def _is_matcher(matcher: object) -> bool:
    """Return whether this is what `matcher_note.matcher_note` gives."""
    if not isinstance(matcher, dict) or not {"name", "run"} & matcher.keys():
        return False
    return all(value and _is_path(value) for value in matcher.values())


def _is_path(text: object) -> bool:
    """Return whether this is a text that the file system can look for."""
    try:
        return isinstance(text, str) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # a lone surrogate
        return False


def _is_texts(texts: object, form: re.Pattern[str] | None = None) -> bool:
    """Return whether this is an object of texts, each of a form."""
    return isinstance(texts, dict) and all(
        isinstance(text, str) and (form is None or form.fullmatch(text)) for text in texts.values()
    )


def _wrong_photographs(note: Mapping[str, Any]) -> list[str]:
    pictures = note.get("pictures", "missing")  # none before the gallery is finished
    fits = {
        "photographs": _is_path(note["photographs"]),
        "unreadable": _is_texts(note.get("unreadable")) and all(map(_is_path, note["unreadable"])),
        "pictures": pictures is None
        or (bool(pictures) and _is_texts(pictures, SHA256) and all(map(_is_path, pictures))),
    }
    return [name for name, fit in fits.items() if not fit]


def _wrong_dataset(note: Mapping[str, Any]) -> list[str]:
    ids, split = note.get("ids"), note.get("split")
    fits = {
        "ids": isinstance(ids, list) and all(isinstance(name, str) for name in ids),
        "dataset": note.get("dataset") is None or _is_path(note["dataset"]),
        "split": split is None or (isinstance(split, str) and SPLIT_NAME.fullmatch(split)),
    }
    return [name for name, fit in fits.items() if not fit]
