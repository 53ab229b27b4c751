"""Captions by image, from files as published: the json of Karpathy, COCO or BLIP, or text.

* Karpathy: ``{"images": [{"filename", "split", "sentences": [{"raw"}]}]}``; ``val`` is dev here,
  and ``restval`` belongs to training, as in all work since VSE++.
* COCO: ``{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}``.
* BLIP, LAVIS, ALBEF: ``[{"image", "caption"}]``, the caption a text or a list of them; the Hugging
  Face hub: the same objects, one a line (``metadata.jsonl`` with ``file_name`` and ``text``).
* Text: lines and tables, see `caption_texts`.

Only Karpathy's json, and a table or list with a ``split``, have splits. All captions are kept.
`read_captioned` takes the first few of each image where it is told to, as the SCAN release of
MSCOCO has five (some of its images have six or seven).

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from itm_book.datasets.caption_texts import CAPTION, IMAGE, read_rows
from itm_book.datasets.split_captions import names_of_ids
from itm_core.data.caption_lines import require_caption
from itm_core.data.dataset import Split
from itm_core.data.names import id_problem, require_split_name
from itm_core.data.photographs import image_key
from itm_core.errors import InputError, escaped
from itm_core.files import unique_keys
from itm_core.json_files import JSON_LINES, read_json_entries
from itm_core.settings import at_least

NO_TEXT = re.compile("[\0\ud800-\udfff]")  # zero or half a character, which no text file has
KARPATHY = {"train": "train", "restval": "train", "val": "dev", "dev": "dev", "test": "test"}
KARPATHY |= {"validation": "dev", "valid": "dev"}  # of tables
NO_SPLIT = "leave out --split (itm data convert), or the name before = (itm data make)"
ADD_SPLIT = "add --split train, dev or test (itm data convert), or name the file with --captions "
ADD_SPLIT += "train={name} (itm data make)"
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
ONE_SPLIT = "list an image once, in one split"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Captioned:
    """The key of an image, its split and its captions."""

    image: str
    split: str
    captions: tuple[str, ...]


def photographs(split: Split) -> list[str]:
    """Return the key of each image of a split: its id, translated by `names_of_ids`.

    Raises `InputError` when two images of the split have one name.
    """
    path, names = names_of_ids(split.folder)
    keys = ((image_key(names.get(image, image)), f"id {image}") for image in split.ids)
    return list(unique_keys(keys, path or split.folder / f"{split.name}_ids.txt"))


def split_named(name: str) -> str:
    """Return the split that a name of a caption file or of the command line means.

    >>> split_named("val"), split_named("Validation"), split_named("testall")
    ('dev', 'dev', 'testall')
    """
    return KARPATHY.get(name.strip().casefold(), name)


def read_captioned(
    path: Path, split: str | None = None, per_image: int | None = None
) -> list[Captioned]:
    """Return the images of a file with their captions, in its order.

    Args:
        path: a .json in Karpathy's, COCO's or BLIP's format, a .jsonl, or a text file.
        split: the split of all images, for files without splits; ``val`` is dev.
        per_image: the largest number of captions of an image, the first ones; all by default.

    Raises `InputError` for a file of another format, an empty caption, two images that share a key
    (see `image_key`), an image in two splits, and a split that is missing or not allowed.
    """
    if split is not None:
        require_split_name(split)
        split = split_named(split)
    by_image: dict[tuple[str, str], list[str]] = {}
    for image, image_split, caption in _read(path, split):
        _require_texts(path, image, caption)
        by_image.setdefault((image, image_split), []).append(" ".join(caption.split()))
    if not by_image:
        raise InputError("no captions in this file", file=path)
    if per_image is not None:
        at_least("the number of captions per image", per_image, 1)
    taken = [Captioned(*key, tuple(texts[:per_image])) for key, texts in by_image.items()]
    splits_of(taken, path)
    for entry in taken:
        for text in entry.captions:
            require_caption(text, path, None, image=entry.image)
    counts = [len(image.captions) for image in taken]
    if min(counts) < max(counts):
        log.info("%s: %d to %d captions an image, all kept", path, min(counts), max(counts))
    return taken


def splits_of(images: Iterable[Captioned], file: Path) -> dict[str, str]:
    """Return the split of each image; raises `InputError` for an image that is listed twice."""
    return unique_keys(
        ((image.image, image.split) for image in images),
        file,
        source=lambda split: f"one of the {split} split",
        remedy=ONE_SPLIT,
    )


def _require_texts(path: Path, image: str, caption: object) -> None:
    """Raise `InputError` for a key that cannot be an id, and a caption that is no text."""
    if problem := id_problem(image):
        raise InputError(
            f"not a name of an image: {problem}",
            file=path,
            found=repr(escaped(image)[:60]),
            remedy="name the file of the picture, without control characters",
        )
    if not isinstance(caption, str) or NO_TEXT.search(caption):
        raise InputError(
            f"a caption of image {image} is not a text",
            file=path,
            expected="one or more words",
            found=escaped(repr(caption)[:60]),
        )


def _read(path: Path, split: str | None) -> Iterable[tuple[str, str, str]]:
    """Yield image, split and caption."""
    ending = path.suffix.lower()
    if ending in COMPRESSED:
        raise InputError("a compressed file", file=path, remedy="unpack it first")
    if ending not in (".json", *JSON_LINES):
        rows = read_rows(path)
        return _rows(path, ((row.image, row.split, row.caption) for row in rows), split)
    content = read_json_entries(path)
    try:
        if isinstance(content, list):
            return _rows(path, _listed(path, content), split)
        if not isinstance(content, dict):
            raise InputError("not a file of captions", file=path, found=type(content).__name__)
        images = content.get("images")
        if isinstance(content.get("annotations"), list) and isinstance(images, list):
            return _coco(path, content, _require_split(path, split))
        if isinstance(images, list):
            return _karpathy(path, images, split)
    except (KeyError, TypeError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError("an image or caption lacks a field", file=path, found=problem) from error
    raise InputError(
        "not a file of captions",
        file=path,
        expected="images with sentences (Karpathy), images and annotations (COCO), or a list of "
        "objects with image and caption (BLIP)",
        found=", ".join(sorted(content)[:5]) or "an empty object",
    )


def _listed(
    path: Path, entries: Iterable[tuple[int | None, object]]
) -> Iterator[tuple[str, str | None, str]]:
    """Yield image, split and caption of entries with their rows; raises `InputError`."""
    for row, entry in entries:
        if not isinstance(entry, dict):
            raise _no_entry(path, row, "not an object", escaped(repr(entry)[:60]))
        caption = next((name for name in CAPTION if name in entry), "")
        every = entry.get("captions")  # "caption" may be the first of them
        if isinstance(every, list) and every and all(isinstance(text, str) for text in every):
            caption = "captions"
        if not caption:
            raise _no_entry(path, row, "an object without a caption", _fields(entry))
        named = [name for name in IMAGE if name in entry]
        if not named:
            raise _no_entry(path, row, "an object without an image", _fields(entry))
        # the hub has pictures in "image", and their names beside them
        image = next((entry[n] for n in named if not isinstance(entry[n], dict)), entry[named[0]])
        if type(image) not in (str, int):
            raise _no_entry(path, row, "not the name of an image", escaped(repr(image)[:60]))
        if not isinstance(split := entry.get("split"), str | int | None):
            raise _no_entry(path, row, "not the name of a split", escaped(repr(split)[:60]))
        texts = entry[caption]
        # an empty list is one caption that is no text, not an image to leave out
        for text in texts if isinstance(texts, list) and texts else [texts]:
            yield str(image), None if split is None else str(split), text


def _fields(entry: dict) -> str:
    return escaped(", ".join(map(str, entry))[:60]) or "an empty object"


def _no_entry(path: Path, row: int | None, problem: str, found: str) -> InputError:
    return InputError(
        problem,
        file=path,
        row=row,
        expected=f"an object with a text or a whole number in {', '.join(IMAGE[:4])}, ... and "
        f"captions in {', '.join(CAPTION[:4])}, ...",
        found=found,
        remedy="rename the fields, or take this entry out",
    )


def _rows(
    path: Path, rows: Iterable[tuple[str, str | None, str]], split: str | None
) -> list[tuple[str, str, str]]:
    """Return key, split and caption of rows; the splits are the file's own, or ``split``."""
    rows = list(rows)
    own = {name for _, name, _ in rows}
    if own <= {None}:
        of_rows = _require_split(path, split) if rows else ""
        rows = [(image, of_rows, caption) for image, _, caption in rows]
    else:
        _require_own(path, {str(name) for name in own}, split)
        rows = [(image, split_named(str(name)), caption) for image, name, caption in rows]
    names = dict.fromkeys(image for image, _, _ in rows)
    unique_keys(((_key(path, name), name) for name in names), path)
    return [(_key(path, image), str(name), caption) for image, name, caption in rows]


