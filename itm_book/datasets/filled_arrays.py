"""The arrays of a dataset that is being converted, filled with the records of a source.

Page: "Which files does it read?".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from itm_book.datasets.caption_sources import Captioned
from itm_book.datasets.layout_writing import open_array, save_array, write_texts
from itm_book.datasets.region_sources.record import Detected, Entry
from itm_book.folders import require_space
from itm_core.errors import InputError

TOLERANCE = 1e-3, 1e-3  # relative and absolute, between two records of one image


@dataclass
class _Arrays:
    """The arrays of one split, filled in any order; zero after an image's last region."""

    regions: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray
    lens: np.ndarray  # [I] numbers of regions
    filled: dict[int, tuple[str, str]] = field(default_factory=dict)  # row: name and source
    boxless: list[int] = field(default_factory=list)  # rows without boxes
    sizeless: list[int] = field(default_factory=list)  # rows without sizes

    def put(self, place: int, record: Detected) -> None:
        """Write one image; a repeated record is skipped, as parts of the release overlap.

        Raises `InputError` when the repeated record has another name or other regions.
        """
        if place in self.filled:
            self._require_repetition(place, record)
            return
        count = self.lens[place] = len(record.features)
        self.regions[place, :count] = record.features
        if record.boxes is None:
            self.boxless.append(place)
        else:
            self.boxes[place, :count] = record.boxes
        if record.size is None:
            self.sizeless.append(place)
        else:
            self.sizes[place] = record.size
        self.filled[place] = record.name, str(record)

    def _require_repetition(self, place: int, record: Detected) -> None:
        name, before = self.filled[place]
        count = len(record.features)
        # features computed twice on a GPU differ by rounding
        if (
            name != record.name
            or count != self.lens[place]
            or not np.allclose(self.regions[place, :count], record.features, *TOLERANCE)
            or (place in self.boxless) != (record.boxes is None)
            or not np.allclose(self.boxes[place, :count], _or_zeros(record.boxes), *TOLERANCE)
        ):
            raise InputError(
                f"two images share the key {record.image!r}",
                file=record.file,
                row=record.row,
                found=f"{before} and {record}",
                remedy="rename one of them, or remove it",
            )

    def copy_to(self, wide: _Arrays) -> None:
        """Copy the images to arrays with more regions."""
        for name in ("sizes", "lens"):
            getattr(wide, name)[:] = getattr(self, name)
        for place in self.filled:
            count = self.lens[place]
            wide.regions[place, :count] = self.regions[place, :count]
            wide.boxes[place, :count] = self.boxes[place, :count]
        wide.filled, wide.boxless, wide.sizeless = self.filled, self.boxless, self.sizeless


def _or_zeros(boxes: np.ndarray | None) -> np.ndarray | float:
    return 0.0 if boxes is None else boxes


