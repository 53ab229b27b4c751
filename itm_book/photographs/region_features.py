"""From pictures to region features in the SCAN layout: ``itm data make``.

Each picture is read and passes through the backbone by itself, with one thread, in this process or
in one of several; its rows are written in order, and the progress is noted every few pictures. So a
killed process is resumed where it stopped, and ends with the same bytes as an uninterrupted one,
with any number of processes. The folder is written atomically.

Page: "From photographs to features", "Your pictures".
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from itm_book.datasets.layout_writing import open_array
from itm_book.folders import require_name, require_space, swap
from itm_book.photographs.backbones import Backbone
from itm_book.photographs.layout_assembly import (
    ARRAYS,
    assemble,
    keep_vocabulary,
    require_dividable,
)
from itm_book.photographs.picture_sources import Source
from itm_book.regions.region_boxes import Boxes, Grid
from itm_core.data.dataset import VOCABULARY
from itm_core.data.feature_notes import read_note
from itm_core.data.photographs import PhotographError
from itm_core.errors import InputError
from itm_core.files import locked, make_folder, space_checked
from itm_core.json_files import read_json, write_json
from itm_core.parallel import run_parallel
from itm_core.settings import at_least

GRID = Grid()
BLOCK = 32  # pictures between two notes of the progress
CHUNK = 8  # pictures that a process computes at a time
PROGRESS = "progress.json"
NAMED = 3  # unused photographs that the summary names


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class MadeFeatures:
    """A finished folder.

    Attributes:
        images: number of images of each split.
        shape: ``(R, F)``.
        skipped: name and reason of each damaged photograph that was skipped.
        unused: names of the photographs that are in no split.
        not_carried: files of the dataset that were not copied, as pictures were skipped.
        vocabulary: what became of the vocabulary of the replaced folder, if it had one.
        removed: other files of the replaced folder that this does not write.
    """

    folder: Path
    images: dict[str, int]
    shape: tuple[int, int]
    skipped: list[str]
    unused: Sequence[str]
    not_carried: Sequence[str] = ()
    vocabulary: str = ""
    removed: Sequence[str] = ()

    def lines(self) -> list[str]:
        """Return a line for each split, for the unused photographs, and for each damaged one."""
        regions, width = self.shape
        lines = [f"{s}: {n} images, {regions} regions of {width}" for s, n in self.images.items()]
        if self.unused:
            names = ", ".join(self.unused[:NAMED])
            more = ", ..." if len(self.unused) > NAMED else ""
            lines.append(f"photographs that no caption or split names: {len(self.unused)}")
            lines[-1] += f" ({names}{more})"
        if self.skipped:
            lines.append(f"damaged photographs, skipped: {len(self.skipped)}")
            lines += [f"    {line}" for line in self.skipped]
        if self.not_carried:
            lines.append(f"not copied, as it describes those too: {', '.join(self.not_carried)}")
        if self.vocabulary:
            lines.append(f"vocabulary of the replaced features: {self.vocabulary}")
        if self.removed:
            lines.append(f"removed with the replaced features: {', '.join(self.removed)}")
        return lines


@dataclass(frozen=True, eq=False)
class Described:
    """The rows of one picture: features ``[R, F]``, boxes ``[R, 4]``, width and height."""

    features: np.ndarray
    boxes: np.ndarray
    size: tuple[int, int]


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

    def describe(self, source: int, k: int) -> Described:
        """Return the rows of the k-th picture of a source, computed with one thread.

        Raises `PhotographError` for a damaged picture, `InputError` for features that are not
        finite and for boxes that are missing or invalid.
        """
        return self.describe_pixels(source, k, self.sources[source].picture(k))

    def describe_pixels(self, source: int, k: int, picture: np.ndarray) -> Described:
        """Return the rows of a picture ``[H, W, 3]`` that was read already, as `describe` does."""
        pictures = self.sources[source]
        with _one_thread():  # so features do not depend on the number of cores
            boxes = self.boxes_of(pictures, k, picture)
            features = self.backbone(picture, boxes)
        if not np.isfinite(features).all():
            raise InputError(f"the backbone gives NaN or infinity for {pictures.ids[k]}")
        return Described(features, boxes, (picture.shape[1], picture.shape[0]))

    def pickled(self) -> bytes:
        """Return what `describe` needs, for another process."""
        sources = [replace(source, captions=None, carried=()) for source in self.sources]
        return pickle.dumps(replace(self, sources=sources))

    def note(self, regions: int) -> dict[str, Any]:
        """Return the parts of the note that tell how the features were made."""
        made_with = {**self.backbone.made_with, "numpy": np.__version__}
        made_with |= {"regions": regions, "boxes": self.boxes_name}
        return {"features": self.backbone.identity, "made_with": made_with}

    def fingerprint(self) -> str:
        """Return a hash of everything that determines the features."""
        parts: list[Any] = [self.backbone.identity, self.boxes_name]
        for source in self.sources:
            boxes = b"" if source.boxes is None else np.ascontiguousarray(source.boxes).tobytes()
            parts.append([source.split, source.ids, source.stamps, source.captions, _hash(boxes)])
        return _hash(json.dumps(parts, default=list).encode())


def make_features(
    task: Task,
    folder: Path | str,
    *,
    skip_damaged: bool = False,
    workers: int = 1,
    progress: bool = True,
) -> MadeFeatures:
    """Compute the features of a task unless they exist, and return their folder.

    An existing folder is returned unchanged, or replaced when pictures, boxes or backbone have
    changed; of files that others wrote there the vocabulary is kept while captions are the same.

    Args:
        skip_damaged: skip photographs that cannot be read, instead of raising.
        workers: number of processes; features do not depend on it. One is started for `BLOCK`
            pictures or part of them, at most.

    Raises `InputError` for a damaged photograph (finished ones are kept), a folder with other
    files, annotations of another length that damaged photographs would be left out of, too little
    disk space, or another process that writes to it.
    """
    at_least("workers", workers, 1)
    folder = require_name(folder)
    source = task.fingerprint()
    work = folder.with_name(f".{folder.name}.partial")
    lock = folder.with_name(f".{folder.name}.lock")
    existing = _existing(folder, source, task)
    if existing:
        if work.exists():
            with suppress(InputError), locked(lock, "another process uses it"):
                if _progress(work).get("source", source) == source:
                    shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
        return existing
    if skip_damaged:
        require_dividable(task.sources)  # rather than after hours of computing
    make_folder(folder.parent)
    with locked(lock, "another process makes these features", file=folder), space_checked(folder):
        damaged = _Work(work, task, source, folder).run(skip_damaged, workers, progress)
        note = task.note(_progress(work)["regions"]) | {"source": source}
        not_carried = assemble(work / "whole", work, task.sources, note, damaged, folder)
        vocabulary = keep_vocabulary(folder, work / "whole")
        removed = _removed(folder, work / "whole")
        swap(work / "whole", folder)
        shutil.rmtree(work, ignore_errors=True)
    features = _existing(folder, source, task)
    assert features is not None
    return replace(features, not_carried=not_carried, vocabulary=vocabulary, removed=removed)


def _removed(folder: Path, new: Path) -> list[str]:
    """Return the files of a replaced folder, besides the vocabulary, that the new one lacks."""
    before = [path.name for path in folder.iterdir()] if folder.exists() else []
    return sorted(n for n in before if n != VOCABULARY and not os.path.lexists(new / n))


def _existing(folder: Path, source: str, task: Task) -> MadeFeatures | None:
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
    unused = task.sources[0].unused
    return MadeFeatures(folder, note["images"], shape, note["left_out"], unused)


def _progress(work: Path) -> dict[str, Any]:
    """Return how far an unfinished folder is; empty where there is none."""
    path = work / PROGRESS
    return read_json(path) if path.exists() else {}


class _Work:
    """The unfinished folder: arrays with a row for every picture, and the progress."""

    def __init__(self, work: Path, task: Task, source: str, folder: Path) -> None:
        self.task, self.place, self.path = task, folder, work / PROGRESS
        state = _progress(work)
        if state.get("source") != source:
            shutil.rmtree(work, ignore_errors=True)
            state = {"source": source, "done": 0, "damaged": [], "regions": 0}
            work.mkdir(parents=True)
        self.state: dict[str, Any] = state
        self.arrays: dict[tuple[str, str], np.memmap] = {}
        if state["regions"]:  # otherwise nothing has been written yet
            for name in ((s.split, kind) for s in task.sources for kind in ARRAYS):
                self.arrays[name] = np.load(self._file(*name), mmap_mode="r+")

    def run(self, skip_damaged: bool, workers: int, progress: bool) -> dict[int, str]:
        """Compute the missing features; return the reason of each damaged picture by its place."""
        sources = enumerate(self.task.sources)
        places = [(s, k) for s, source in sources for k in range(len(source.ids))]
        start = self.state["done"]
        bar = tqdm(places, desc="features", unit="image", initial=start, disable=not progress)
        bar.total = len(places)
        try:
            with closing(described(self.task, places[start:], workers)) as computed:
                for place, rows in enumerate(computed, start):
                    self._write(place, *places[place], rows, skip_damaged)
                    self.state["done"] = place + 1
                    bar.update()
                    if (place + 1) % BLOCK == 0:
                        self._save()
        finally:
            self._save()
            bar.close()
        return dict(self.state["damaged"])

    def _write(
        self, place: int, source: int, k: int, rows: Described | InputError, skip_damaged: bool
    ) -> None:
        if isinstance(rows, PhotographError) and skip_damaged:
            self.state["damaged"].append((place, rows.reason))
            return
        if isinstance(rows, InputError):
            raise rows
        if not self.arrays:
            self._open(len(rows.features))
        split = self.task.sources[source].split
        for kind, values in zip(ARRAYS, (rows.features, rows.boxes, rows.size), strict=True):
            self.arrays[split, kind][k] = values

    def _open(self, regions: int) -> None:
        width = self.task.backbone.width
        require_space(self.place, self.task.total * regions * (width + 4) * 4, "write the features")
        for source in self.task.sources:
            shapes = ((regions, width), (regions, 4), (2,))
            for (kind, dtype), shape in zip(ARRAYS.items(), shapes, strict=True):
                path = self._file(source.split, kind)
                self.arrays[source.split, kind] = open_array(path, dtype, (len(source.ids), *shape))
        self.state["regions"] = regions  # last: an interrupted start creates them all again

    def _file(self, split: str, kind: str) -> Path:
        return self.path.with_name(f"{split}_{kind}.npy")

    def _save(self) -> None:
        """Write the rows to disk, then the progress, in this order."""
        for values in self.arrays.values():
            values.flush()
        write_json(self.path, self.state)


def described(
    task: Task, places: Sequence[tuple[int, int]], workers: int
) -> Generator[Described | InputError]:
    """Yield the rows of pictures in order, or the errors that stopped them.

    Args:
        places: index of the source and of the picture in it.
        workers: number of processes, see `make_features`.
    """
    workers = min(workers, -(-len(places) // BLOCK))
    if workers <= 1:
        yield from (_rows_or_error(task, *place) for place in places)
        return
    chunks = [places[i : i + CHUNK] for i in range(0, len(places), CHUNK)]
    function = partial(_describe_chunk, task.pickled())
    options: dict[str, Any] = {"workers": workers, "threads": 1, "progress": False}
    with closing(run_parallel(function, chunks, **options)) as results:
        yield from chain.from_iterable(results)


def _describe_chunk(
    pickled: bytes, places: Sequence[tuple[int, int]]
) -> list[Described | InputError]:
    """Return the rows of a few pictures, in another process."""
    task = _unpickled(pickled)
    return [_rows_or_error(task, *place) for place in places]


@lru_cache(maxsize=1)
def _unpickled(task: bytes) -> Task:
    """Return the task, opened once in each process."""
    return pickle.loads(task)


def _rows_or_error(task: Task, source: int, k: int) -> Described | InputError:
    try:
        return task.describe(source, k)
    except InputError as error:
        return error


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute with one thread inside the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
