"""Datasets in the SCAN layout: precomputed region features beside captions.

======================  ========================================================================
``{split}_ims.npy``     ``[I, R, F]`` float32 region features (or each image repeated 5 times)
``{split}_caps.txt``    one caption per line; captions 5 i .. 5 i + 4 belong to image i
``{split}_ids.txt``     optional; one id per image or per caption
``{split}_boxes.npy``   optional; ``[I, R, 4]`` x1, y1, x2, y2 in pixels
``{split}_img_sizes.npy``  optional; ``[I, 2]`` width, height in pixels
``{split}_pictures.npy``   optional; ``[I, H, W, 3]`` uint8, or ``pictures/{id}.jpg`` (or png)
``{split}_words.json``  optional; for every caption the objects that each token names
``vocab.json``          optional; otherwise built from the training captions
======================  ========================================================================

Features are mapped, never loaded whole. Everything is checked at the door, before anything
trains: counts, shapes, dtypes, finite values, empty captions, splits that overlap. Messages
count the rows of text files from 1 and those of arrays from 0, as editors and numpy do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from itm_core.data.vocabulary import Vocabulary, read_captions, tokenise
from itm_core.errors import InputError
from itm_core.files import write_json

SPLITS = ("train", "dev", "test")
CAPTIONS_PER_IMAGE = 5
LONGEST_CAPTION = 200  # tokens; far above any caption of the field's datasets
IMAGES_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Split:
    """One split: region features, captions, and what is known about the pictures.

    Attributes:
        regions: ``[I, R, F]`` float32, a read-only memory map.
        captions: C = captions_per_image * I texts.
        ids: one per image.
        boxes: ``[I, R, 4]`` x1, y1, x2, y2 in pixels, or None.
        sizes: ``[I, 2]`` width and height in pixels, or None.
    """

    folder: Path
    name: str
    regions: np.ndarray
    captions: list[str]
    ids: list[str]
    captions_per_image: int
    boxes: np.ndarray | None
    sizes: np.ndarray | None

    @property
    def caption_image(self) -> np.ndarray:
        """``[C]`` the image of each caption."""
        return np.arange(len(self.captions)) // self.captions_per_image

    def place(self, image: int, caption: int) -> int:
        """Return where the ``caption``-th caption of an image stands among all captions.

        Raises `InputError` for an image or a caption that the split does not have.
        """
        for name, value, count in (
            ("image", image, len(self.regions)),
            ("caption", caption, self.captions_per_image),
        ):
            if not 0 <= value < count:
                raise InputError(
                    f"the {self.name} split has no such {name}",
                    expected=f"0 to {count - 1}",
                    found=value,
                )
        return image * self.captions_per_image + caption

    @cached_property
    def _pictures(self) -> np.ndarray | None:
        path = self.folder / f"{self.name}_pictures.npy"
        shape = (len(self.regions), "height", "width", 3)
        return _array(path, shape, "uint8") if path.exists() else None

    def picture(self, image: int) -> np.ndarray | None:
        """Return the picture ``[H, W, 3]`` uint8 of an image, or None when there is none.

        Raises `InputError` for a file that is no picture.
        """
        if self._pictures is not None:
            return np.asarray(self._pictures[image])
        for ending in ("", ".jpg", ".jpeg", ".png"):  # some ids are names of files
            path = self.folder / "pictures" / f"{self.ids[image]}{ending}"
            if path.is_file():
                return _opened(path)
        return None

    def words(self) -> list[list[dict[str, Any] | None]] | None:
        """Return for each caption what its tokens name, or None when that isn't known."""
        return _truth(self.folder / f"{self.name}_words.json", len(self.captions), "captions")

    def objects(self) -> list[dict[str, Any]] | None:
        """Return for each image its ground and objects with their boxes, or None."""
        return _truth(self.folder / f"{self.name}_objects.json", len(self.regions), "images")


