"""From pictures to region features in the SCAN layout: ``itm data make``.

Each picture is read, gets its boxes, and passes through the backbone by itself; its rows are
written, and after every few pictures a note says how far they are. A process that was killed is
thus continued where it stopped, and ends with the bytes of one that was not. The folder is there
whole, or not at all.

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
from filelock import FileLock, Timeout
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
from itm_core.files import read_json, space_checked, write_json

GRID = Grid()
AT_ONCE = 32  # pictures between two notes of how far it is
ARRAYS = {"ims": np.float32, "boxes": np.float32, "img_sizes": np.int32}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Made:
    """A finished folder: images of each split, ``(R, F)``, and what was damaged and left out."""

    folder: Path
    images: dict[str, int]
    shape: tuple[int, int]
    left_out: list[str]

    def lines(self) -> list[str]:
        """Return what to tell: a line for each split, then the damaged files."""
        regions, width = self.shape
        said = [f"{s}: {n} images, {regions} regions of {width}" for s, n in self.images.items()]
        return [*said, *(f"left out, damaged: {name}" for name in self.left_out)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """What is to be made. Without ``boxes`` a dataset's own are taken, else the layout."""

    sources: Sequence[Source]
    backbone: Backbone
    boxes: Boxes | None = None

    @property
    def total(self) -> int:
        """All pictures."""
        return sum(len(source.ids) for source in self.sources)

    @property
    def boxes_name(self) -> str:
        """Where the boxes are from."""
        if self.boxes is not None:
            return self.boxes.name
        own = any(source.boxes is not None for source in self.sources)
        return "the dataset's own" if own else GRID.name

    def boxes_of(self, source: Source, k: int, picture: np.ndarray) -> np.ndarray:
        """Return the boxes ``[R, 4]`` of a picture."""
        if self.boxes is None and source.boxes is not None:
            return np.asarray(source.boxes[k])
        return (self.boxes or GRID)(source.split, k, source.ids[k], picture)

    def fingerprint(self) -> str:
        """Return a hash of everything that the features are made of."""
        parts: list[Any] = [self.backbone.identity, self.boxes_name]
        for source in self.sources:
            own = b"" if source.boxes is None else np.ascontiguousarray(source.boxes).tobytes()
            parts.append([source.split, source.ids, source.stamps, source.captions, _hash(own)])
        return _hash(json.dumps(parts, default=list).encode())


def make_features(
    task: Task, folder: Path | str, *, skip_damaged: bool = False, progress: bool = True
) -> Made:
    """Return the folder with the features of a task, making what is not there already.

    A folder that was made before is returned as it is, or made anew when pictures, boxes or
    backbone have changed since.

    Args:
        skip_damaged: leave out photographs that cannot be read, instead of stopping there.

    Raises `InputError` for a damaged photograph (what was made until then is kept), a folder that
    holds something else, too little space, or another process at work.
    """
    folder = Path(folder)
    source = task.fingerprint()
    done = _there(folder, source)
    if done:
        return done
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.with_name(f".{folder.name}.partial")
    try:
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0), space_checked(folder):
            damaged = _Work(work, task, source, folder).run(skip_damaged, progress)
            whole = _assembled(work / "whole", work, task, damaged, source, folder)
            swap(whole, folder)
            shutil.rmtree(work)
    except Timeout:
        raise InputError("another process makes these features", file=folder) from None
    found = _there(folder, source)
    assert found is not None
    return found


def _there(folder: Path, source: str) -> Made | None:
    """Return what is in a folder; None when it is to be made or made anew."""
    note = read_note(folder)
    if note is None:
        if folder.exists() and any(folder.iterdir()):
            remedy = "name another folder: --out"
            raise InputError("this folder holds something else", file=folder, remedy=remedy)
        return None
    if note["source"] != source:
        return None
    shape = (note["made_with"]["regions"], note["features"]["width"])
    return Made(folder, note["images"], shape, note["left_out"])


