"""Datasets in the SCAN layout: precomputed region features beside captions.

===========================  ======================================================================
``{split}_ims.npy``          ``[I, R, F]`` float32 region features (or a row per caption)
``{split}_region_lens.npy``  optional; ``[I]`` regions of each image, where they differ
``{split}_caps.txt``         one caption per line, in the order of the images
``{split}_ids.txt``          optional; one id per image or per caption
``{split}_counts.txt``       optional; captions of each image, where they differ
``{split}_boxes.npy``        optional; ``[I, R, 4]`` x1, y1, x2, y2 in pixels (or ``_ims_bbx``)
``{split}_img_sizes.npy``    optional; ``[I, 2]`` width, height in pixels (or ``_ims_size``)
``{split}_pictures.npy``     optional; ``[I, H, W, 3]`` uint8, or ``pictures/{id}.jpg``, ...
``{split}_words.json``       optional; for every caption the objects that each token names
``{split}_objects.json``     optional; for every image its objects, with boxes
``vocab.json``               optional; otherwise built from the training captions
===========================  ======================================================================

Images have one caption or more and one region or more, not all the same number; `caption_counts`
says where the first is read, and the rows of features and boxes after an image's last region are
zero. Features are memory-mapped, never loaded entirely. Everything is validated on load: counts,
shapes, dtypes, finite values, empty captions, splits that overlap (`arrays` and `overlap` say how
much of large files is read for it). What is stored once per image may be stored once per caption
where all images have as many.
Messages count the rows of text files from 1 and those of arrays from 0, as editors and numpy do.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from itm_core.data.annotations import Annotations, annotation_state, read_annotations
from itm_core.data.arrays import array, boxes_and_sizes, finite, read_region_lens
from itm_core.data.caption_counts import (
    caption_counts,
    ids_of_images,
    one_row_per_image,
    read_ids,
)
from itm_core.data.caption_lines import LONGEST_CAPTION, read_lines
from itm_core.data.names import require_split_name
from itm_core.data.overlap import Repeats, is_beginning, no_overlap, only_numbers
from itm_core.data.photographs import find_photograph, read_photograph
from itm_core.data.ragged import RaggedRegions
from itm_core.data.vocabulary import Vocabulary
from itm_core.errors import InputError, did_you_mean, similar_names
from itm_core.files import reading

SPLITS = ("train", "dev", "test")
VOCABULARY = "vocab.json"


@dataclass(frozen=True, eq=False)
class Split:
    """One split: region features, captions, and optional pictures and annotations.

    Attributes:
        regions: ``[I, R, F]`` float32, a read-only memory map.
        captions: C texts, those of an image together, in the order of the images.
        ids: one per image.
        caption_image: ``[C]`` int64, the image of each caption, in ascending order.
        boxes: ``[I, R, 4]`` x1, y1, x2, y2 in pixels, or None.
        sizes: ``[I, 2]`` width and height in pixels, or None.
        region_lens: ``[I]`` the number of regions of each image, the first ones of its R rows,
            which are zero after them; None where every image has R.
    """

    folder: Path
    name: str
    regions: np.ndarray
    captions: list[str]
    ids: list[str]
    caption_image: np.ndarray
    boxes: np.ndarray | None
    sizes: np.ndarray | None
    region_lens: np.ndarray | None = None

    @property
    def features(self) -> Any:
        """The regions, with their number for each image (`RaggedRegions`) where it varies."""
        lens = self.region_lens
        return self.regions if lens is None else RaggedRegions(self.regions, lens)

    def regions_of(self, image: int) -> int:
        """Return the number of regions of an image."""
        return self.regions.shape[1] if self.region_lens is None else int(self.region_lens[image])

    @property
    def regions_text(self) -> str:
        """The number of regions of an image, for display: ``36``, or ``10 to 100``."""
        lens = self.region_lens
        return f"{self.regions.shape[1]}" if lens is None else f"{lens.min()} to {lens.max()}"

    @cached_property
    def caption_counts(self) -> np.ndarray:
        """``[I]`` how many captions each image has."""
        return np.bincount(self.caption_image, minlength=len(self.regions))

    @cached_property
    def first_captions(self) -> np.ndarray:
        """``[I]`` the index of each image's first caption."""
        return np.cumsum(self.caption_counts) - self.caption_counts

    @cached_property
    def caption_number(self) -> np.ndarray:
        """``[C]`` the number of each caption among those of its image, from 0."""
        return np.arange(len(self.caption_image)) - self.first_captions[self.caption_image]

    def captions_of(self, image: int) -> list[str]:
        """Return the captions of an image."""
        first = self.first_captions[image]
        return self.captions[first : first + self.caption_counts[image]]

    def caption_total(self, images: int | None) -> int:
        """Return how many captions the first ``images`` images have; all of them for None."""
        if images is None:
            return len(self.captions)
        return int(np.searchsorted(self.caption_image, images))

    def add_to(self, digest: hashlib._Hash) -> None:
        """Add the captions, the shape of the features and 64 evenly spaced images to a hash.

        The numbers of captions are added where they differ.
        """
        digest.update("\n".join(self.captions).encode())
        if len(set(self.caption_counts.tolist())) > 1:
            digest.update(str(self.caption_counts.tolist()).encode())
        digest.update(str(self.regions.shape).encode())
        sample = np.linspace(0, len(self.regions) - 1, 64).astype(int)
        digest.update(np.ascontiguousarray(self.regions[sample]).tobytes())
        if self.region_lens is not None:
            digest.update(self.region_lens.tobytes())

    def place(self, image: int, caption: int) -> int:
        """Return the index among all captions of the ``caption``-th caption of an image.

        Raises `InputError` for an image or a caption that the split does not have.
        """
        _require_below(len(self.regions), f"the {self.name} split has no such image", image)
        count = self.caption_counts[image]
        _require_below(count, f"the {self.name} split has no such caption", caption)
        return int(self.first_captions[image]) + caption

    @cached_property
    def _pictures(self) -> np.ndarray | None:
        path = self.folder / f"{self.name}_pictures.npy"
        shape = (len(self.regions), "height", "width", 3)
        return array(path, shape, "uint8") if path.exists() else None

    def picture(self, image: int) -> np.ndarray | None:
        """Return the picture ``[H, W, 3]`` uint8 of an image, or None if it has none.

        Raises `PhotographError` (an `InputError`) for a file that is no picture, `InputError` for
        two files of one id (``1.jpg`` and ``1.png``) or two ids of one file (`find_photograph`),
        and for files where this split has no ids beside another split, or ids that only number
        images, as those of another split do.
        """
        if self._pictures is not None:
            return np.asarray(self._pictures[image])
        path = find_photograph(self.folder / "pictures", self.ids[image])
        if path is None:
            return None
        if self._shares_numbers:  # image 0 of every split would be 0.jpg
            raise InputError(
                "splits whose ids only number their images share pictures",
                file=self.folder / f"{self.name}_ids.txt",
                expected="names of images, not the numbers of rows",
                remedy="write the ids that the pictures are named after, one a line",
            )
        return read_photograph(path)

    @cached_property
    def _shares_numbers(self) -> bool:
        """Whether the ids only number images, and so do those of another split, with equal ones.

        The first images of a larger split, as ``test`` has of ``testall``, are the same images. A
        split without an id file shares numbers with any other. Raises as `load_split` does.
        """
        names = [p.name.removesuffix("_ims.npy") for p in self.folder.glob("*_ims.npy")]
        if not (self.folder / f"{self.name}_ids.txt").exists():
            return len(names) > 1
        if not only_numbers(self):
            return False
        for name in sorted(set(names) - {self.name}):
            ids = read_ids(self.folder / f"{name}_ids.txt")
            if ids is not None and not set(self.ids).isdisjoint(ids):
                other = load_split(self.folder, name, max_words=sys.maxsize)
                if only_numbers(other) and not is_beginning(self, other):
                    return True
        return False

    def words(self) -> list[list[dict[str, Any] | None]] | None:
        """Return for each caption the objects that its tokens name, or None without annotations.

        The format is that of `itm_core.data.annotations`, which raises `InputError`.
        """
        return None if self._annotations is None else self._annotations.words

    def objects(self) -> list[dict[str, Any]] | None:
        """Return for each image its background and its objects with boxes, or None.

        The format is that of `itm_core.data.annotations`, which raises `InputError`.
        """
        return None if self._annotations is None else self._annotations.objects

    @property
    def _annotations(self) -> Annotations | None:
        # kept while its files are the same: they may be written while a notebook holds the split
        state = annotation_state(self)
        if vars(self).get("_annotation_state") != state:
            vars(self)["_read_annotations"] = read_annotations(self)
            vars(self)["_annotation_state"] = state
        found: Annotations | None = vars(self)["_read_annotations"]
        return found

    def require_readable(self, *, annotations: bool = True) -> None:
        """Raise `InputError` for pictures or annotations that would be refused when they are read.

        What is always read, `load_split` has validated. Annotations take seconds for 100,000
        captions: without ``annotations`` they are not read.
        """
        _ = self._pictures
        if annotations:
            _ = self._annotations