@dataclass(frozen=True, eq=False)
class Dataset:
    """The three splits of a folder and the vocabulary of its captions."""

    folder: Path
    train: Split
    dev: Split
    test: Split
    vocabulary: Vocabulary

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what a run depends on: captions, vocabulary, and a sample of the features.

        Of each feature file its shape and 64 images spread over it are read, not all of it.
        """
        digest = hashlib.sha256()
        for split in (self.train, self.dev, self.test):
            digest.update("\n".join(split.captions).encode())
            digest.update(str(split.regions.shape).encode())
            some = np.linspace(0, len(split.regions) - 1, 64).astype(int)
            digest.update(np.ascontiguousarray(split.regions[some]).tobytes())
        digest.update(json.dumps(dict(self.vocabulary.ids), sort_keys=True).encode())
        return digest.hexdigest()[:16]


def load_dataset(folder: Path | str, *, max_words: int = LONGEST_CAPTION) -> Dataset:
    """Return the dataset in a folder of the SCAN layout, everything checked.

    Raises `InputError` naming file, row, what was expected and found, and what to do.
    """
    folder = Path(folder)
    train, dev, test = (load_split(folder, name, max_words=max_words) for name in SPLITS)
    _no_overlap((train, dev, test))
    for split in (dev, test):
        if split.regions.shape[2] != train.regions.shape[2]:
            raise InputError(
                "regions have another width than in training",
                file=folder / f"{split.name}_ims.npy",
                expected=train.regions.shape[2],
                found=split.regions.shape[2],
            )
    return Dataset(folder, train, dev, test, _vocabulary(folder, train))


def load_split(folder: Path | str, name: str, *, max_words: int = LONGEST_CAPTION) -> Split:
    """Return one split, checked; raises `InputError` as `load_dataset` does.

    Any split has its name from its files: ``load_split(folder, "testall")`` reads
    ``testall_ims.npy`` and what stands beside it. ``max_words`` is the longest caption allowed.
    """
    folder = Path(folder)
    path = folder / f"{name}_ims.npy"
    if not path.exists():
        raise _no_split(path, name)
    regions = _array(path, ("images", "regions", "width"), "float32")
    captions = _captions(folder / f"{name}_caps.txt", max_words)
    regions = _one_row_per_image(path, regions, len(captions))
    _finite(path, regions)
    images = len(regions)
    boxes = _optional(folder / f"{name}_boxes.npy", (images, regions.shape[1], 4))
    sizes = _optional(folder / f"{name}_img_sizes.npy", (images, 2))
    ids = _ids(folder / f"{name}_ids.txt", images)
    return Split(folder, name, regions, captions, ids, CAPTIONS_PER_IMAGE, boxes, sizes)


def _no_split(path: Path, name: str) -> InputError:
    there = sorted(p.name.removesuffix("_ims.npy") for p in path.parent.glob("*_ims.npy"))
    found = f"splits {', '.join(there)}" if there else "no *_ims.npy in this folder"
    beside = f"put {path.name} and {name}_caps.txt beside them; a dataset has train, dev and test"
    return InputError(
        f"no {name} split here",
        file=path,
        found=found if path.parent.is_dir() else "no such folder",
        remedy=beside if there else "name a folder in the SCAN layout; `itm scenes` makes one",
    )


def _mapped(path: Path) -> np.ndarray:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(values, np.ndarray):
            return values
        found = "an archive of several arrays"
    except Exception as error:  # a spoilt header makes numpy raise nearly anything
        found = f"{path.stat().st_size} bytes ({error})"
    raise InputError(
        "not a whole .npy file",
        file=path,
        expected=_promised(path),
        found=found,
        remedy="copy or download the file again",
    )


def _promised(path: Path) -> str | None:
    """Return how long the header says that a file is; None for a header not understood."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
            shape, _, kind = read(file)
            return f"{file.tell() + prod(shape) * kind.itemsize} bytes"
    except Exception:
        return None


