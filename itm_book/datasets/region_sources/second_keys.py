"""The ids of images in a caption file, for features that are named after them.

A record of Karpathy's or COCO's json has a file name and ids: ``cocoid``, ``imgid``, ``id``.
Features are usually named after the file; where not all images are found so, the field by which all
are found is taken.

Page: "Which files does it read?".
"""

from __future__ import annotations

from collections.abc import Collection, Set
from pathlib import Path

from itm_book.datasets.caption_texts import IMAGE
from itm_core.data.photographs import image_key
from itm_core.errors import InputError
from itm_core.files import unique_keys
from itm_core.json_files import JSON_LINES, read_json_entries

NAMES = ("filename", "file_name")  # of Karpathy's and COCO's records; of lists see `IMAGE`
FIELDS = ("cocoid", "id", "imgid", "image_id")


def ids_of_records(captions: Path) -> dict[str, dict[str, str]]:
    """Return for each field that all records have: the key of an image, and its id as a key.

    A field with several ids of one image is left out: they are ids of its captions.
    """
    if captions.suffix.lower() not in (".json", *JSON_LINES):
        return {}
    content = read_json_entries(captions)
    listed = isinstance(content, list)  # the names are those that `caption_sources` reads
    names: tuple[str, ...] = IMAGE if listed else NAMES
    every = [entry for _, entry in content] if listed else content.get("images", ())
    records = [record for record in every if isinstance(record, dict)]
    ids: dict[str, dict[str, str]] = {}
    for field in FIELDS:
        if records and all(type(record.get(field)) in (str, int) for record in records):
            pairs = {(_name(record, names), image_key(record[field])) for record in records}
            if len({name for name, _ in pairs}) == len(pairs):  # else the ids are of captions
                ids[field] = dict(pairs)
    return ids


def _name(record: dict, names: Collection[str]) -> str:
    named = (record[name] for name in names if type(record.get(name)) in (str, int))
    return image_key(next(named, ""))


def fitting_ids(
    captions: Path, images: Collection[str], found: Set[str], seen: Set[str]
) -> tuple[str | None, dict[str, str]]:
    """Return the field whose ids name the records of a source, and the id of each image.

    Args:
        captions: the caption file.
        images: keys of the captioned images.
        found: those that were found by their names.
        seen: the keys of all records of the source.

    The field is None when no field has a record for each image. Raises `InputError` when two images
    have one id, two fields fit and differ, or an image has a record by its name and another one by
    its id.
    """
    fitting = {}
    for field, ids in ids_of_records(captions).items():
        of_images = {image: ids[image] for image in images if image in ids}
        if len(of_images) == len(images) and seen >= set(of_images.values()):
            fitting[field] = of_images
    if not fitting:
        return None, {}
    (field, ids), *others = fitting.items()
    unique_keys(((key, image) for image, key in ids.items()), captions, what=f"images, by {field},")
    for image, key in ids.items():
        records = {f"{key!r} by its {field}": key}
        records |= {f"{other[image]!r} by its {name}": other[image] for name, other in others}
        if image in found:
            records[f"{image!r} by its name"] = image
        if len(set(records.values())) > 1:
            raise InputError(
                f"two records of the features fit image {image}",
                file=captions,
                found=" and ".join(records),
                remedy="name the features after the files of the images, or leave out of the "
                "caption file the ids that do not name them",
            )
    return field, ids
