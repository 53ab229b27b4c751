"""Sources of pictures for region features: a folder of photographs, Flickr8k, a dataset.

Page: "From photographs to features", "Your pictures".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from itm_book.datasets.caption_sources import Captioned, read_captioned, splits_of
from itm_book.regions.picture_files import photographs_in
from itm_core.data.dataset import SPLITS, Split, load_split
from itm_core.data.photographs import find_photograph, image_key, read_photograph
from itm_core.data.vocabulary import read_captions
from itm_core.errors import InputError
from itm_core.files import unique_keys

OWN = "own"  # the split of pictures without captions
# of Scenes and Entities
CARRIED = ("words.json", "objects.json", "entities.json", "meanings.json", "pictures.npy")
FLICKR8K = {"train": "trainImages", "dev": "devImages", "test": "testImages"}


@dataclass(frozen=True, eq=False)
class Source:
    """The pictures of one split, in order.

    Attributes:
        ids: id of each picture; the names of files.
        stamps: sizes and modification times of files, which change when a picture does.
        picture: returns the k-th ``[H, W, 3]``; raises `PhotographError` for a damaged one. It
            can be pickled, for other processes.
        captions: k captions of each picture, or None.
        boxes: boxes of the dataset ``[I, R, 4]``, or None.
        carried: files that are copied unchanged.
        home: the folder of the files, which the dataset will link to; None for arrays.
        unused: names of the photographs in ``home`` that are in no split.
    """

    split: str
    ids: Sequence[str]
    stamps: Sequence[Sequence[int]]
    picture: Callable[[int], np.ndarray]
    captions: Sequence[Sequence[str]] | None = None
    boxes: np.ndarray | None = None
    carried: Sequence[Path] = ()
    home: Path | None = None
    unused: Sequence[str] = ()


@dataclass(frozen=True)
class PictureFiles:
    """Reads the k-th of some photographs."""

    files: Sequence[Path]

    def __call__(self, k: int) -> np.ndarray:
        """Return ``[H, W, 3]`` uint8; raises `PhotographError` for a damaged one."""
        return read_photograph(self.files[k])


@dataclass(frozen=True, eq=False)
class PicturesOfSplit:
    """Returns the k-th picture of a split."""

    split: Split

    def __call__(self, k: int) -> np.ndarray:
        """Return ``[H, W, 3]`` uint8; raises `InputError` where there is none."""
        pixels = self.split.picture(k)
        if pixels is None:
            missing = f"no picture of {self.split.ids[k]}"
            raise InputError(missing, file=self.split.folder / "pictures")
        return pixels

    def __reduce__(self) -> tuple[Callable[..., PicturesOfSplit], tuple[Path, str]]:
        """Pickle the folder and the name instead of the features."""
        return _open_pictures, (self.split.folder, self.split.name)


def _open_pictures(folder: Path, split: str) -> PicturesOfSplit:
    return PicturesOfSplit(load_split(folder, split))


def stamp(path: Path) -> tuple[int, int]:
    """Return size and modification time of a file; of a link that leads nowhere, its own."""
    state = path.stat() if path.exists() else path.lstat()
    return state.st_size, state.st_mtime_ns


def of_folder(folder: Path, captions: Mapping[str | None, Path] | None = None) -> list[Source]:
    """Return the photographs of a folder: one split without captions, or the captions' splits.

    Args:
        captions: caption files (see `caption_sources`) by split; None is the key of a file with
            splits of its own. Photographs without captions are `Source.unused`.

    Raises `InputError` for captions of missing photographs, an image with captions in two splits,
    and two photographs that share a key (``1.jpg`` and ``1.png``).
    """
    files = photographs_in(folder)
    if not captions:
        return [_files(OWN, files, None)]
    images = [image for split, path in captions.items() for image in read_captioned(path, split)]
    return _captioned(folder, files, images)


def of_flickr8k(folder: Path) -> list[Source]:
    """Return the splits of Flickr8k, from the files of ``itm data get flickr8k``."""
    text, pictures = folder / "text", folder / "pictures"
    required = [
        text / "Flickr8k.token.txt",
        *(text / f"Flickr_8k.{n}.txt" for n in FLICKR8K.values()),
    ]
    for path in (*required, pictures):
        if not path.exists():
            raise InputError("Flickr8k is missing", file=path, remedy="itm data get flickr8k")
    captions = {c.image: c.captions for c in read_captioned(required[0], "train")}
    images = []
    for (split, _), path in zip(FLICKR8K.items(), required[1:], strict=True):
        for row, name in enumerate(map(str.strip, read_captions(path)), 1):
            if not name:
                continue
            key = image_key(name)
            if key not in captions:
                raise InputError(f"{name} has no captions", file=path, row=row)
            images.append(Captioned(key, split, captions[key]))
    return _captioned(pictures, photographs_in(pictures), images)


def of_dataset(folder: Path) -> list[Source]:
    """Return the pictures of a dataset in the SCAN layout, with captions, boxes and annotations.

    Raises `InputError` for a dataset without pictures.
    """
    splits = [load_split(folder, name) for name in SPLITS if (folder / f"{name}_ims.npy").exists()]
    if not splits or splits[0].picture(0) is None:
        raise InputError(
            "no pictures in this dataset",
            file=folder,
            expected="{split}_pictures.npy, or pictures/{id}.jpg, beside the features",
        )
    return [_of_split(split) for split in splits]


def _of_split(split: Split) -> Source:
    paths = [split.folder / f"{split.name}_{ending}" for ending in CARRIED]
    carried = [path for path in paths if path.exists()]
    vocabulary = split.folder / "vocab.json"
    arrays = [p for p in carried if p.suffix == ".npy"]
    pictures = split.folder / "pictures"
    found = [] if arrays else [find_photograph(pictures, image) for image in split.ids]
    return Source(
        split=split.name,
        ids=split.ids,
        stamps=[stamp(path) for path in [*arrays, *found] if path is not None],
        picture=PicturesOfSplit(split),
        captions=[split.captions_of(image) for image in range(len(split.regions))],
        boxes=split.boxes,
        carried=[*carried, *([vocabulary] if vocabulary.exists() else [])],
        home=None if arrays else pictures,
    )


def _files(split: str, files: Sequence[Path], captions: Sequence[Sequence[str]] | None) -> Source:
    return Source(
        split=split,
        ids=[path.name for path in files],
        stamps=[stamp(path) for path in files],
        picture=PictureFiles(files),
        captions=captions,
        home=files[0].parent,
    )


def _captioned(folder: Path, files: Sequence[Path], images: Sequence[Captioned]) -> list[Source]:
    split_of = splits_of(images, folder)
    keyed = ((image_key(path.name), path) for path in files)
    by_key = unique_keys(((key, path) for key, path in keyed if key in split_of), folder)
    missing = [image.image for image in images if image.image not in by_key]
    if missing:
        raise InputError(
            "captioned photographs are missing",
            file=folder,
            expected=f"{len(images)} photographs",
            found=f"{len(missing)} missing, such as {', '.join(missing[:3])}",
            remedy="add them, or take captions of these photographs only",
        )
    unused = [path.name for path in files if image_key(path.name) not in split_of]
    sources = []
    for split in dict.fromkeys(image.split for image in images):
        of_split = [image for image in images if image.split == split]
        paths = [by_key[image.image] for image in of_split]
        source = _files(split, paths, [image.captions for image in of_split])
        sources.append(replace(source, unused=unused))
    return sources
