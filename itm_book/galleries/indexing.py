"""Writes a gallery of photographs: index a folder, add photographs, remove them.

The note is the first file that is written and the last one that is changed: until then a gallery
stays as it was. Rows are computed once for each content, so that an interrupted index is resumed,
and adding or removing photographs gives the same files as indexing anew.

Page: "Your pictures".
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from itm_book.datasets.run_features import require_same_extractor
from itm_book.folders import require_free
from itm_book.galleries.gallery_note import read_note, with_checksum
from itm_book.galleries.matcher_note import located, matcher_note, noted_matcher, relative
from itm_book.galleries.photograph_gallery import PhotographGallery
from itm_book.galleries.photograph_names import NOTE, outside, photographs_at, photographs_below
from itm_book.galleries.picture_rows import (
    PictureRow,
    PictureTask,
    content_hash,
    prune,
    row_file,
    write_row,
)
from itm_book.photographs.picture_sources import OWN, PictureFiles, Source
from itm_book.photographs.region_features import described
from itm_book.photographs.run_pictures import backbone_of, boxes_of
from itm_core.data.feature_notes import NOTE as FEATURES
from itm_core.data.feature_notes import read_note as read_features_note
from itm_core.data.photographs import PhotographError
from itm_core.errors import InputError, escaped
from itm_core.experiments.run import Run
from itm_core.files import locked, require_no_device
from itm_core.json_files import write_json


@dataclass(frozen=True)
class Computing:
    """How rows are computed: the device of the backbone, and the number of processes."""

    device: str = "auto"
    workers: int = 1
    progress: bool = False


@dataclass
class Changes:
    """What an update of a gallery did, in names of photographs."""

    gallery: PhotographGallery
    added: int
    removed: int
    unreadable: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the lines to print, with each photograph that could not be read."""
        names = sum(map(len, self.gallery.names))
        same = f", {names - len(self.gallery)} of them the same as others"
        lines = [
            f"{self.gallery.folder}: {names} photographs{same * (names > len(self.gallery))}; "
            f"added {self.added}, removed {self.removed}"
        ]
        if self.unreadable:
            lines.append(f"not readable, left out: {len(self.unreadable)}")
        return [
            *lines,
            *(f"    {escaped(name)}: {why}" for name, why in self.unreadable.items()),
        ]


def photograph_note(folder: Path) -> dict[str, Any] | None:
    """Return the note of a gallery of photographs; None in a folder without any gallery.

    Raises `InputError` for a gallery of a dataset, and for a damaged note.
    """
    if not (folder / NOTE).exists():
        return None
    note = read_note(folder)
    if "photographs" not in note:
        raise InputError(
            "this gallery is of a dataset",
            file=folder,
            expected="a gallery of photographs",
            remedy="name another folder; a dataset is indexed as a whole",
        )
    return note


def open_photographs(folder: Path, matcher: str | None = None) -> PhotographGallery:
    """Return a finished gallery of photographs.

    Raises `InputError` when it is not finished, and as `noted_matcher` does.
    """
    return PhotographGallery(folder, *_finished(folder, matcher))


def _finished(folder: Path, matcher: str | None = None) -> tuple[dict[str, Any], Run]:
    note = photograph_note(folder)
    if note is None:
        raise InputError("no gallery in this folder", file=folder, remedy="itm index makes one")
    if note["pictures"] is None:
        photographs = located(note["photographs"], folder)
        raise InputError(
            "the gallery is not finished",
            file=folder,
            remedy=f"run {shlex.join(['itm', 'index', str(photographs), str(folder)])} again: it "
            "continues where it stopped",
        )
    return note, noted_matcher(note["matcher"], folder, chosen=matcher)


def index_photographs(
    photographs: Path, folder: Path, run: Run | None, computing: Computing | None = None
) -> Changes:
    """Index a folder of photographs; of an existing gallery what has changed.

    Photographs that `add_photographs` took from other folders stay.

    Args:
        run: the matcher; None for that of the existing gallery.

    Raises `InputError` without photographs, for a folder with other files or a gallery of another
    folder or matcher, and when no photograph can be read. All others that cannot be read are left
    out and named.
    """
    listed = photographs_below(photographs)
    note = photograph_note(folder)
    if note is None:
        assert run is not None  # only a gallery knows another one
        require_free(folder, NOTE)
        note = {"matcher": matcher_note(run, folder), "pictures": None, "unreadable": {}}
    else:
        _require_same_place(photographs, folder, note)
        run = _require_same_matcher(run, folder, note)
    note["photographs"] = relative(photographs, folder)
    with _writing(folder):
        kept = {name: digest for name, digest in (note["pictures"] or {}).items() if outside(name)}
        if note["pictures"] is None:
            write_json(folder / NOTE, with_checksum(note))
        unreadable = {name: why for name, why in note["unreadable"].items() if outside(name)}
        unreadable |= listed.unreadable
        return _update(folder, note, run, kept, listed.files, unreadable, computing)


def add_photographs(
    folder: Path, paths: Sequence[Path], matcher: str | None, computing: Computing | None = None
) -> Changes:
    """Add photographs, files or folders, to a gallery; those that are in it are read again.

    Raises `InputError` for a path that does not exist, and as `open_photographs` does.
    """
    with _changing(folder, matcher) as (note, run):
        listed = photographs_at(paths, located(note["photographs"], folder))
        kept = {name: it for name, it in note["pictures"].items() if name not in listed.files}
        unreadable = {n: why for n, why in note["unreadable"].items() if n not in listed.files}
        unreadable |= listed.unreadable
        return _update(folder, note, run, kept, listed.files, unreadable, computing)


