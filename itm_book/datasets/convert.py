"""Converts bottom-up-attention features to the SCAN layout, with boxes and image sizes.

Two formats are read:

* ``.tsv`` as released: ``image_id, image_w, image_h, num_boxes, boxes, features``, the
  last two float32 in base64 (a file, or a folder of its parts);
* a folder with one ``.npz`` for each image: ``x`` or ``features [R, F]``, ``boxes`` or ``bbox``
  ``[R, 4]`` in pixels, and optionally ``image_w`` and ``image_h``.

One image is in memory at a time; files may be in any order. The folder is written atomically.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

import base64
import binascii
import math
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from itm_book.datasets.caption_sources import Captioned, image_key, read_captioned
from itm_book.datasets.layout_writing import open_array, require_loadable, save_array, write_texts
from itm_core.errors import InputError
from itm_core.files import space_checked

COLUMNS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
FEATURES, BOXES, SIZE = ("x", "features"), ("boxes", "bbox"), ("image_w", "image_h")  # of .npz
LISTED = 3  # images without features that a message names
TOLERANCE = 1e-3, 1e-3  # relative and absolute, between two records of one image


@dataclass(frozen=True, eq=False)
class Detected:
    """The regions of one image: ``features [R, F]``, ``boxes [R, 4]`` in pixels, and its size.

    ``image`` is the key that captions refer to, ``name`` the name in the source.
    """

    image: str
    name: str
    features: np.ndarray
    boxes: np.ndarray
    size: tuple[int, int] | None
    file: Path
    row: int | None = None

    def __str__(self) -> str:
        """Return name, file and row of the image, for messages."""
        return f"{self.name} in {self.file}" + (f", row {self.row}" if self.row else "")


@dataclass(frozen=True)
class Converted:
    """Folder, images per split, ``(R, F)``, and the number of images without captions."""

    folder: Path
    images: dict[str, int]
    shape: tuple[int, int]
    skipped: int

    def lines(self) -> list[str]:
        """Return a line of text for each split, and one for the skipped images."""
        regions, width = self.shape
        splits = [f"{s}: {n} images, {regions} regions of {width}" for s, n in self.images.items()]
        return [*splits, f"{self.skipped} images of the source without captions were skipped"]


def convert(
    source: Path | str,
    folder: Path | str,
    captions: Path | str,
    *,
    split: str | None = None,
    per_image: int | None = None,
    progress: bool = True,
) -> Converted:
    """Write a dataset in the SCAN layout to ``folder`` and return its contents.

    Args:
        source: a ``.tsv``, a folder of them, or a folder of ``.npz`` files.
        captions: see `caption_sources`; it sets the order; images without captions are skipped.
        split: for caption files without splits.
        per_image: the largest number of captions of an image, the first ones; all by default.

    Raises `InputError` when a record is damaged, the number of regions varies, a captioned image
    has no features, there is no disk space, or the folder has one of these splits already.
    """
    source, folder = Path(source), Path(folder)
    images = read_captioned(Path(captions), split, per_image)
    names = list(dict.fromkeys(image.split for image in images))
    _require_new_splits(folder, names)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir()
    try:
        with space_checked(folder):
            shape, skipped = _write(records(source), images, names, partial, progress, source)
            for name in names:
                require_loadable(partial, name, folder)
            _move(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    counts = dict(Counter(image.split for image in images))
    return Converted(folder, counts, shape, skipped)


def records(source: Path) -> Iterator[Detected]:
    """Yield the images of a source; raises `InputError` when there are none."""
    if source.is_file():
        return _of_tsv(source)
    for ending, read in ((".tsv", _of_tsv), (".npz", _of_npz)):
        files = sorted(source.glob(f"*{ending}"))
        if files:
            return (record for file in files for record in read(file))
    raise InputError(
        "no region features here",
        file=source,
        expected="a .tsv file, or a folder of .tsv or .npz files",
        found="none" if source.is_dir() else "no such file or folder",
    )


def _of_tsv(file: Path) -> Iterator[Detected]:
    with file.open("rb") as lines:
        for row, line in enumerate(lines, 1):
            cells = line.rstrip(b"\r\n").split(b"\t")
            try:
                if len(cells) != len(COLUMNS):
                    raise ValueError(f"{len(cells)} columns")
                image, wide, high, count = (cell.decode() for cell in cells[:4])
                boxes, features = (
                    np.frombuffer(base64.b64decode(cell, validate=True), "<f4").reshape(
                        int(count), -1
                    )
                    for cell in cells[4:]
                )
                size = int(wide), int(high)
            except (ValueError, binascii.Error) as error:
                raise InputError(
                    "not a line of region features",
                    file=file,
                    row=row,
                    expected=f"{', '.join(COLUMNS)} between tabs",
                    found=str(error),
                    remedy="if it is the last line, the file is truncated: download it again",
                ) from None
            yield _checked(Detected(image_key(image), image, features, boxes, size, file, row))


def _of_npz(file: Path) -> Iterator[Detected]:
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in (*FEATURES, *BOXES, *SIZE) if name in content}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise InputError("damaged .npz file", file=file, found=str(error)) from None
    features, boxes = (
        next((arrays[name] for name in names if name in arrays), None)
        for names in (FEATURES, BOXES)
    )
    if features is None or boxes is None:
        raise InputError(
            "no features or no boxes",
            file=file,
            expected=f"{' or '.join(FEATURES)}, and {' or '.join(BOXES)}",
            found=", ".join(arrays) or "neither",
        )
    sized = all(name in arrays for name in SIZE)
    size = (int(arrays[SIZE[0]]), int(arrays[SIZE[1]])) if sized else None
    yield _checked(Detected(image_key(file.name), file.name, features, boxes, size, file))


def _checked(record: Detected) -> Detected:
    features, boxes = record.features, record.boxes
    if features.ndim != 2 or not features.size or boxes.shape != (len(features), 4):
        raise InputError(
            f"image {record.image}: features and boxes do not match",
            file=record.file,
            row=record.row,
            expected="features [R, F] and boxes [R, 4]",
            found=f"{list(features.shape)} and {list(boxes.shape)}",
        )
    if not (np.isfinite(features).all() and np.isfinite(boxes).all()):
        raise InputError(f"image {record.image}: NaN or infinity", file=record.file, row=record.row)
    return record


@dataclass
class _Arrays:
    """The arrays of one split, filled in any order."""

    regions: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray
    filled: dict[int, tuple[str, str]] = field(default_factory=dict)  # row: name and source

    def put(self, place: int, record: Detected) -> None:
        """Write one image; a repeated record is skipped, as parts of the release overlap.

        Raises `InputError` when the repeated record has another name or other regions.
        """
        if place in self.filled:
            self._require_repetition(place, record)
            return
        self.regions[place], self.boxes[place] = record.features, record.boxes
        self.sizes[place] = record.size or (0, 0)
        self.filled[place] = record.name, str(record)

    def _require_repetition(self, place: int, record: Detected) -> None:
        name, before = self.filled[place]
        # features computed twice on a GPU differ by rounding
        equal_features = np.allclose(self.regions[place], record.features, *TOLERANCE)
        if (
            name != record.name
            or not equal_features
            or not np.allclose(self.boxes[place], record.boxes, *TOLERANCE)
        ):
            raise InputError(
                f"two images share the key {record.image!r}",
                file=record.file,
                row=record.row,
                found=f"{before} and {record}",
                remedy="rename one of them, or remove it",
            )


def _write(
    source_images: Iterator[Detected],
    captioned: Sequence[Captioned],
    names: Sequence[str],
    folder: Path,
    progress: bool,
    source: Path,
) -> tuple[tuple[int, int], int]:
    """Write every file of the layout; return ``(R, F)`` and the number of skipped images."""
    images = {name: [image for image in captioned if image.split == name] for name in names}
    place = {im.image: (name, i) for name in names for i, im in enumerate(images[name])}
    arrays: dict[str, _Arrays] = {}
    shape: tuple[int, int] | None = None
    skipped, sized = 0, set()
    for record in tqdm(source_images, desc="converting", unit="image", disable=not progress):
        if record.image not in place:
            skipped += 1
            continue
        if shape is None:
            regions, width = record.features.shape
            shape = (regions, width)
            _require_space(folder, len(captioned), *shape)
            arrays = {name: _opened(folder, name, len(images[name]), *shape) for name in names}
        if record.features.shape != shape:
            raise _another_shape(record, shape)
        name, row = place[record.image]
        arrays[name].put(row, record)
        sized.add(record.size is not None)
    _require_all(arrays, images, source)
    for name, array in arrays.items():
        of_split = images[name]
        ids = [image.image for image in of_split]
        write_texts(folder, name, ids, [image.captions for image in of_split])
        if sized == {True}:
            save_array(folder / f"{name}_img_sizes.npy", array.sizes)
        save_array(folder / f"{name}_boxes.npy", array.boxes)
        array.regions.flush()  # type: ignore[attr-defined]
    assert shape is not None
    return shape, skipped


def _another_shape(record: Detected, shape: tuple[int, int]) -> InputError:
    return InputError(
        f"image {record.image} has another number of regions or another width",
        file=record.file,
        row=record.row,
        expected=f"{shape[0]} regions of {shape[1]}, as before",
        found=f"{record.features.shape[0]} of {record.features.shape[1]}",
        remedy="take the features with a fixed number of regions (36), not 10 to 100",
    )


def _opened(folder: Path, name: str, images: int, regions: int, width: int) -> _Arrays:
    values = open_array(folder / f"{name}_ims.npy", np.float32, (images, regions, width))
    boxes = np.zeros((images, regions, 4), np.float32)
    return _Arrays(values, boxes, np.zeros((images, 2), np.int32))


def _require_space(folder: Path, images: int, regions: int, width: int) -> None:
    needed = images * regions * (width + 4) * 4
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            "not enough disk space for the features",
            file=folder.parent,
            expected=f"{math.ceil(needed / 2**20)} MiB free",
            found=f"{free // 2**20} MiB",
        )


def _require_all(
    arrays: dict[str, _Arrays], images: dict[str, list[Captioned]], source: Path
) -> None:
    missing = [
        image.image
        for name, of_split in images.items()
        for i, image in enumerate(of_split)
        if name not in arrays or i not in arrays[name].filled
    ]
    if missing:
        examples = ", ".join(missing[:LISTED])
        raise InputError(
            "captioned images have no features",
            file=source,
            expected=f"{sum(map(len, images.values()))} images",
            found=f"{len(missing)} without, such as {examples}",
            remedy="add the files that hold them, or take captions of these images only",
        )


def _require_new_splits(folder: Path, names: Sequence[str]) -> None:
    existing = [name for name in names if (folder / f"{name}_ims.npy").exists()]
    if existing:
        raise InputError(
            "this folder has these splits already",
            file=folder,
            found=", ".join(existing),
            remedy="name another folder, or remove their files",
        )


def _move(partial: Path, folder: Path) -> None:
    """Move the files to their folder, features last: a split exists when they do."""
    folder.mkdir(exist_ok=True)
    files = sorted(partial.iterdir(), key=lambda file: file.name.endswith("_ims.npy"))
    for file in files:
        file.replace(folder / file.name)
