"""Converts region features to the SCAN layout, with the boxes and image sizes of the source.

`region_sources` reads the forms in which they are released; one image is in memory at a time, and
files may be in any order. The folder is written atomically. An image is found by its name, or, when
names do not fit, by the id of its record in the caption file (see `second_keys`).

Page: "Which files does it read?".
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itm_book.datasets.caption_sources import read_captioned
from itm_book.datasets.filled_arrays import FilledArrays
from itm_book.datasets.layout_writing import files_of, require_loadable
from itm_book.datasets.region_sources.second_keys import fitting_ids
from itm_book.datasets.region_sources.source import entries
from itm_book.folders import require_name
from itm_core.errors import InputError
from itm_core.files import locked, make_folder, put, space_checked
from itm_core.json_files import read_json, write_json
from itm_core.settings import at_least

NOTE = "request.json"  # in the temporary folder
LISTED = 3  # images without features, or files, that a message names


@dataclass(frozen=True)
class Converted:
    """What was written, and what of the source was not.

    Attributes:
        folder: of the dataset.
        images: number of images of each split.
        shape: ``(R, F)``.
        skipped: number of whole records without captions.
        broken: why records that no caption needs cannot be read.
        without_boxes: images whose records have no boxes; if there are any, none are written.
        without_sizes: likewise of the sizes of pictures.
        fewest: the smallest number of regions of an image.
        cut: number of images with more regions than were kept.
        matched_by: the field of the caption file that names the records; None: the file names.
    """

    folder: Path
    images: dict[str, int]
    shape: tuple[int, int]
    skipped: int
    broken: Sequence[InputError] = ()
    without_boxes: Sequence[str] = ()
    without_sizes: Sequence[str] = ()
    matched_by: str | None = None
    fewest: int | None = None
    cut: int = 0

    def lines(self) -> list[str]:
        """Return a line of text for each split, and one for each thing that was left out."""
        most, width = self.shape
        regions = f"{most}" if self.fewest in (None, most) else f"{self.fewest} to {most}"
        lines = [f"{s}: {n} images, {regions} regions of {width}" for s, n in self.images.items()]
        if self.cut:
            lines.append(
                f"{self.cut} images have more regions: the first {most} were kept, in the order "
                "of the source"
            )
        if self.matched_by:
            lines.append(f"records were found by {self.matched_by}, not by the names of files")
        for what, images in (("boxes", self.without_boxes), ("sizes", self.without_sizes)):
            if images:
                count, first = len(images), images[0]
                lines.append(f"no {what} were written: {count} images have none, such as {first}")
        lines.append(f"{self.skipped} images of the source without captions were skipped")
        if self.broken:
            lines.append(
                f"{len(self.broken)} damaged records that no caption needs were skipped, such as "
                f"{self.broken[0]}"
            )
        return lines


def convert(
    source: Path | str,
    folder: Path | str,
    captions: Path | str,
    *,
    split: str | None = None,
    per_image: int | None = None,
    boxes: Path | str | None = None,
    regions: int | None = None,
    progress: bool = True,
) -> Converted:
    """Write a dataset in the SCAN layout to ``folder`` and return its contents.

    Args:
        source: a file or folder of region features, see `region_sources`.
        captions: see `caption_sources`; it sets the order; images without captions are skipped.
        split: for caption files without splits.
        per_image: the largest number of captions of an image, the first ones; all by default.
        boxes: a folder or file of boxes, for features that have none.
        regions: the largest number of regions of an image; of more the first are kept.

    Where images have different numbers of regions the arrays are filled up with zeros, and the
    numbers are written beside them. The released bottom-up-attention features have the regions in
    the order of the detector's proposals, by confidence only where an image reached its limit of
    10 or 100: the first 36 are not the 36 of largest confidence.

    Raises `InputError` when the record of a captioned image is damaged or missing, the width of
    features varies, a name fits two images, there is no disk space, or the folder has one of these
    splits' files already, or another process converts into it.
    """
    if regions is not None:
        at_least("regions", regions, 1)
    source, folder, captions = Path(source), require_name(folder), Path(captions)
    images = read_captioned(captions, split, per_image)
    names = list(dict.fromkeys(image.split for image in images))
    side = Path(boxes) if boxes is not None else None
    places = [str(path.absolute()) for path in (source, captions, side) if path is not None]
    request = {"splits": names, "of": places, "per_image": per_image, "regions": regions}
    records = entries(source, side)  # a source that cannot be read makes no folder
    with _claimed(folder, request) as partial:
        filled, matched_by = FilledArrays(partial, images, most=regions), None
        filled.fill(records, progress)
        if not filled.place.keys() <= filled.seen:
            matched_by, ids = fitting_ids(captions, filled.key, filled.found(), filled.seen)
            if matched_by is not None:
                filled = FilledArrays(partial, images, ids, most=regions)
                filled.fill(entries(source, side), progress)
        _require_all(filled, source)
        without_boxes, without_sizes = filled.write(names)
        for name in names:
            require_loadable(partial, name, folder)
        _move(partial, folder)
    counts = dict(Counter(image.split for image in images))
    assert filled.shape is not None
    broken = [error for of_key in filled.broken.values() for error in of_key]
    return Converted(
        folder,
        counts,
        filled.shape,
        filled.skipped,
        broken,
        without_boxes,
        without_sizes,
        matched_by,
        filled.fewest,
        len(filled.cut),
    )


def _require_all(filled: FilledArrays, source: Path) -> None:
    missing = filled.missing()
    if not missing:
        return
    for image in missing:
        for error in filled.broken.get(filled.key[image], ()):
            raise error
    found = f"{len(missing)} without, such as {', '.join(missing[:LISTED])}"
    if unnamed := filled.broken.get(None):
        found += f"; and {len(unnamed)} records without a name, the first: {unnamed[0]}"
    elif others := sorted(filled.seen - filled.place.keys())[:LISTED]:
        found += f"; records without captions are named {', '.join(others)}"
    raise InputError(
        "captioned images have no features",
        file=source,
        expected=f"{len(filled.place)} images",
        found=found,
        remedy="add the files that hold them, or take captions of these images only",
    )


def _require_new_splits(folder: Path, names: Sequence[str]) -> None:
    """Raise `InputError` for a file of one of the splits: it would be replaced, or read with them.

    Numbers of captions that an earlier dataset left would give captions to other images.
    """
    existing = [file for name in names for file in files_of(folder, name)]
    if existing:
        more = f" and {len(existing) - LISTED} more" if len(existing) > LISTED else ""
        raise InputError(
            "this folder has files of these splits already",
            file=folder,
            found=f"{', '.join(existing[:LISTED])}{more}",
            remedy="name another folder, or remove these files",
        )


@contextmanager
def _claimed(folder: Path, request: dict[str, Any]) -> Iterator[Path]:
    """Yield the temporary folder of a conversion; its first file notes what was asked for.

    So the same command repeats one that was killed while it moved the first splits to their folder.
    Raises `InputError` as `_require_new_splits` does, and where another process has the folder.
    """
    partial, lock = (folder.with_name(f".{folder.name}.{end}") for end in ("partial", "lock"))
    busy = "another process converts into this folder"
    with locked(lock, busy, "wait until it has ended", file=folder):
        note = partial / NOTE
        if not note.exists() or read_json(note) != request:
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            _require_new_splits(folder, request["splits"])
            make_folder(partial)
            write_json(note, request)
        try:
            with space_checked(folder):
                yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _move(partial: Path, folder: Path) -> None:
    """Move the files to their folder, features last: a split exists when they do."""
    folder.mkdir(exist_ok=True)
    files = [file for file in partial.iterdir() if file.name != NOTE]
    files.sort(key=lambda file: file.name.endswith("_ims.npy"))
    for file in files:
        put(file, folder / file.name)