def remove_photographs(folder: Path, names: Sequence[str], matcher: str | None) -> Changes:
    """Remove photographs from a gallery; the photographs themselves are not touched.

    Args:
        names: as `itm gallery list` prints them, or folders of them.

    Raises `InputError` for a name that is not in the gallery, and when none would be left.
    """
    with _changing(folder, matcher) as (note, run):
        chosen = {name for wanted in names for name in _named(wanted, note, folder)}
        kept = {name: it for name, it in note["pictures"].items() if name not in chosen}
        unreadable = {n: why for n, why in note["unreadable"].items() if n not in chosen}
        return _update(folder, note, run, kept, {}, unreadable, None)


def _named(wanted: str, note: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the photographs of a gallery that a name means: one, or all below a folder."""
    text = wanted.rstrip("/")
    every = [*note["pictures"], *note["unreadable"]]
    names = [name for name in every if text in (name, escaped(name)) or name.startswith(f"{text}/")]
    if not names:
        raise InputError(
            "no such photograph in the gallery",
            file=folder,
            found=escaped(wanted),
            remedy=f"itm gallery list {shlex.quote(str(folder))} prints the names",
        )
    return names


def _require_same_place(photographs: Path, folder: Path, note: Mapping[str, Any]) -> None:
    """Raise `InputError` for a gallery of another folder, unless that is gone: it was moved."""
    indexed = located(note["photographs"], folder)
    if indexed.exists() and not indexed.samefile(photographs):
        raise InputError(
            "this gallery is of another folder",
            file=folder,
            expected=indexed,
            found=photographs,
            remedy="name another gallery, or add to this one: "
            + shlex.join(["itm", "gallery", "add", str(folder), str(photographs)]),
        )


def _require_same_matcher(run: Run | None, folder: Path, note: Mapping[str, Any]) -> Run:
    """Return the matcher of a gallery; raises `InputError` for one with other weights."""
    chosen = None if run is None else str(run.folder)
    return noted_matcher(note["matcher"], folder, chosen=chosen)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    with locked(folder / ".lock", "another process writes this gallery", "wait for it"):
        yield


@contextmanager
def _changing(folder: Path, matcher: str | None) -> Iterator[tuple[dict[str, Any], Run]]:
    """Yield note and matcher of a finished gallery that no other process writes."""
    _finished(folder, matcher)  # before the lock, which would make the folder
    with _writing(folder):
        yield _finished(folder, matcher)


def _update(
    folder: Path,
    note: Mapping[str, Any],
    run: Run,
    kept: Mapping[str, str],
    files: Mapping[str, Path],
    unreadable: Mapping[str, str],
    computing: Computing | None,
) -> Changes:
    """Let a gallery hold the photographs in ``kept`` and ``files``, and return what changed."""
    computing = computing or Computing()
    reasons, digests = dict(unreadable), dict(kept)
    for name, path in tqdm(files.items(), "reading", disable=not computing.progress, leave=False):
        try:
            require_no_device(path)
            digests[name] = content_hash(path)
        except InputError as error:
            reasons[name] = str(error.found)
        except OSError as error:
            reasons[name] = error.strerror or type(error).__name__
    missing: dict[str, str] = {}
    for name in files:
        digest = digests.get(name)
        if digest is not None and not row_file(folder, digest).exists():
            missing.setdefault(digest, name)
    if missing:
        failed = _compute(folder, run, {d: files[n] for d, n in missing.items()}, computing)
        reasons |= {name: failed[d] for name, d in digests.items() if d in failed}
    pictures = {name: it for name, it in sorted(digests.items()) if name not in reasons}
    if not pictures:
        raise InputError(
            "no photograph would be in the gallery",
            file=folder,
            found="; ".join(f"{escaped(n)}: {why}" for n, why in [*reasons.items()][:3]) or None,
        )
    before = note["pictures"] or {}
    now = {**note, "pictures": pictures, "unreadable": dict(sorted(reasons.items()))}
    write_json(folder / NOTE, with_checksum(now))
    prune(folder, set(pictures.values()))
    added, removed = len(pictures.keys() - before.keys()), len(before.keys() - pictures.keys())
    gallery = PhotographGallery(folder, now, run)
    return Changes(gallery, added, removed, now["unreadable"])


def _compute(
    folder: Path, run: Run, paths: Mapping[str, Path], computing: Computing
) -> dict[str, str]:
    """Compute and write the rows of contents; return the reason of each that cannot be read."""
    backbone = backbone_of(run, computing.device)
    boxes = boxes_of(run, backbone)
    require_same_extractor(run.config, backbone.identity, boxes.name, folder)
    files = list(paths.values())
    source = Source(OWN, [path.name for path in files], [], PictureFiles(files))
    task = PictureTask(sources=[source], backbone=backbone, boxes=boxes)
    if read_features_note(folder) is None:
        parts = {"source": "photographs", "images": {}, "left_out": []}
        write_json(folder / FEATURES, task.note(run.config["region_count"]) | parts)
    failed = {}
    places = [(0, k) for k in range(len(files))]
    with (
        closing(described(task, places, computing.workers)) as computed,
        tqdm(computed, "features", len(files), unit="image", disable=not computing.progress) as bar,
    ):
        for digest, row in zip(paths, bar, strict=True):
            if isinstance(row, PhotographError):
                failed[digest] = row.reason
            elif isinstance(row, PictureRow):
                write_row(folder, digest, row)
            elif isinstance(row, InputError):
                raise row
    return failed
