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
trains: counts, shapes, dtypes, finite values, empty captions, splits that overlap.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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
        return _mapped(path) if path.exists() else None

    def picture(self, image: int) -> np.ndarray | None:
        """Return the picture ``[H, W, 3]`` uint8 of an image, or None when there is none."""
        if self._pictures is not None:
            return np.asarray(self._pictures[image])
        for ending in ("jpg", "jpeg", "png"):
            path = self.folder / "pictures" / f"{self.ids[image]}.{ending}"
            if path.exists():
                from PIL import Image

                return np.asarray(Image.open(path).convert("RGB"))
        return None

    def words(self) -> list[list[dict[str, Any] | None]] | None:
        """Return for each caption what its tokens name, or None when that isn't known."""
        path = self.folder / f"{self.name}_words.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def objects(self) -> list[dict[str, Any]] | None:
        """Return for each image its ground and objects with their boxes, or None."""
        path = self.folder / f"{self.name}_objects.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


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
        digest.update(json.dumps(self.vocabulary.ids, sort_keys=True).encode())
        return digest.hexdigest()[:16]


def load_dataset(folder: Path | str) -> Dataset:
    """Return the dataset in a folder of the SCAN layout, everything checked.

    Raises `InputError` naming file, row, what was expected and found, and what to do.
    """
    folder = Path(folder)
    train, dev, test = (load_split(folder, name) for name in SPLITS)
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


def load_split(folder: Path | str, name: str) -> Split:
    """Return one split, checked; raises `InputError` as `load_dataset` does."""
    folder = Path(folder)
    path = folder / f"{name}_ims.npy"
    if not path.exists():
        there = sorted(p.name.removesuffix("_ims.npy") for p in folder.glob("*_ims.npy"))
        raise InputError(
            f"no {name} split here",
            file=path,
            found=f"splits {', '.join(there)}" if there else "no *_ims.npy in this folder",
            remedy="name a folder in the SCAN layout; `itm scenes` makes one",
        )
    regions = _features(path)
    captions = _captions(folder / f"{name}_caps.txt")
    regions = _one_row_per_image(path, regions, len(captions))
    _finite(path, regions)
    images = len(regions)
    boxes = _optional(folder / f"{name}_boxes.npy", (images, regions.shape[1], 4))
    sizes = _optional(folder / f"{name}_img_sizes.npy", (images, 2))
    ids = _ids(folder / f"{name}_ids.txt", images)
    return Split(folder, name, regions, captions, ids, CAPTIONS_PER_IMAGE, boxes, sizes)


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            "not a whole .npy file",
            file=path,
            found=f"{path.stat().st_size} bytes ({error})",
            remedy="copy or download the file again",
        ) from error


def _features(path: Path) -> np.ndarray:
    regions = _mapped(path)
    if regions.ndim != 3 or 0 in regions.shape:
        raise InputError(
            "wrong shape of region features",
            file=path,
            expected="[images, regions, width]",
            found=list(regions.shape),
        )
    if regions.dtype != np.float32:
        raise InputError(
            "wrong type of region features",
            file=path,
            expected="float32",
            found=regions.dtype,
            remedy="np.save(path, np.load(path).astype(np.float32))",
        )
    return regions


def _captions(path: Path) -> list[str]:
    captions = read_captions(path)
    for row, caption in enumerate(captions, 1):
        if not caption.strip():
            raise InputError("an empty caption", file=path, row=row, remedy="give it a text")
        # a token has a character at least, so short texts need no tokenising
        if len(caption) > LONGEST_CAPTION and len(tokenise(caption)) > LONGEST_CAPTION:
            raise InputError(
                "a caption is too long",
                file=path,
                row=row,
                expected=f"{LONGEST_CAPTION} tokens at most",
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
        if all(np.array_equal(regions[n * i], regions[n * i + n - 1]) for i in sample):
            return first
    raise InputError(
        "images and captions don't fit",
        file=path,
        expected=f"{captions / n:g} images ({captions} captions, {n} for each)",
        found=rows,
        remedy=f"check that {path.name.replace('_ims.npy', '_caps.txt')} is of the same split",
    )


def _finite(path: Path, regions: np.ndarray) -> None:
    """Raise at the first value that is not finite; a verdict is remembered beside the file."""
    state = path.stat()
    note = path.with_name(f".{path.name}.checked")
    mark = {"bytes": state.st_size, "changed": state.st_mtime_ns}
    if note.exists() and json.loads(note.read_text()) == mark:
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
    try:
        write_json(note, mark)
    except OSError:
        return  # a read-only folder is scanned anew each time


def _optional(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    if not path.exists():
        return None
    values = _mapped(path)
    if values.shape != shape:
        raise InputError("wrong shape", file=path, expected=list(shape), found=list(values.shape))
    return values


def _ids(path: Path, images: int) -> list[str]:
    if not path.exists():
        return [str(i) for i in range(images)]
    ids = path.read_text(encoding="utf-8").split()
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
    home: dict[str, str] = {}
    for split in splits:
        if not (split.folder / f"{split.name}_ids.txt").exists():
            continue
        for row, image in enumerate(split.ids):
            if home.setdefault(image, split.name) != split.name:
                raise InputError(
                    f"image {image} is in the {home[image]} split too",
                    file=split.folder / f"{split.name}_ids.txt",
                    row=row + 1,
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
