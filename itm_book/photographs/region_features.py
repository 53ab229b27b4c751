"""From pictures to region features in the SCAN layout: ``itm data make``.

Each picture is read and passes through the backbone by itself; its rows are written, and the
progress is noted every few pictures. So a killed process is resumed where it stopped, and ends with
the same bytes as an uninterrupted one. The folder is written atomically.

Page: "The data", "Your pictures".
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from itm_book.datasets.layout_writing import open_array, require_loadable, save_array, write_texts
from itm_book.folders import require_space, swap
from itm_book.photographs.backbones import Backbone
from itm_book.photographs.own_split import load_own
from itm_book.photographs.picture_sources import Source
from itm_book.photographs.region_boxes import Boxes, Grid
from itm_core.data.feature_notes import NOTE, read_note
from itm_core.data.photographs import PhotographError
from itm_core.errors import InputError
from itm_core.files import locked, read_json, space_checked, write_json

GRID = Grid()
BLOCK = 32  # pictures between two notes of the progress
ARRAYS = {"ims": np.float32, "boxes": np.float32, "img_sizes": np.int32}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class MadeFeatures:
    """A finished folder: images per split, ``(R, F)``, and the skipped damaged files."""

    folder: Path
    images: dict[str, int]
    shape: tuple[int, int]
    skipped: list[str]

    def lines(self) -> list[str]:
        """Return a line of text for each split, then for each damaged file."""
        regions, width = self.shape
        splits = [f"{s}: {n} images, {regions} regions of {width}" for s, n in self.images.items()]
        return [*splits, *(f"skipped, damaged: {name}" for name in self.skipped)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """Pictures, backbone and boxes; without ``boxes`` the dataset's own, else the layout."""

    sources: Sequence[Source]
    backbone: Backbone
    boxes: Boxes | None = None

    @property
    def total(self) -> int:
        """Number of all pictures."""
        return sum(len(source.ids) for source in self.sources)

    @property
    def boxes_name(self) -> str:
        """Name of the source of the boxes."""
        if self.boxes is not None:
            return self.boxes.name
        with_boxes = any(source.boxes is not None for source in self.sources)
        return "the dataset's own" if with_boxes else GRID.name

    def boxes_of(self, source: Source, k: int, picture: np.ndarray) -> np.ndarray:
        """Return the boxes ``[R, 4]`` of a picture."""
        if self.boxes is None and source.boxes is not None:
            return np.asarray(source.boxes[k])
        return (self.boxes or GRID)(source.split, k, source.ids[k], picture)

    def fingerprint(self) -> str:
        """Return a hash of everything that determines the features."""
        parts: list[Any] = [self.backbone.identity, self.boxes_name]
        for source in self.sources:
            boxes = b"" if source.boxes is None else np.ascontiguousarray(source.boxes).tobytes()
            parts.append([source.split, source.ids, source.stamps, source.captions, _hash(boxes)])
        return _hash(json.dumps(parts, default=list).encode())


def make_features(
    task: Task, folder: Path | str, *, skip_damaged: bool = False, progress: bool = True
) -> MadeFeatures:
    """Compute the features of a task unless they exist, and return their folder.

    An existing folder is returned unchanged, or replaced when pictures, boxes or backbone have
    changed.

    Args:
        skip_damaged: skip photographs that cannot be read, instead of raising.

    Raises `InputError` for a damaged photograph (finished ones are kept), a folder with other
    files, too little disk space, or another process that writes to it.
    """
    folder = Path(folder)
    source = task.fingerprint()
    existing = _existing(folder, source)
    if existing:
        return existing
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.with_name(f".{folder.name}.partial")
    lock = folder.with_name(f".{folder.name}.lock")
    with locked(lock, "another process makes these features", file=folder), space_checked(folder):
        damaged = _Work(work, task, source, folder).run(skip_damaged, progress)
        assembled = _assembled(work / "whole", work, task, damaged, source, folder)
        swap(assembled, folder)
        shutil.rmtree(work)
    features = _existing(folder, source)
    assert features is not None
    return features


def _existing(folder: Path, source: str) -> MadeFeatures | None:
    """Return the finished features in a folder; None when they are missing or outdated."""
    note = read_note(folder)
    if note is None:
        if folder.exists() and any(folder.iterdir()):
            remedy = "name another folder: --out"
            raise InputError("this folder has other files", file=folder, remedy=remedy)
        return None
    if note["source"] != source:
        return None
    shape = (note["made_with"]["regions"], note["features"]["width"])
    return MadeFeatures(folder, note["images"], shape, note["left_out"])