def _opened(path: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for broken files
        raise InputError("not readable as a picture", file=path, found=str(error)) from error


def _truth(path: Path, count: int, what: str) -> list[Any] | None:
    if not path.exists():
        return None
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("not readable as JSON", file=path, found=str(error)) from None
    if not isinstance(rows, list) or len(rows) != count:
        found = f"{len(rows)} rows" if isinstance(rows, list) else type(rows).__name__
        raise InputError("wrong length", file=path, expected=f"{count} {what}", found=found)
    return rows


def _array(path: Path, shape: tuple[int | str, ...], kind: str) -> np.ndarray:
    """Return the mapped array; a side with a name may have any length but 0."""
    values = _mapped(path)
    sides = zip(shape, values.shape, strict=False)
    fits = all(have == n if isinstance(n, int) else have > 0 for n, have in sides)
    if values.ndim != len(shape) or not fits:
        expected = f"[{', '.join(map(str, shape))}]"
        raise InputError("wrong shape", file=path, expected=expected, found=list(values.shape))
    if values.dtype.kind not in "fiu" if kind == "number" else values.dtype != np.dtype(kind):
        remedy = None if kind == "number" else f"np.save(path, np.load(path).astype(np.{kind}))"
        raise InputError("wrong type", file=path, expected=kind, found=values.dtype, remedy=remedy)
    return values


def _captions(path: Path, max_words: int) -> list[str]:
    captions = read_captions(path)
    for row, caption in enumerate(captions, 1):
        if not caption.strip():
            raise InputError("an empty caption", file=path, row=row, remedy="give it a text")
        # a token has a character at least, so short texts need no tokenising
        if len(caption) > max_words and len(tokenise(caption)) > max_words:
            raise InputError(
                "a caption is too long",
                file=path,
                row=row,
                expected=f"{max_words} tokens at most",
                found=len(tokenise(caption)),
                remedy="is a line break missing?",
            )
    return captions


def _one_row_per_image(path: Path, regions: np.ndarray, captions: int) -> np.ndarray:
    """Some releases repeat each image for its five captions; return one row of each."""
    rows, n = len(regions), CAPTIONS_PER_IMAGE
    if captions == n * rows:
        return regions
    if captions == rows and rows % n == 0:
        first = regions[::n]
        sample = np.linspace(0, len(first) - 1, 20).astype(int)
        if all((regions[n * i : n * i + n] == regions[n * i]).all() for i in sample):
            return first
    if captions % n:
        raise InputError(
            "images and captions don't fit",
            file=path.with_name(path.name.replace("_ims.npy", "_caps.txt")),
            expected=f"{n * rows} captions, {n} for each of {rows} images",
            found=captions,
            remedy="look for a line missing, empty at the end, or broken in two",
        )
    raise InputError(
        "images and captions don't fit",
        file=path,
        expected=f"{captions // n} images ({captions} captions, {n} for each)",
        found=rows,
        remedy=f"check that {path.name.replace('_ims.npy', '_caps.txt')} is of the same split",
    )


def _finite(path: Path, regions: np.ndarray) -> None:
    """Raise at the first value that is not finite; a verdict is remembered beside the file."""
    state = path.stat()
    note = path.with_name(f".{path.name}.checked")
    mark = {"bytes": state.st_size, "changed": state.st_mtime_ns, "images": len(regions)}
    with suppress(OSError, ValueError):  # no note, or a spoilt one
        if json.loads(note.read_text()) == mark:
            return
    for start in range(0, len(regions), IMAGES_AT_ONCE):
        block = regions[start : start + IMAGES_AT_ONCE]
        if not np.isfinite(block.sum(dtype=np.float64)):
            image, region, _ = np.argwhere(~np.isfinite(block))[0]
            raise InputError(
                "a region feature is not finite",
                file=path,
                row=start + int(image),
                found=f"NaN or infinity in region {region}",
                remedy="extract it again",
            )
    with suppress(OSError, InputError):  # a folder without room or right is scanned each time
        write_json(note, mark)


def _optional(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return boxes or sizes, or None; raise for one not finite, turned inside out, or empty."""
    if not path.exists():
        return None
    values = _array(path, shape, "number")
    boxes = len(shape) == 3
    good = np.isfinite(values).all(-1)
    good &= (values[..., 2:] >= values[..., :2]).all(-1) if boxes else (values > 0).all(-1)
    if not good.all():
        image, *region = np.argwhere(~good)[0].tolist()
        raise InputError(
            f"the box of region {region[0]} makes no sense" if boxes else "a size makes no sense",
            file=path,
            row=image,
            expected="x1 <= x2 and y1 <= y2" if boxes else "a width and a height above 0",
            found=values[(image, *region)].tolist(),
        )
    return values


def _ids(path: Path, images: int) -> list[str]:
    if not path.exists():
        return [str(i) for i in range(images)]
    ids = [line.strip() for line in read_captions(path)]
    while ids and not ids[-1]:
        ids.pop()
    if len(ids) == images * CAPTIONS_PER_IMAGE:
        return ids[::CAPTIONS_PER_IMAGE]
    if len(ids) != images:
        raise InputError(
            "wrong number of ids",
            file=path,
            expected=f"{images} or {images * CAPTIONS_PER_IMAGE}",
            found=len(ids),
        )
    return ids


def _no_overlap(splits: Sequence[Split]) -> None:
    """Raise when an id is in two splits; ids that only count each split's images say nothing."""
    if all(split.ids == [str(i) for i in range(len(split.ids))] for split in splits):
        return
    home: dict[str, str] = {}
    for split in splits:
        path = split.folder / f"{split.name}_ids.txt"
        for place, image in enumerate(split.ids if path.exists() else ()):
            if home.setdefault(image, split.name) != split.name:
                raise InputError(
                    f"image {image} is in the {home[image]} split too",
                    file=path,
                    found=f"it is image {place} here, counted from 0",
                    remedy="an image may be in one split only",
                )


def _vocabulary(folder: Path, train: Split) -> Vocabulary:
    name = folder.resolve().name
    places = [
        folder / "vocab.json",
        folder / f"{name}_vocab.json",
        folder.resolve().parent / "vocab" / f"{name}_vocab.json",
    ]
    found = next((path for path in places if path.exists()), None)
    return Vocabulary.load(found) if found else Vocabulary.from_captions(train.captions)
