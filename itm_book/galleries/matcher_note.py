"""Which matcher a gallery was made with: a name or a relative path, and the hash of its weights.

Page: "Your pictures", "Search at scale".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itm_book.checkpoints import shipped_matchers
from itm_book.checkpoints.imported_runs import load_run, vocabulary_hash, weights_hash
from itm_core.errors import InputError
from itm_core.experiments.run import Run

HOMES = (Path("data"), Path())  # of runs, below the working directory


def relative(path: Path, folder: Path) -> str:
    """Return a path relative to a gallery's folder, so that both can be moved together."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def located(note: str, folder: Path) -> Path:
    """Return the path that `relative` wrote, relative to the working directory where it can be."""
    return Path(os.path.normpath(folder.resolve() / note))


def matcher_note(run: Run, folder: Path) -> dict[str, Any]:
    """Return the note on a run in the note of a gallery; raises `InputError` as `weights_hash`."""
    home = shipped_matchers.HOME
    if run.folder.resolve().parent == home.resolve():
        place = {"name": run.folder.resolve().name}
    else:
        place = {"run": relative(run.folder, folder)}
    return {**place, "weights": weights_hash(run), "vocabulary": vocabulary_hash(run.vocabulary)}


def noted_matcher(
    note: Mapping[str, Any], folder: Path, *, chosen: str | None = None, words: Path | None = None
) -> Run:
    """Return the matcher that a gallery was made with.

    Args:
        note: of `matcher_note`; without ``weights`` or ``vocabulary`` these are not compared.
        folder: of the gallery.
        chosen: a name or a folder that is used instead of the noted one, such as its new place.
        words: the vocabulary of an imported checkpoint.

    Raises `InputError` when it is not found, or has other weights or another vocabulary.
    """
    place = chosen or note.get("name") or _run_folder(note["run"], folder)
    run = shipped_matchers.load(place) if words is None else load_run(place, vocabulary=words)
    hashes = {
        "weights": lambda: weights_hash(run),
        "vocabulary": lambda: vocabulary_hash(run.vocabulary),
    }
    for what, computed in hashes.items():
        expected = note.get(what)
        if expected is not None and (digest := computed()) != expected:
            raise InputError(
                f"this gallery was made with other {what if what == 'weights' else 'words'}",
                file=folder,
                expected=f"SHA-256 {expected}",
                found=f"{digest} of {run.folder}",
                remedy="name the matcher that it was made with (--matcher), or index into another "
                "folder",
            )
    return run


def _run_folder(note: str, folder: Path) -> Path:
    """Return the folder of a run: where `relative` says, else in ``data/`` or here.

    The second is for a gallery that was moved without the project: the weights are compared, so
    another run in its place is not taken for it.

    Raises `InputError` when there is none.
    """
    parts = [part for part in Path(note).parts if part != ".."]
    tails = [Path(*parts[start:]) for start in range(len(parts))]
    places = [located(note, folder), *(home / tail for tail in tails for home in HOMES)]
    for place in places:
        if place.is_dir():
            return place
    raise InputError(
        "the matcher of this gallery is not where it was",
        file=folder,
        expected=places[0],
        remedy="name its folder with --matcher",
    )