class _Work:
    """The unfinished folder: arrays with a row for every picture, and the progress."""

    def __init__(self, work: Path, task: Task, source: str, folder: Path) -> None:
        self.task, self.place, self.path = task, folder, work / "making.json"
        state = read_json(self.path) if self.path.exists() else {}
        if state.get("source") != source:
            shutil.rmtree(work, ignore_errors=True)
            state = {"source": source, "done": 0, "damaged": [], "regions": 0}
            work.mkdir(parents=True)
        self.state: dict[str, Any] = state
        self.arrays: dict[tuple[str, str], np.memmap] = {}
        if state["regions"]:  # otherwise nothing has been written yet
            for name in ((s.split, kind) for s in task.sources for kind in ARRAYS):
                self.arrays[name] = np.load(self._file(*name), mmap_mode="r+")

    def run(self, skip_damaged: bool, progress: bool) -> list[int]:
        """Compute the missing features; return the indices of damaged pictures."""
        pictures = [(source, k) for source in self.task.sources for k in range(len(source.ids))]
        start = self.state["done"]
        bar = tqdm(pictures, desc="features", unit="image", initial=start, disable=not progress)
        bar.total = len(pictures)
        try:
            for place in range(start, len(pictures)):
                self._compute(place, *pictures[place], skip_damaged)
                self.state["done"] = place + 1
                bar.update()
                if (place + 1) % BLOCK == 0:
                    self._save()
        finally:
            self._save()
            bar.close()
        return list(self.state["damaged"])

    def _compute(self, place: int, source: Source, k: int, skip_damaged: bool) -> None:
        try:
            picture = source.picture(k)
        except PhotographError:
            if not skip_damaged:
                raise
            self.state["damaged"].append(place)
            return
        boxes = self.task.boxes_of(source, k, picture)
        features = self.task.backbone(picture, boxes)
        if not np.isfinite(features).all():
            raise InputError(f"the backbone gives NaN or infinity for {source.ids[k]}")
        if not self.arrays:
            self._open(len(features))
        for kind, values in zip(ARRAYS, (features, boxes, picture.shape[1::-1]), strict=True):
            self.arrays[source.split, kind][k] = values

    def _open(self, regions: int) -> None:
        width = self.task.backbone.width
        require_space(self.place, self.task.total * regions * (width + 4) * 4, "write the features")
        self.state["regions"] = regions
        for source in self.task.sources:
            shapes = ((regions, width), (regions, 4), (2,))
            for (kind, dtype), shape in zip(ARRAYS.items(), shapes, strict=True):
                path = self._file(source.split, kind)
                self.arrays[source.split, kind] = open_array(path, dtype, (len(source.ids), *shape))

    def _file(self, split: str, kind: str) -> Path:
        return self.path.with_name(f"{split}_{kind}.npy")

    def _save(self) -> None:
        """Write the rows to disk, then the progress, in this order."""
        for values in self.arrays.values():
            values.flush()
        write_json(self.path, self.state)


def _assembled(
    assembled: Path, work: Path, task: Task, damaged: Sequence[int], source: str, folder: Path
) -> Path:
    """Return the finished temporary folder: without damaged rows, with texts and the note."""
    shutil.rmtree(assembled, ignore_errors=True)  # of a process that was killed
    assembled.mkdir()
    images, skipped, start = {}, [], 0
    for part in task.sources:
        bad = {place - start for place in damaged if start <= place < start + len(part.ids)}
        rows = [k for k in range(len(part.ids)) if k not in bad]
        if not rows:
            raise InputError(f"no picture of {part.split} can be read", file=part.home)
        skipped += [part.ids[k] for k in sorted(bad)]
        _write_split(assembled, work, part, rows)
        images[part.split] = len(rows)
        start += len(part.ids)
    regions = read_json(work / "making.json")["regions"]
    made_with = {**task.backbone.made_with, "numpy": np.__version__}
    made_with |= {"regions": regions, "boxes": task.boxes_name}
    write_json(
        assembled / NOTE,
        {
            "features": task.backbone.identity,
            "made_with": made_with,
            "source": source,
            "images": images,
            "left_out": skipped,
        },
    )
    _link_pictures(assembled, task.sources, folder)
    for part in task.sources:
        if part.captions is None:
            load_own(assembled)
        else:
            require_loadable(assembled, part.split, folder)
    return assembled


def _write_split(target: Path, work: Path, source: Source, rows: Sequence[int]) -> None:
    for kind in ARRAYS:
        name = f"{source.split}_{kind}.npy"
        if len(rows) == len(source.ids):
            _link_or_copy(work / name, target / name)
        elif kind == "ims":
            _copy_rows(work / name, target / name, rows)
        else:
            save_array(target / name, np.load(work / name)[rows])
    captions = None if source.captions is None else [source.captions[k] for k in rows]
    write_texts(target, source.split, [source.ids[k] for k in rows], captions)
    if len(rows) == len(source.ids):  # annotations have an entry for every image
        for path in source.carried:
            if not (target / path.name).exists():
                _link_or_copy(path, target / path.name)


def _copy_rows(path: Path, out: Path, rows: Sequence[int]) -> None:
    """Copy some rows of a large array, a few at a time."""
    values = np.load(path, mmap_mode="r")
    copied = open_array(out, np.float32, (len(rows), *values.shape[1:]))
    for start in range(0, len(rows), BLOCK):
        copied[start : start + BLOCK] = values[rows[start : start + BLOCK]]
    copied.flush()


def _link_or_copy(path: Path, out: Path) -> None:
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
