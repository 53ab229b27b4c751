"""Folders with a file for each image, .npz or .npy; boxes may be in another folder.

* bottom-up-attention.pytorch: ``x [R, F]`` and ``bbox [R, 4]``, and ``image_w``, ``image_h``.
* cocobu of *self-critical* captioning: ``feat [R, F]`` in ``cocobu_att/391895.npz``, boxes
  ``[R, 4]`` in ``cocobu_box/391895.npy``, or without boxes.
* ``name.npy`` with ``[R, F]``.

Page: "Which files does it read?".
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from itm_book.datasets.region_sources.numpy_files import npz_arrays
from itm_book.datasets.region_sources.record import (
    BOXES,
    FEATURES,
    Detected,
    Entry,
    array_of,
    checked,
    from_arrays,
)
from itm_core.data.arrays import mapped
from itm_core.data.photographs import image_key
from itm_core.errors import InputError
from itm_core.files import unique_keys


def file_entries(files: Sequence[Path], boxes: BoxFiles | None = None) -> Iterator[Entry]:
    """Yield the images of .npz or .npy files; a file is opened when its image is read."""
    for file in files:
        yield Entry(image_key(file.name), partial(_detected, file, boxes))


def _detected(file: Path, boxes: BoxFiles | None) -> Detected:
    record = from_arrays(file.name, open_arrays(file, FEATURES[1], _to_archive), file)
    if boxes is not None:
        return checked(replace(record, boxes=boxes.of(file.name)))
    if record.boxes is None and record.features.shape[1] == 4:
        raise InputError(
            f"image {record.image} has four numbers a region, as boxes have",
            file=file,
            remedy="name the folder of the features, and this one with --boxes",
        )
    return record


def holds_features(files: Sequence[Path]) -> bool:
    """Return whether records hold features, not boxes or other numbers alone, as the first shows.

    A file that cannot be read counts as one of features: its error is that of its image.
    """
    try:
        features = array_of(open_arrays(files[0], FEATURES[1]), FEATURES)
    except InputError:
        return True
    return features is not None and features.shape[-1:] != (4,)


def _to_archive(file: Path) -> str:
    """Return the remedy for a pickled record: the command that writes an .npz beside it."""
    program = (
        "import sys, pathlib, numpy as np; "
        "[np.savez(pathlib.Path(p).with_suffix('.npz'), "
        "**np.asarray(np.load(p, allow_pickle=True)).item()) for p in sys.argv[1:]]"
    )
    line = shlex.join(["python", "-c", program, str(file)])
    return (
        f"write its dictionary of arrays as .npz once: {line}; other such files may follow it. "
        "Of a folder with .npz files, no .npy are read"
    )


def open_arrays(
    file: Path, name: str, of_pickle: Callable[[Path], str] | None = None
) -> Mapping[str, Any]:
    """Return the arrays of an .npz file; of an .npy file, its array under a name.

    Raises `InputError` for a damaged file, and for pickled objects with the remedy that
    ``of_pickle`` returns.
    """
    if file.suffix.lower() == ".npy":
        return {name: mapped(file, of_pickle)}
    return npz_arrays(file)


class BoxFiles:
    """The boxes of images, in a folder with an .npy ``[R, 4]`` or an .npz for each."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            expected = "a folder of .npy or .npz, as the records are in one, too"
            raise InputError(
                "boxes of another form than the records", file=folder, expected=expected
            )
        self.folder = folder
        self.files: dict[str, list[Path]] = defaultdict(list)
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in (".npy", ".npz") and not file.name.startswith("."):
                self.files[image_key(file.name)].append(file)
        if not self.files:
            raise InputError("no boxes here", file=folder, expected="a folder of .npy or .npz")

    def of(self, name: str) -> np.ndarray:
        """Return the boxes of an image; raises `InputError` for none, and for two files."""
        key = image_key(name)
        files = unique_keys(((key, file) for file in self.files.get(key, ())), self.folder)
        if key not in files:
            raise InputError(f"no boxes of image {key}", file=self.folder / f"{key}.npy")
        boxes = array_of(open_arrays(files[key], BOXES[0]), BOXES)
        if boxes is None:
            raise InputError("no boxes in this file", file=files[key], expected=" or ".join(BOXES))
        return boxes
