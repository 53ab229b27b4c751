"""Annotated words: which objects of the image the tokens of a caption name, and their boxes.

``{split}_words.json`` is a list with a list for every caption, in which each token has an entry:
null, or an object with

* ``objects``: indices in the image's list of objects, from 0; several where the words mean several;
* ``kinds``: optional, the types of the phrase (Flickr30K Entities: people, clothing, bodyparts,
  animals, vehicles, instruments, scene, other; some phrases have two);
* ``phrase``: optional, the number of the phrase in the caption, equal for tokens of one phrase.

``{split}_objects.json`` is a list with an object for every image, whose ``objects`` is a list of
objects with a ``box``: x1, y1, x2, y2 in pixels of the picture.

Page: "What attention metrics can and cannot say".
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itm_core.data.arrays import OUTSIDE
from itm_core.data.vocabulary import tokenise
from itm_core.errors import InputError
from itm_core.files import reading

if TYPE_CHECKING:
    from itm_core.data.dataset import Split


def words_file(split: Split) -> Path:
    """Return where the entries of a split's tokens are, if they are."""
    return split.folder / f"{split.name}_words.json"


def objects_file(split: Split) -> Path:
    """Return where the objects of a split's images are, if they are."""
    return split.folder / f"{split.name}_objects.json"


def read_words(split: Split) -> list[list[dict[str, Any] | None]] | None:
    """Return for each caption the entries of its tokens, or None without annotations.

    Raises `InputError` for a file of another length or another format.
    """
    path = words_file(split)
    captions = _rows(path, len(split.captions), "captions")
    for caption, entries in enumerate(captions or []):
        if not isinstance(entries, list):
            raise _invalid(path, caption, "a list of entries", entries)
        for entry in entries:
            if entry is not None and not _is_entry(entry):
                raise _invalid(path, caption, 'null or {"objects": [0, 1], ...}', entry)
    return captions


def read_objects(split: Split) -> list[dict[str, Any]] | None:
    """Return for each image its background and its objects with boxes, or None.

    Raises `InputError` for a file of another length or another format.
    """
    path = objects_file(split)
    images = _rows(path, len(split.regions), "images")
    for image, content in enumerate(images or []):
        if not isinstance(content, dict) or not isinstance(content.get("objects"), list):
            raise _invalid(path, image, '{"objects": [...]}', content)
        for thing in content["objects"]:
            if not isinstance(thing, dict) or not _is_box(thing.get("box")):
                raise _invalid(path, image, '{"box": [x1, y1, x2, y2], ...}', thing)
    return images


def _rows(path: Path, count: int, what: str) -> list[Any] | None:
    if not path.exists():
        return None
    with reading(path):
        content = path.read_bytes()
    try:
        rows = json.loads(content)
    except ValueError as error:
        raise InputError("not readable as JSON", file=path, found=str(error)) from None
    if not isinstance(rows, list) or len(rows) != count:
        found = f"{len(rows)} rows" if isinstance(rows, list) else type(rows).__name__
        raise InputError("wrong length", file=path, expected=f"{count} {what}", found=found)
    return rows


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("objects"), list):
        return False
    kinds = entry.get("kinds", [])
    return (
        all(type(k) is int and k >= 0 for k in entry["objects"])
        and isinstance(kinds, list)
        and all(isinstance(kind, str) for kind in kinds)
        and type(entry.get("phrase", 0)) is int
    )


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) != 4 or any(type(c) not in (int, float) for c in box):
        return False
    return all(map(math.isfinite, box)) and box[0] <= box[2] and box[1] <= box[3]


def _invalid(path: Path, row: int, expected: str, found: object) -> InputError:
    remedy = "write the annotations again, for example with `itm data entities`"
    return InputError(
        f"entry {row} of the list has another format",
        file=path,
        expected=expected,
        found=json.dumps(found)[:80],
        remedy=remedy,
    )


def annotation_summary(split: Split) -> str | None:
    """Return how much of a split is annotated, after validation; None without annotations.

    Raises `InputError` where words and captions, or words and objects, do not fit, one of the two
    files is missing, or a box is outside its picture.
    """
    words, objects = read_words(split), read_objects(split)
    if words is None and objects is None:
        return None
    if words is None or objects is None:
        missing = words_file(split) if words is None else objects_file(split)
        raise InputError(
            "words and objects need each other",
            file=missing,
            found="no such file",
            remedy="write both again, or remove the other one",
        )
    _require_words(split, words, objects)
    _require_inside(split, objects)
    entries = [entry for caption in words for entry in caption if entry and entry["objects"]]
    kinds = Counter(kind for entry in entries for kind in entry.get("kinds", []))
    by_kind = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    boxes = sum(len(image["objects"]) for image in objects)
    bare = sum(not image["objects"] for image in objects)
    return (
        f"{len(entries)} of {sum(map(len, words))} words name something in {boxes} boxes"
        + (f" ({by_kind})" if by_kind else "")
        + (f"; {bare} images without a box" if bare else "")
    )


def _require_words(
    split: Split, words: list[list[dict[str, Any] | None]], objects: list[dict[str, Any]]
) -> None:
    """Raise where a caption has another number of tokens, or a token names an object too many."""
    images = split.caption_image.tolist()
    for place, (caption, entries) in enumerate(zip(split.captions, words, strict=True)):
        if len(entries) != len(tokenise(caption)):
            raise InputError(
                f"caption {place} has another number of tokens",
                file=words_file(split),
                expected=f"{len(tokenise(caption))} entries, of {caption[:60]!r}",
                found=len(entries),
                remedy="were the captions changed? write the annotations again",
            )
        things = len(objects[images[place]]["objects"])
        named = max((k for entry in entries if entry for k in entry["objects"]), default=-1)
        if named >= things:
            raise InputError(
                f"a word of caption {place} names an object that its image does not have",
                file=words_file(split),
                expected=f"indices below {things}",
                found=named,
                remedy="write both files again",
            )


def _require_inside(split: Split, objects: list[dict[str, Any]]) -> None:
    if split.sizes is None:
        return
    for image, (content, size) in enumerate(zip(objects, split.sizes, strict=True)):
        for thing in content["objects"]:
            x1, y1, x2, y2 = thing["box"]
            beyond = x2 > size[0] + OUTSIDE or y2 > size[1] + OUTSIDE
            if beyond or x1 < -OUTSIDE or y1 < -OUTSIDE:
                raise InputError(
                    f"a box of image {image} leaves its picture",
                    file=objects_file(split),
                    expected=f"within width and height {np.asarray(size).tolist()}",
                    found=thing["box"],
                    remedy="was the picture scaled? write the annotations again",
                )