def _require_own(path: Path, names: set[str], split: str | None) -> None:
    """Raise `InputError` for a split beside those of the file, and for an unknown one."""
    if split is not None:
        raise InputError("this file has splits of its own", file=path, remedy=NO_SPLIT)
    if unknown := {name for name in names if split_named(name) not in KARPATHY.values()}:
        raise InputError(
            "unknown split", file=path, expected=", ".join(KARPATHY), found=min(unknown)
        )


def _require_split(path: Path, split: str | None) -> str:
    if split is None:
        remedy = ADD_SPLIT.format(name=path.name)
        raise InputError("this file has no splits", file=path, remedy=remedy)
    return split


def _karpathy(path: Path, images: list[dict], split: str | None) -> list[tuple[str, str, str]]:
    _require_own(path, {str(image["split"]) for image in images}, split)
    keyed = ((_key(path, image["filename"]), (n, image)) for n, image in enumerate(images))
    by_key = unique_keys(keyed, path, source=lambda it: f"images[{it[0]}] {it[1]['filename']}")
    return [
        (key, split_named(str(image["split"])), sentence["raw"])
        for key, (_, image) in by_key.items()
        for sentence in image["sentences"]
    ]


def _coco(path: Path, content: dict, split: str) -> list[tuple[str, str, str]]:
    files = ((image["id"], image["file_name"]) for image in content["images"])
    file_of = unique_keys(files, path, what="images (by their id)")
    keyed = ((_key(path, file), (number, file)) for number, file in file_of.items())
    by_key = unique_keys(keyed, path, source=lambda it: f"{it[1]} (id {it[0]})")
    place = {key: i for i, key in enumerate(by_key)}
    stray = next((a for a in content["annotations"] if a["image_id"] not in file_of), None)
    if stray is not None:
        raise InputError(
            "a caption of an image that is not listed",
            file=path,
            expected="the id of one of the images, of the same type",
            found=f"image_id {stray['image_id']!r}",
            remedy="take the annotation out, or add its image",
        )
    rows = [
        (_key(path, file_of[a["image_id"]]), split, a["caption"]) for a in content["annotations"]
    ]
    return sorted(rows, key=lambda row: place[row[0]])  # annotations are in any order


def _key(path: Path, name: object) -> str:
    """Return the key of an image.

    Raises `InputError` for a name that is neither a text nor a whole number, and one that leads
    out of its folder.
    """
    if not isinstance(name, str) and type(name) is not int:
        raise InputError(
            "not the name of an image",
            file=path,
            expected="a text or a whole number",
            found=repr(name)[:60],
        )
    if ".." in re.split(r"[/\\]", str(name)):
        raise InputError(
            "a name of an image leads out of its folder",
            file=path,
            found=repr(escaped(name)[:60]),
            remedy="name the file of the picture, or its path without ..",
        )
    return image_key(name)
