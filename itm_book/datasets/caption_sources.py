"""Captions by image, from the files that datasets publish: Karpathy's json, COCO's json, or text.

* Karpathy: ``{"images": [{"filename", "split", "sentences": [{"raw"}]}]}``; ``val`` is dev here,
  and ``restval`` belongs to training, as in all work since VSE++.
* COCO: ``{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}``.
* Text: ``name.jpg#0<TAB>caption`` in each line (Flickr8k, Flickr30K).

The last two have no splits. The number k of captions per image is the most frequent one in the
file. Of an image with more captions the first k are taken, as in the SCAN release of MSCOCO.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from itm_core.data.dataset import Split
from itm_core.data.photographs import image_key
from itm_core.data.vocabulary import read_captions
from itm_core.errors import InputError
from itm_core.files import read_json, unique_keys

KARPATHY = {"train": "train", "restval": "train", "val": "dev", "test": "test"}


@dataclass(frozen=True)
class Captioned:
    """The key of an image, its split and its captions."""

    image: str
    split: str
    captions: tuple[str, ...]


def photographs(split: Split) -> list[str]:
    """Return the key of each image of a split: its id, translated by ``id_mapping.json``.

    Raises `InputError` when two images of the split have one name.
    """
    path = split.folder / "id_mapping.json"
    names = read_json(path) if path.exists() else {}
    keys = ((image_key(names.get(image, image)), f"id {image}") for image in split.ids)
    return list(unique_keys(keys, path if names else split.folder / f"{split.name}_ids.txt"))


def read_captioned(path: Path, split: str | None = None) -> list[Captioned]:
    """Return the images of a file with their captions, in its order.

    Args:
        path: a .json in Karpathy's or COCO's format, or a text file.
        split: the split of all images; for files without splits.

    Raises `InputError` for a file of another format, an image with fewer captions than most have,
    an empty caption, two images that share a key (see `image_key`), and a split that is missing or
    not allowed.
    """
    by_image: dict[tuple[str, str], list[str]] = {}
    for image, image_split, caption in _read(path, split):
        by_image.setdefault((image, image_split), []).append(" ".join(caption.split()))
    if not by_image:
        raise InputError("no captions in this file", file=path)
    per_image = _captions_per_image(by_image.values())
    for (image, _), captions in by_image.items():
        if len([caption for caption in captions[:per_image] if caption]) < per_image:
            raise InputError(
                f"image {image} has too few captions, or an empty one",
                file=path,
                expected=f"{per_image} captions, as most images of this file have",
                found=len(captions),
            )
    return [Captioned(*key, tuple(captions[:per_image])) for key, captions in by_image.items()]


def _captions_per_image(captions: Iterable[Sequence[str]]) -> int:
    """Return the most frequent number of captions; the larger one of two equally frequent."""
    frequencies = Counter(map(len, captions))
    return max(frequencies, key=lambda count: (frequencies[count], count))


def _read(path: Path, split: str | None) -> Iterable[tuple[str, str, str]]:
    """Yield image, split and caption."""
    if path.suffix != ".json":
        return _text(path, _require_split(path, split))
    content = read_json(path)
    images = content.get("images")
    try:
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
        expected="images with sentences (Karpathy), or images and annotations (COCO)",
        found=", ".join(sorted(content)[:5]) or "an empty object",
    )


def _require_split(path: Path, split: str | None) -> str:
    if split is None:
        remedy = "add --split train, dev or test"
        raise InputError("this file has no splits", file=path, remedy=remedy)
    return split


def _karpathy(path: Path, images: list[dict], split: str | None) -> list[tuple[str, str, str]]:
    if split is not None:
        remedy = f"leave out --split {split}"
        raise InputError("this file has splits of its own", file=path, remedy=remedy)
    unknown = {str(image["split"]) for image in images} - KARPATHY.keys()
    if unknown:
        raise InputError(
            "unknown split", file=path, expected=", ".join(KARPATHY), found=min(unknown)
        )
    keyed = ((image_key(image["filename"]), (n, image)) for n, image in enumerate(images))
    by_key = unique_keys(keyed, path, source=lambda it: f"images[{it[0]}] {it[1]['filename']}")
    return [
        (key, KARPATHY[image["split"]], sentence["raw"])
        for key, (_, image) in by_key.items()
        for sentence in image["sentences"]
    ]


def _coco(path: Path, content: dict, split: str) -> list[tuple[str, str, str]]:
    files = ((image["id"], image["file_name"]) for image in content["images"])
    file_of = unique_keys(files, path, what="images (by their id)")
    keyed = ((image_key(file), (number, file)) for number, file in file_of.items())
    by_key = unique_keys(keyed, path, source=lambda it: f"{it[1]} (id {it[0]})")
    place = {key: i for i, key in enumerate(by_key)}
    rows = [
        (image_key(file_of[a["image_id"]]), split, a["caption"]) for a in content["annotations"]
    ]
    return sorted(rows, key=lambda row: place[row[0]])  # annotations are in any order


def _text(path: Path, split: str) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for row, line in enumerate(read_captions(path), 1):
        image, tab, caption = line.partition("\t")
        if not tab:
            raise InputError(
                "no image before the caption",
                file=path,
                row=row,
                expected="name.jpg#0, a tab, a caption",
                found=line[:60],
            )
        rows.append((image, split, caption))
    numbered = ((image, row) for row, (image, _, _) in enumerate(rows, 1) if "#" in image)
    unique_keys(numbered, path, what="captions", source=lambda row: f"row {row}")
    names = dict.fromkeys(image.partition("#")[0] for image, _, _ in rows)
    unique_keys(((image_key(name), name) for name in names), path)
    return [(image_key(image.partition("#")[0]), split, caption) for image, split, caption in rows]
