"""Finds out what a file or folder of region features holds, and yields its images.

Page: "Which files does it read?".
"""

from __future__ import annotations

import logging
import shlex
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from itm_book.datasets.region_sources.image_files import BoxFiles, file_entries, holds_features
from itm_book.datasets.region_sources.record import Entry
from itm_book.datasets.region_sources.stores import hdf5_entries, lmdb_entries
from itm_book.datasets.region_sources.tsv_files import TSV, tsv_entries
from itm_core.errors import InputError
from itm_core.files import reading

HDF5 = (".h5", ".hdf5", ".hdf")
PICKLED = (".pkl", ".pickle", ".pt", ".pth")
PACKED = (".zip", ".gz", ".tar", ".tgz", ".bz2", ".7z")

log = logging.getLogger(__name__)


def entries(source: Path, boxes: Path | None = None) -> Iterator[Entry]:
    """Return the images of a source, one after the other.

    Args:
        source: a file or a folder, see the page.
        boxes: boxes of features that have none: a folder of ``.npy [R, 4]``, or a ``.tsv``.

    Raises `InputError` where there are none.
    """
    if boxes is not None and not boxes.exists():
        raise InputError("no such file or folder of boxes", file=boxes)
    if source.is_file():
        return _of_file(source, boxes)
    if not source.is_dir():
        raise _nothing(source, "no such file or folder")
    files = _visible(source)
    found = _of_folder(source, files, boxes)
    return _below(source, files, boxes) if found is None else found


def _visible(folder: Path) -> list[Path]:
    with reading(folder):
        return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def _of_folder(source: Path, files: list[Path], boxes: Path | None) -> Iterator[Entry] | None:
    """Return the images of the files in a folder; None where no file has any."""
    if (source / "data.mdb").is_file():
        return _without(boxes, lmdb_entries(source))
    if tsv := [file for file in files if TSV.fullmatch(file.name)]:
        return tsv_entries(tsv, _tsv_of(boxes))
    if of_images := _records(files):
        _require_images(source, of_images)
        return file_entries(of_images, BoxFiles(boxes) if boxes is not None else None)
    if hdf5 := [file for file in files if file.suffix.lower() in HDF5]:
        return _without(boxes, chain.from_iterable(map(hdf5_entries, hdf5)))
    return None


def _records(files: list[Path]) -> list[Path]:
    """Return the .npz among files, or the .npy where there are none."""
    npz, npy = ([p for p in files if p.suffix.lower() == ending] for ending in (".npz", ".npy"))
    return npz or npy


def _of_file(file: Path, boxes: Path | None) -> Iterator[Entry]:
    ending = file.suffix.lower()
    if ending in PICKLED:
        raise _pickled(file)
    if ending in PACKED:
        raise InputError("a packed file", file=file, remedy="unpack it, and name the folder")
    if ending in HDF5:
        return _without(boxes, hdf5_entries(file))
    if ending in (".lmdb", ".mdb"):
        return _without(boxes, lmdb_entries(file))
    if ending in (".npz", ".npy"):
        return file_entries([file], BoxFiles(boxes) if boxes is not None else None)
    with reading(file), file.open("rb") as content:
        start = content.read(64).lstrip()[:1]
    if ending == ".json" or start in (b"{", b"["):
        raise InputError(
            "JSON, not region features",
            file=file,
            expected="a .tsv or .h5, an LMDB, or a folder of .tsv, .npz or .npy files",
            remedy="name the features here, and a .json of captions with --captions",
        )
    return tsv_entries([file], _tsv_of(boxes))


def _below(source: Path, files: list[Path], boxes: Path | None) -> Iterator[Entry]:
    """Return the images of the subfolders that hold records, such as train2014 and val2014.

    Of ``X_att`` the boxes are those of ``X_box`` beside it; of others, those of the subfolder of
    ``boxes`` that has the same name, or of ``boxes`` itself. A subfolder of boxes alone is left
    out. Raises `InputError` where no subfolder holds features.
    """
    places = [p for p in files if p.is_dir()]
    features = [p for p in places if p.name.endswith("_att")]
    if not features:
        names = [p for p in places if not p.name.endswith(("_box", "_fc"))]
        features = [p for p in names if boxes is None or not p.samefile(boxes)]
    found: dict[str, Iterator[Entry]] = {}
    left_out = []
    for place in features:
        beside = place.with_name(place.name.removesuffix("_att") + "_box")
        same = boxes / place.name if boxes is not None else beside
        inside = _visible(place)
        if any(p.name.endswith("_ims.npy") for p in inside):  # of a dataset, not a record
            continue
        if (records := _records(inside)) and not holds_features(records):
            left_out.append(place.name)
            continue
        of_place = _of_folder(place, inside, same if same.is_dir() else boxes)
        found |= {} if of_place is None else {place.name: of_place}
    if found:
        for name in left_out:
            log.warning("%s: left out: %s/ holds no features; boxes need --boxes", source, name)
        log.info("%s: the records of %s", source, ", ".join(f"{name}/" for name in found))
        return chain.from_iterable(found.values())
    if pickled := next((p for p in files if p.suffix.lower() in PICKLED and p.is_file()), None):
        raise _pickled(pickled)
    kinds = Counter(f"{p.suffix or 'without ending'}" for p in files if p.is_file())
    kept = [f"{n} files {kind}" for kind, n in kinds.most_common(3)]
    raise _nothing(source, ", ".join(kept + [f"{p.name}/" for p in places[:3]]) or "none")


def _pickled(file: Path) -> InputError:
    return InputError(
        "pickled objects, which are not opened: opening runs whatever program is in them",
        file=file,
        remedy="if you trust where it is from, write an .npz for each image, as the page "
        "'Which files does it read?' shows",
    )


def _nothing(source: Path, found: str) -> InputError:
    return InputError(
        "no region features here",
        file=source,
        expected="a .tsv or .h5, an LMDB, or a folder of .tsv, .tsv.0, .npz, .npy or .h5 files",
        found=found,
    )


def _require_images(source: Path, files: list[Path]) -> None:
    """Raise `InputError` for a folder in the SCAN layout, which needs no conversion."""
    if any(file.name.endswith("_ims.npy") for file in files):
        raise InputError(
            "this folder is in the SCAN layout already",
            file=source,
            remedy=f"use it as it is: {shlex.join(['itm', 'check', str(source)])}",
        )


def _tsv_of(boxes: Path | None) -> list[Path]:
    if boxes is not None and not boxes.is_file():
        expected = "a .tsv of the boxes, as the features are in .tsv"
        raise InputError("not a file", file=boxes, expected=expected)
    return [] if boxes is None else [boxes]


def _without(boxes: Path | None, images: Iterator[Entry]) -> Iterator[Entry]:
    """Return the images; raises `InputError` where boxes of another file cannot be joined."""
    if boxes is not None:
        raise InputError(
            "boxes beside .h5 files and LMDB are not read",
            file=boxes,
            remedy="leave out --boxes",
        )
    return images