@dataclass(frozen=True, eq=False)
class Dataset:
    """The three splits of a folder and the vocabulary of its captions.

    ``repeats`` are the images of each split that have the features of another one of it.
    """

    folder: Path
    train: Split
    dev: Split
    test: Split
    vocabulary: Vocabulary
    repeats: Mapping[str, Repeats]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def ragged(self) -> bool:
        """Whether the images of some split have different numbers of regions."""
        return any(s.region_lens is not None for s in (self.train, self.dev, self.test))

    @property
    def region_count(self) -> int:
        """R of the training split; where numbers of regions vary, the largest of all splits."""
        splits = (self.train, self.dev, self.test) if self.ragged else (self.train,)
        return max(split.regions.shape[1] for split in splits)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the data that a run depends on: captions, vocabulary, a sample of the features.

        Of each feature file the shape and 64 evenly spaced images are read.
        """
        digest = hashlib.sha256()
        for split in (self.train, self.dev, self.test):
            split.add_to(digest)
        digest.update(json.dumps(dict(self.vocabulary.ids), sort_keys=True).encode())
        return digest.hexdigest()[:16]


def load_dataset(
    folder: Path | str, *, max_words: int = LONGEST_CAPTION, full: bool = False
) -> Dataset:
    """Return the dataset in a folder of the SCAN layout, after validation.

    Of large feature files a sample is checked, or all images with ``full``.

    Raises `InputError` naming file, row, what was expected and found, and what to do.
    """
    folder = Path(folder)
    train, dev, test = (load_split(folder, name, max_words=max_words, full=full) for name in SPLITS)
    for split in (dev, test):
        if split.regions.shape[2] != train.regions.shape[2]:
            raise InputError(
                "regions have another width than in training",
                file=folder / f"{split.name}_ims.npy",
                expected=train.regions.shape[2],
                found=split.regions.shape[2],
            )
    repeats = no_overlap((train, dev, test), full=full)
    path = vocabulary_file(folder)
    vocabulary = Vocabulary.load(path) if path else Vocabulary.from_captions(train.captions)
    return Dataset(folder, train, dev, test, vocabulary, repeats)


def load_split(
    folder: Path | str, name: str, *, max_words: int = LONGEST_CAPTION, full: bool = False
) -> Split:
    """Return one split, after validation; raises `InputError` as `load_dataset` does.

    The name is the prefix of the files: ``load_split(folder, "testall")`` reads
    ``testall_ims.npy``, ``testall_caps.txt`` and so on. ``max_words`` is the largest number of
    tokens of a caption.
    """
    require_split_name(name)
    folder = Path(folder)
    path = folder / f"{name}_ims.npy"
    with reading(path):
        missing = not path.exists()  # of a folder that may not be entered this is an error
    if missing:
        raise _no_split(path, name)
    regions = array(path, ("images", "regions", "width"), "float32")
    captions = read_lines(folder / f"{name}_caps.txt", max_words)
    ids_file = folder / f"{name}_ids.txt"
    rows = read_ids(ids_file)
    different = caption_counts(folder, name, regions, len(captions), rows)
    repeated = 1  # arrays may have a row per caption where all images have as many captions
    if different is None:
        regions = one_row_per_image(path, regions, len(captions), full, rows)
        repeated = len(captions) // len(regions)
    lens = read_region_lens(folder, name, regions.shape[:2], repeated)
    finite(path, regions, lens, full=full)
    counts = np.full(len(regions), repeated) if different is None else different
    boxes, sizes = boxes_and_sizes(folder, name, regions.shape[:2], repeated, lens)
    ids = ids_of_images(ids_file, rows, counts)
    caption_image = np.repeat(np.arange(len(regions)), counts)
    return Split(folder, name, regions, captions, ids, caption_image, boxes, sizes, lens)


def _require_below(count: int, problem: str, value: int) -> None:
    if not 0 <= value < count:
        raise InputError(problem, expected=f"0 to {count - 1}", found=value)


def _no_split(path: Path, name: str) -> InputError:
    splits = sorted(p.name.removesuffix("_ims.npy") for p in path.parent.glob("*_ims.npy"))
    found = f"splits {', '.join(splits)}" if splits else "no *_ims.npy in this folder"
    if not path.parent.is_dir():
        found = "no such folder" if path.is_absolute() else f"no such folder from {Path.cwd()}"
    beside = f"put {path.name} and {name}_caps.txt beside them; a dataset has train, dev and test"
    remedy = did_you_mean(name, splits) or beside if splits else _similar_folder(path.parent)
    return InputError(f"no {name} split here", file=path, found=found, remedy=remedy)


def _similar_folder(folder: Path) -> str:
    """Return the remedy for a folder without a dataset: a similar name, if there is one."""
    beside = {path.parent.name for path in folder.parent.glob("*/*_ims.npy")}
    similar = similar_names(folder.name, beside - {folder.name})
    if similar:
        return f"did you mean {folder.with_name(similar[0])}?"
    return "name a folder in the SCAN layout; `itm scenes` makes one"


def vocabulary_file(folder: Path | str) -> Path | None:
    """Return the file of a dataset's vocabulary; None if it is built from the captions."""
    folder = Path(folder)
    name = folder.resolve().name
    paths = [
        folder / VOCABULARY,
        folder / f"{name}_vocab.json",
        folder.resolve().parent / "vocab" / f"{name}_vocab.json",
    ]
    return next((path for path in paths if path.exists()), None)
