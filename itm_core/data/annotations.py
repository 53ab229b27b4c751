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
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itm_core.data.boxes import WRONG_BOX, box_rule, wrong_boxes
from itm_core.data.vocabulary import tokenise
from itm_core.errors import InputError
from itm_core.json_files import read_json_value

if TYPE_CHECKING:
    from itm_core.data.dataset import Split

LARGEST = 1e9  # numbers of pixels and phrases are below; NaN and infinity are not
AGAIN = "write the annotations again, for example with `itm data entities`"


def words_file(split: Split) -> Path:
    """Return where the entries of a split's tokens are, if they are."""
    return split.folder / f"{split.name}_words.json"


def objects_file(split: Split) -> Path:
    """Return where the objects of a split's images are, if they are."""
    return split.folder / f"{split.name}_objects.json"


@dataclass(frozen=True, eq=False)
class Annotations:
    """The annotation of a split: of each caption's tokens, and of each image."""

    words: list[list[dict[str, Any] | None]]
    objects: list[dict[str, Any]]


def annotation_state(split: Split) -> tuple[tuple[int, int] | None, ...]:
    """Return size and time of change of the files of an annotation; None for a missing one."""
    paths = (words_file(split), objects_file(split))
    states = [path.stat() if path.exists() else None for path in paths]
    return tuple(None if state is None else (state.st_size, state.st_mtime_ns) for state in states)


def read_annotations(split: Split) -> Annotations | None:
    """Return the annotation of a split, after validation; None where it has none.

    Raises `InputError` for another format, words and objects that fit neither each other nor the
    captions, one of the two files missing, and a box that `boxes.wrong_boxes` finds.
    """
    words, objects = _read_words(split), _read_objects(split)
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
    return Annotations(words, objects)


def _read_words(split: Split) -> list[list[dict[str, Any] | None]] | None:
    path = words_file(split)
    captions = _rows(path, len(split.captions), "captions")
    for caption, entries in enumerate(captions or []):
        if not isinstance(entries, list):
            raise _invalid(path, caption, "a list of entries", entries)
        for entry in entries:
            if entry is not None and not _is_entry(entry):
                raise _invalid(path, caption, 'null or {"objects": [0, 1], ...}', entry)
    return captions


def _read_objects(split: Split) -> list[dict[str, Any]] | None:
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
    rows = read_json_value(path)
    if not isinstance(rows, list) or len(rows) != count:
        found = f"{len(rows)} rows" if isinstance(rows, list) else type(rows).__name__
        raise InputError(
            "wrong length", file=path, expected=f"{count} {what}", found=found, remedy=AGAIN
        )
    return rows


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("objects"), list):
        return False
    kinds = entry.get("kinds", [])
    return (
        all(type(k) is int and k >= 0 for k in entry["objects"])
        and isinstance(kinds, list)
        and all(isinstance(kind, str) and kind.isprintable() for kind in kinds)
        and type(entry.get("phrase", 0)) is int
        and 0 <= entry.get("phrase", 0) < LARGEST
    )


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) != 4:
        return False
    return all(type(side) in (int, float) and abs(side) < LARGEST for side in box)


def _invalid(path: Path, row: int, expected: str, found: object) -> InputError:
    return InputError(
        f"entry {row} of the list has another format",
        file=path,
        expected=expected,
        found=json.dumps(found)[:80],
        remedy=AGAIN,
    )


def annotation_summary(split: Split) -> str | None:
    """Return how much of a split is annotated; None without annotations.

    Raises `InputError` as `read_annotations` does.
    """
    annotations = read_annotations(split)
    if annotations is None:
        return None
    words, objects = annotations.words, annotations.objects
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
    for image, content in enumerate(objects):
        boxes = np.array([thing["box"] for thing in content["objects"]], float).reshape(-1, 4)
        size = None if split.sizes is None else split.sizes[image]
        wrong = np.flatnonzero(wrong_boxes(boxes, size))
        if len(wrong):
            raise InputError(
                f"the box of object {wrong[0]} of image {image} {WRONG_BOX}",
                file=objects_file(split),
                expected=box_rule(size),
                found=content["objects"][wrong[0]]["box"],
                remedy="was the picture scaled? write the annotations again",
            )
