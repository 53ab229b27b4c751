"""The image of every caption: from the numbers of images and captions, from ids, or from counts.

Captions are in the order of the images, all captions of an image in consecutive rows. The number
of captions of each image is that of ``{split}_counts.txt`` (one whole number a line), else the
length of its run of equal ids where ``{split}_ids.txt`` has a row per caption, else the number of
captions divided by that of images.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itm_core.data.arrays import once_each
from itm_core.data.names import require_ids
from itm_core.data.vocabulary import read_captions
from itm_core.errors import InputError
from itm_core.files import unique_keys

CONSECUTIVE = "put captions and ids into the order of the images"


def read_ids(path: Path) -> list[str] | None:
    """Return the rows of an id file, without empty ones at its end; None without a file."""
    if not path.exists():
        return None
    ids = [line.strip() for line in read_captions(path)]
    while ids and not ids[-1]:
        ids.pop()
    return ids


def caption_counts(
    folder: Path, name: str, regions: np.ndarray, captions: int, ids: list[str] | None
) -> np.ndarray | None:
    """Return how many captions each image of a split has, ``[I]``; None where all have as many.

    Args:
        regions: ``[rows, R, F]``, the feature file.
        captions: C.
        ids: the rows of the id file, or None.

    Raises `InputError` for counts that do not fit the other files.
    """
    path = folder / f"{name}_counts.txt"
    counts: np.ndarray | None
    if path.exists():
        counts = read_counts(path, captions)
    elif ids is not None and len(ids) == captions:
        counts = _of_ids(folder / f"{name}_ids.txt", regions, ids)
    else:
        return None
    if counts is None or len(counts) == len(regions):
        return None if counts is None or (counts == counts[0]).all() else counts
    if len(regions) == captions and (counts == counts[0]).all():
        return None  # a row of features for each caption
    raise InputError(
        "features and captions do not fit",
        file=folder / f"{name}_ims.npy",
        expected=f"one row for each of {len(counts)} images, which have {counts.min()} to "
        f"{counts.max()} captions",
        found=f"{len(regions)} rows",
        remedy="keep the first row of each image, if rows are repeated for every caption",
    )


def read_counts(path: Path, captions: int) -> np.ndarray:
    """Return the numbers in a file of counts, ``[I]``.

    Raises `InputError` for a line that is no whole number from 1, and for another sum than
    ``captions``.
    """
    lines = read_captions(path)
    wrong = next((k for k, line in enumerate(lines) if not _is_count(line)), None)
    if wrong is not None:
        raise InputError(
            "not a number of captions",
            file=path,
            row=wrong + 1,
            expected="a whole number from 1, one a line",
            found=lines[wrong][:60],
            remedy="take images without captions out of the split",
        )
    counts = np.array([int(line) for line in lines], np.int64)
    if not len(counts) or counts.sum() != captions:
        raise InputError(
            "counts and captions do not fit",
            file=path,
            expected=f"a sum of {captions}, as there are captions",
            found=int(counts.sum()),
        )
    return counts


def _is_count(line: str) -> bool:
    digits = line.strip()
    return digits.isascii() and digits.isdigit() and len(digits) < 10 and int(digits) > 0


def _of_ids(path: Path, regions: np.ndarray, ids: list[str]) -> np.ndarray | None:
    """Return the lengths of the runs of equal ids; None where ids do not say them.

    They do not where each is different: some releases number captions. Of features with a row for
    every caption an id may be repeated by mistake; then the rows of the two captions differ.

    Raises `InputError` where the captions of an image are not in consecutive rows.
    """
    first = [k for k in range(len(ids)) if not k or ids[k] != ids[k - 1]]
    counts = np.diff([*first, len(ids)])
    images = len(set(ids))
    if images == len(ids):
        return None
    if len(first) == images:
        longest = first[int(counts.argmax())]
        if len(regions) == len(ids) and not np.array_equal(*regions[longest : longest + 2]):
            return None
        return None if (counts == counts[0]).all() else counts
    if images == len(regions) and len(ids) % images:
        earlier = {ids[k]: k for k in reversed(first)}
        again = next(k for k in first if earlier[ids[k]] < k)
        raise InputError(
            "the captions of an image are not in consecutive rows",
            file=path,
            row=again + 1,
            found=f"{ids[again]} again",
            remedy=CONSECUTIVE,
        )
    return None


def one_row_per_image(
    path: Path, regions: np.ndarray, captions: int, full: bool, ids: list[str] | None
) -> np.ndarray:
    """Return one row per image; some releases repeat an image's row for each of its captions.

    Rows that are all equal are those of one image only where the ids say so: else the features
    have failed, which `informative` tells.

    Raises `InputError` when the captions cannot be divided among the images.
    """
    rows = len(regions)
    if captions > rows and captions % rows == 0:
        return regions
    found = f"{captions} captions"
    if captions == rows:
        different = (k for k in range(1, rows) if not np.array_equal(regions[k], regions[0]))
        equal = next(different, rows)  # so many rows at the beginning are equal
        if equal == 1 or (equal == rows and len(set(ids or [])) != 1):
            return regions
        for times in (k for k in range(equal, 1, -1) if equal % k == rows % k == 0):
            first_rows = once_each(regions, times, full=full)
            if first_rows is not None:
                return first_rows
        found += f", and rows 0 to {equal - 1} are equal, but not as many rows of each image"
    counts = path.name.replace("_ims.npy", "_counts.txt")
    raise InputError(
        "images and captions do not fit",
        file=path.with_name(path.name.replace("_ims.npy", "_caps.txt")),
        expected=f"the same number of captions for each of the {rows} images in {path.name}",
        found=found,
        remedy="look for a line missing, empty at the end, or broken in two; or check that both "
        f"files are of the same split; where images differ in captions, write {counts}, a number "
        "for each image, or an id for each caption",
    )


def ids_of_images(path: Path, ids: list[str] | None, counts: np.ndarray) -> list[str]:
    """Return one id for each image, from the rows of the id file; numbers without a file.

    Args:
        counts: ``[I]``, the captions of each image.

    Raises `InputError` for an id that `names` refuses, another number of ids, two images with one
    id, and where the captions of one image are not in consecutive rows.
    """
    images, captions = len(counts), int(counts.sum())
    if ids is None:
        return [str(i) for i in range(images)]
    require_ids(ids, path)
    first = np.cumsum(counts) - counts
    step = np.arange(images)
    if len(ids) == captions:
        _require_consecutive(path, ids, np.repeat(first, counts).tolist())
        step, ids = first, [ids[row] for row in first]
    if len(ids) != images:
        expected = f"{images} or {captions}"
        raise InputError("wrong number of ids", file=path, expected=expected, found=len(ids))
    rows = ((image, f"row {step[number] + 1}") for number, image in enumerate(ids))
    unique_keys(rows, path, remedy="give every image an id of its own, or remove the file")
    return ids


def _require_consecutive(path: Path, ids: list[str], first: list[int]) -> None:
    """Raise `InputError` where the captions of one image are not in consecutive rows.

    Some releases count captions here, and no two ids are equal: they say nothing about images.

    Args:
        first: for each caption the first one of its image.
    """
    if len(set(ids)) == len(ids):
        return
    for row, (image, start) in enumerate(zip(ids, first, strict=True)):
        if image != ids[start]:
            raise InputError(
                "the captions of an image are not in consecutive rows",
                file=path,
                row=row + 1,
                expected=f"{ids[start]} as in row {start + 1}",
                found=image,
                remedy=CONSECUTIVE,
            )