class FilledArrays:
    """The arrays of all splits, filled from the records of a source.

    Where images have different numbers of regions, the arrays have the largest, and grow with it.

    Attributes:
        shape: ``(R, F)``.
        seen: keys of all records.
        broken: errors of records that cannot be read, by key.
        skipped: number of whole records that belong to no captioned image.
        cut: keys of images with more regions than were kept.
    """

    def __init__(
        self,
        folder: Path,
        captioned: Sequence[Captioned],
        ids: Mapping[str, str] | None = None,
        *,
        most: int | None = None,
    ) -> None:
        """Take the images; ``ids`` holds the key of each in the source, default: its own.

        Of an image with more regions the first ``most`` are kept.
        """
        self.folder, self.most = folder, most
        self.images: dict[str, list[Captioned]] = {}
        self.place: dict[str, tuple[str, int]] = {}
        self.key = {im.image: ids[im.image] if ids else im.image for im in captioned}
        for image in captioned:
            of_split = self.images.setdefault(image.split, [])
            self.place[self.key[image.image]] = image.split, len(of_split)
            of_split.append(image)
        self.arrays: dict[str, _Arrays] = {}
        self.shape: tuple[int, int] | None = None
        self.seen: set[str] = set()
        self.broken: dict[str | None, list[InputError]] = {}
        self.skipped = 0
        self.cut: set[str] = set()

    def fill(self, source: Iterable[Entry], progress: bool) -> None:
        """Read the records of captioned images, one at a time."""
        for entry in tqdm(source, desc="converting", unit="image", disable=not progress):
            if entry.image is not None:
                self.seen.add(entry.image)
            record: Detected | InputError | None = entry.broken
            if entry.image in self.place:
                record = _read(entry)
            elif record is None:
                self.skipped += 1
            if isinstance(record, InputError):
                self.broken.setdefault(entry.image, []).append(record)
            elif record is not None:
                self._put(record)

    def _put(self, record: Detected) -> None:
        if self.most is not None and len(record.features) > self.most:
            self.cut.add(record.image)
            record = _first_regions(record, self.most)
        regions, width = record.features.shape
        if self.shape is not None and width != self.shape[1]:
            raise _another_width(record, self.shape[1])
        if self.shape is None or regions > self.shape[0]:
            self._open((regions, width))
        name, row = self.place[record.image]
        self.arrays[name].put(row, record)

    def _open(self, shape: tuple[int, int]) -> None:
        """Open the arrays of all splits, or wider ones with what was read so far."""
        regions, width = shape
        needed = len(self.place) * regions * (width + 4) * 4
        require_space(self.folder.parent, needed, "write the features")
        for name, images in self.images.items():
            path = self.folder / f"{name}_ims.npy"
            arrays = _opened(path.with_suffix(".wider"), len(images), *shape)
            if name in self.arrays:
                self.arrays[name].copy_to(arrays)
            path.with_suffix(".wider").replace(path)
            self.arrays[name] = arrays
        self.shape = shape

    def missing(self) -> list[str]:
        """Return the images whose records are missing or damaged."""
        found = self.found()
        return [image for image in self.key if image not in found]

    def found(self) -> set[str]:
        """Return the images whose records were read."""
        return {images[row].image for s, images in self.images.items() for row in self._rows(s)}

    def _rows(self, split: str) -> Iterable[int]:
        return self.arrays[split].filled if split in self.arrays else ()

    @property
    def fewest(self) -> int:
        """The smallest number of regions of an image."""
        return min(int(array.lens.min()) for array in self.arrays.values())

    def write(self, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """Write every file of the layout; return the images without boxes, and without sizes."""
        boxless = [self.images[s][i].image for s in names for i in sorted(self.arrays[s].boxless)]
        sizeless = [self.images[s][i].image for s in names for i in sorted(self.arrays[s].sizeless)]
        for name in names:
            array, images = self.arrays[name], self.images[name]
            ids = [image.image for image in images]
            write_texts(self.folder, name, ids, [image.captions for image in images])
            if not sizeless:
                save_array(self.folder / f"{name}_img_sizes.npy", array.sizes)
            if not boxless:
                save_array(self.folder / f"{name}_boxes.npy", array.boxes)
            if (array.lens < array.regions.shape[1]).any():
                save_array(self.folder / f"{name}_region_lens.npy", array.lens)
            array.regions.flush()  # type: ignore[attr-defined]
        return boxless, sizeless


def _read(entry: Entry) -> Detected | InputError:
    try:
        return entry.read()
    except InputError as error:
        return error


def _first_regions(record: Detected, most: int) -> Detected:
    """Return the record with its first ``most`` regions, in the order of the source."""
    boxes = record.boxes
    return replace(
        record, features=record.features[:most], boxes=None if boxes is None else boxes[:most]
    )


def _another_width(record: Detected, width: int) -> InputError:
    return InputError(
        f"image {record.image} has features of another width",
        file=record.file,
        row=record.row,
        expected=f"{width} numbers a region, as before",
        found=record.features.shape[1],
        remedy="are these the features of two detectors?",
    )


def _opened(path: Path, images: int, regions: int, width: int) -> _Arrays:
    values = open_array(path, np.float32, (images, regions, width))
    boxes = np.zeros((images, regions, 4), np.float32)
    return _Arrays(values, boxes, np.zeros((images, 2), np.int32), np.zeros(images, np.int64))