class _Work:
    """The unfinished folder: arrays as long as if nothing were damaged, and how far they are."""

    def __init__(self, work: Path, task: Task, source: str, folder: Path) -> None:
        self.task, self.place, self.path = task, folder, work / "making.json"
        state = read_json(self.path) if self.path.exists() else {}
        if state.get("source") != source:
            shutil.rmtree(work, ignore_errors=True)
            state = {"source": source, "done": 0, "damaged": [], "regions": 0}
            work.mkdir(parents=True)
        self.state: dict[str, Any] = state
        self.arrays: dict[tuple[str, str], np.memmap] = {}
        if state["regions"]:  # else nothing has been written yet
            for name in ((s.split, kind) for s in task.sources for kind in ARRAYS):
                self.arrays[name] = np.load(self._file(*name), mmap_mode="r+")

    def run(self, skip_damaged: bool, progress: bool) -> list[int]:
        """Make what is lacking; return the places of damaged pictures among all of them."""
        pictures = [(source, k) for source in self.task.sources for k in range(len(source.ids))]
        start = self.state["done"]
        bar = tqdm(pictures, desc="features", unit="image", initial=start, disable=not progress)
        bar.total = len(pictures)
        try:
            for place in range(start, len(pictures)):
                self._one(place, *pictures[place], skip_damaged)
                self.state["done"] = place + 1
                bar.update()
                if (place + 1) % AT_ONCE == 0:
                    self._keep()
        finally:
            self._keep()
            bar.close()
        return list(self.state["damaged"])

    def _one(self, place: int, source: Source, k: int, skip_damaged: bool) -> None:
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

    def _keep(self) -> None:
        """Write rows to the disk, then how many they are: never the other way round."""
        for values in self.arrays.values():
            values.flush()
        write_json(self.path, self.state)


def _assembled(
    whole: Path, work: Path, task: Task, damaged: Sequence[int], source: str, folder: Path
) -> Path:
    """Return the finished folder, beside its place: damaged rows taken out, texts, the note."""
    shutil.rmtree(whole, ignore_errors=True)  # of a process that was killed
    whole.mkdir()
    images, left_out, start = {}, [], 0
    for one in task.sources:
        bad = {place - start for place in damaged if start <= place < start + len(one.ids)}
        kept = [k for k in range(len(one.ids)) if k not in bad]
        if not kept:
            raise InputError(f"no picture of {one.split} can be read", file=one.home)
        left_out += [one.ids[k] for k in sorted(bad)]
        _write_split(whole, work, one, kept)
        images[one.split] = len(kept)
        start += len(one.ids)
    regions = read_json(work / "making.json")["regions"]
    made_with = {**task.backbone.made_with, "numpy": np.__version__}
    made_with |= {"regions": regions, "boxes": task.boxes_name}
    write_json(
        whole / NOTE,
        {
            "features": task.backbone.identity,
            "made_with": made_with,
            "source": source,
            "images": images,
            "left_out": left_out,
        },
    )
    _link_pictures(whole, task.sources, folder)
    for one in task.sources:
        if one.captions is None:
            load_own(whole)
        else:
            require_loadable(whole, one.split, folder)
    return whole


def _write_split(whole: Path, work: Path, source: Source, kept: Sequence[int]) -> None:
    for kind in ARRAYS:
        name = f"{source.split}_{kind}.npy"
        if len(kept) == len(source.ids):
            _same(work / name, whole / name)
        elif kind == "ims":
            _taken(work / name, whole / name, kept)
        else:
            save_array(whole / name, np.load(work / name)[kept])
    said = source.captions
    captions = None if said is None else [said[k] for k in kept]
    write_texts(whole, source.split, [source.ids[k] for k in kept], captions)
    if len(kept) == len(source.ids):  # truths of a dataset count its images
        for path in source.carried:
            if not (whole / path.name).exists():
                _same(path, whole / path.name)


def _taken(path: Path, out: Path, kept: Sequence[int]) -> None:
    """Copy some rows of a large array, a few at a time."""
    values = np.load(path, mmap_mode="r")
    rows = open_array(out, np.float32, (len(kept), *values.shape[1:]))
    for start in range(0, len(kept), AT_ONCE):
        rows[start : start + AT_ONCE] = values[kept[start : start + AT_ONCE]]
    rows.flush()


def _same(path: Path, out: Path) -> None:
    """Put a file in a second place, without a copy where the disk can."""
    try:
        os.link(path, out)
    except OSError:
        shutil.copy2(path, out)


def _link_pictures(whole: Path, sources: Sequence[Source], folder: Path) -> None:
    """Let ``pictures`` lead to the photographs, which stay where they are."""
    home = sources[0].home
    if home is not None:
        (whole / "pictures").symlink_to(os.path.relpath(home.resolve(), folder.resolve()))
