"""Bottom-up-attention features into the SCAN layout, with boxes and the sizes of the pictures.

Two kinds of files are read:

* ``.tsv`` as the release has it: ``image_id, image_w, image_h, num_boxes, boxes, features``, the
  last two float32 in base64 (a file, or a folder of its parts);
* a folder with one ``.npz`` for each image: ``x`` or ``features [R, F]``, ``boxes`` or ``bbox``
  ``[R, 4]`` in pixels, and if known ``image_w`` and ``image_h``.

Features go to their rows one image after the other, whatever the order of the files, so memory
stays small. The folder is there whole, or not at all.

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
SAME = 1e-3, 1e-3  # relative and absolute difference of a record that is in the source twice


@dataclass(frozen=True, eq=False)
class Detected:
    """The regions of one image: ``features [R, F]``, ``boxes [R, 4]`` in pixels, and its size.

    ``image`` is the key that captions are found by, ``name`` what the source calls it.
    """

    image: str
    name: str
    features: np.ndarray
    boxes: np.ndarray
    size: tuple[int, int] | None
    file: Path
    row: int | None = None

    def __str__(self) -> str:
        """Return where the image was read, for messages."""
        return f"{self.name} in {self.file}" + (f", row {self.row}" if self.row else "")


@dataclass(frozen=True)
class Converted:
    """What was written, and how many images of the source have no captions."""

    folder: Path
    images: dict[str, int]
    shape: tuple[int, int]
    left_out: int

    def lines(self) -> list[str]:
        """Return what to tell: a line for each split, and what was left out."""
        regions, width = self.shape
        said = [f"{s}: {n} images, {regions} regions of {width}" for s, n in self.images.items()]
        return [*said, f"{self.left_out} images of the source have no captions and were left out"]


def convert(
    source: Path | str,
    folder: Path | str,
    captions: Path | str,
    *,
    split: str | None = None,
    progress: bool = True,
) -> Converted:
    """Return what was written to ``folder``, a dataset in the SCAN layout made of region features.

    Args:
        source: a ``.tsv``, a folder of them, or a folder of ``.npz`` files.
        captions: see `caption_sources`; images come in its order, those without are left out.
        split: for caption files that don't say which split an image is in.

    Raises `InputError` when a record is broken, the number of regions changes, a captioned image
    has no features, there is no room, or the folder holds these splits already.
    """
    source, folder = Path(source), Path(folder)
    wanted = read_captioned(Path(captions), split)
    names = list(dict.fromkeys(image.split for image in wanted))
    _not_there(folder, names)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir()
    try:
        with space_checked(folder):
            done = _write(records(source), wanted, names, partial, progress, source)
            for name in names:
                require_loadable(partial, name, folder)
            _move(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Converted(folder, dict(Counter(image.split for image in wanted)), *done)


def records(source: Path) -> Iterator[Detected]:
    """Yield the images of a source; raises `InputError` for one without any."""
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
        found="nothing of the kind" if source.is_dir() else "no such file or folder",
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
                    remedy="if it is the last line, the file was cut off: download it again",
                ) from None
            yield _checked(Detected(image_key(image), image, features, boxes, size, file, row))


def _of_npz(file: Path) -> Iterator[Detected]:
    try:
        with np.load(file, allow_pickle=False) as content:
            there = {name: content[name] for name in (*FEATURES, *BOXES, *SIZE) if name in content}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise InputError("not a whole .npz file", file=file, found=str(error)) from None
    features, boxes = (
        next((there[name] for name in names if name in there), None) for names in (FEATURES, BOXES)
    )
    if features is None or boxes is None:
        raise InputError(
            "no features or no boxes",
            file=file,
            expected=f"{' or '.join(FEATURES)}, and {' or '.join(BOXES)}",
            found=", ".join(there) or "neither",
        )
    known = all(name in there for name in SIZE)
    size = (int(there[SIZE[0]]), int(there[SIZE[1]])) if known else None
    yield _checked(Detected(image_key(file.name), file.name, features, boxes, size, file))


def _checked(record: Detected) -> Detected:
    features, boxes = record.features, record.boxes
    if features.ndim != 2 or not features.size or boxes.shape != (len(features), 4):
        raise InputError(
            f"image {record.image}: features and boxes don't fit",
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
    """The files of one split, to be filled in any order."""

    regions: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray
    filled: dict[int, tuple[str, str]] = field(default_factory=dict)  # name and place in the source

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
        same = np.allclose(self.regions[place], record.features, *SAME)
        if (
            name != record.name
            or not same
            or not np.allclose(self.boxes[place], record.boxes, *SAME)
        ):
            raise InputError(
                f"two images share the key {record.image!r}",
                file=record.file,
                row=record.row,
                found=f"{before} and {record}",
                remedy="rename one of them, or remove it",
            )


def _write(
    found: Iterator[Detected],
    wanted: Sequence[Captioned],
    names: Sequence[str],
    folder: Path,
    progress: bool,
    source: Path,
) -> tuple[tuple[int, int], int]:
    """Write every file of the layout; return ``(R, F)`` and how many images were left out."""
    images = {name: [image for image in wanted if image.split == name] for name in names}
    place = {im.image: (name, i) for name in names for i, im in enumerate(images[name])}
    arrays: dict[str, _Arrays] = {}
    shape: tuple[int, int] | None = None
    left_out, sized = 0, set()
    for record in tqdm(found, desc="converting", unit="image", disable=not progress):
        if record.image not in place:
            left_out += 1
            continue
        if shape is None:
            regions, width = record.features.shape
            shape = (regions, width)
            _room(folder, len(wanted), *shape)
            arrays = {name: _opened(folder, name, len(images[name]), *shape) for name in names}
        if record.features.shape != shape:
            raise _another_shape(record, shape)
        name, row = place[record.image]
        arrays[name].put(row, record)
        sized.add(record.size is not None)
    _all_filled(arrays, images, source)
    for name, array in arrays.items():
        said = images[name]
        write_texts(folder, name, [image.image for image in said], [im.captions for im in said])
        if sized == {True}:
            save_array(folder / f"{name}_img_sizes.npy", array.sizes)
        save_array(folder / f"{name}_boxes.npy", array.boxes)
        array.regions.flush()  # type: ignore[attr-defined]
    assert shape is not None
    return shape, left_out


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


def _room(folder: Path, images: int, regions: int, width: int) -> None:
    needed = images * regions * (width + 4) * 4
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            "not enough room for the features",
            file=folder.parent,
            expected=f"{math.ceil(needed / 2**20)} MiB free",
            found=f"{free // 2**20} MiB",
        )


def _all_filled(
    arrays: dict[str, _Arrays], images: dict[str, list[Captioned]], source: Path
) -> None:
    missing = [
        image.image
        for name, there in images.items()
        for i, image in enumerate(there)
        if name not in arrays or i not in arrays[name].filled
    ]
    if missing:
        some = ", ".join(missing[:LISTED])
        raise InputError(
            "captioned images have no features",
            file=source,
            expected=f"{sum(map(len, images.values()))} images",
            found=f"{len(missing)} without, such as {some}",
            remedy="add the files that hold them, or take captions of these images only",
        )


def _not_there(folder: Path, names: Sequence[str]) -> None:
    there = [name for name in names if (folder / f"{name}_ims.npy").exists()]
    if there:
        raise InputError(
            "this folder has these splits already",
            file=folder,
            found=", ".join(there),
            remedy="name another folder, or remove their files",
        )


def _move(partial: Path, folder: Path) -> None:
    """Put the files in their place, features last: a split is there when they are."""
    folder.mkdir(exist_ok=True)
    files = sorted(partial.iterdir(), key=lambda file: file.name.endswith("_ims.npy"))
    for file in files:
        file.replace(folder / file.name)
