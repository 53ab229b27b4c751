"""The arrays of a dataset: memory-mapped, and validated on load.

Small files are checked entirely. Of a feature file above `SCANNED_ENTIRELY` bytes evenly spaced
images are checked, which takes seconds for 33 GB; ``full`` checks all of them, once.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import shlex
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from itm_core.data.boxes import (
    IN_PIXELS,
    SHARES,
    TO_PIXELS,
    WRONG_BOX,
    are_shares,
    box_rule,
    wrong_boxes,
)
from itm_core.data.ragged import RaggedRegions
from itm_core.errors import InputError
from itm_core.files import reading
from itm_core.json_files import write_json

IMAGES_AT_ONCE = 128
SCANNED_ENTIRELY = 2**31  # bytes
SAMPLED = 1024  # images of a larger file
BOXES, SIZES = ("boxes", "ims_bbx"), ("img_sizes", "ims_size")  # as releases call them
REGION_LENS = "region_lens"


def mapped(path: Path, of_pickle: Callable[[Path], str] | None = None) -> np.ndarray:
    """Return the array in a file, memory-mapped read-only; raises `InputError` for other files.

    ``of_pickle`` returns the remedy for a file of pickled objects, where the caller knows one.
    """
    with reading(path), path.open("rb"):
        pass
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(values, np.ndarray):
            return values
        found = "an archive of several arrays"
    except Exception as error:  # numpy raises many kinds of errors for a damaged header
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            raise _no_memory(path) from None
        _no_pickle(path, of_pickle)
        found = f"{path.stat().st_size} bytes ({error})"
    expected = None
    if header := _header(path):
        shape, kind, start = header
        expected = f"{start + prod(shape) * kind.itemsize} bytes"
    raise InputError(
        "not a whole .npy file",
        file=path,
        expected=expected,
        found=found,
        remedy="copy or download the file again",
    )


def _no_memory(path: Path) -> InputError:
    return InputError(
        "no room in the memory of this process to map the file",
        file=path,
        found=f"{path.stat().st_size} bytes",
        remedy="raise its limit (`ulimit -v`, or the one of the batch system): the file is mapped, "
        "and only what is read of it is held in memory",
    )


def _no_pickle(path: Path, remedy: Callable[[Path], str] | None) -> None:
    """Raise for a file of pickled objects, with a command for an array of the layout."""
    header = _header(path)
    with path.open("rb") as file:
        raw = file.read(1) == b"\x80"
    if not raw and not (header and header[1].hasobject):
        return
    endings = tuple(f"_{ending}" for ending in (*BOXES, *SIZES, REGION_LENS, "ims", "pictures"))
    of_layout = path.stem.endswith(endings)
    remedy = remedy or (_to_array if of_layout else _plain)
    raise InputError(
        "pickled objects, which are not opened: opening runs whatever program is in them",
        file=path,
        expected="a plain array of numbers",
        remedy=f"if you trust where it is from, {remedy(path)}",
    )


def _plain(path: Path) -> str:
    """Return the remedy for a file whose content is not known."""
    return "open it once with np.load(path, allow_pickle=True), and np.save its numbers alone"


def _to_array(path: Path) -> str:
    """Return the command that replaces a pickle by its array, and what it requires."""
    of_boxes = path.stem.endswith(tuple(f"_{ending}" for ending in BOXES))
    row = "r.get('boxes', r.get('bbox'))" if of_boxes else "[r['image_w'], r['image_h']]"
    rows = f"[{row} if isinstance(r, dict) else r for r in x]"
    program = (
        "import sys, numpy as np; p = sys.argv[1]; "
        "x = np.asarray(np.load(p, allow_pickle=True)).tolist(); "
        "x = list(x.values()) if isinstance(x, dict) else x; "
        f"np.save(p, np.float32({rows}))"
    )
    line = shlex.join(["python", "-c", program, str(path)])
    return f"convert it once: {line}; the rows must be in the order of the images"


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype, int] | None:
    """Return shape, type and length of the header; None for an unreadable one."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
            shape, _, kind = read(file)
            return shape, kind, file.tell()
    except Exception:
        return None


def array(path: Path, shape: tuple[int | str, ...], kind: str) -> np.ndarray:
    """Return the mapped array; a side with a name may have any length but 0.

    ``kind`` is a type's name, or ``number``. Raises `InputError` for another shape or type.
    """
    values = mapped(path)
    sides = zip(shape, values.shape, strict=False)
    fits = all(have == n if isinstance(n, int) else have > 0 for n, have in sides)
    if values.ndim != len(shape) or not fits:
        expected = f"[{', '.join(map(str, shape))}]"
        raise InputError("wrong shape", file=path, expected=expected, found=list(values.shape))
    if values.dtype.kind not in "fiu" if kind == "number" else values.dtype != np.dtype(kind):
        remedy = None if kind == "number" else f"np.save(path, np.load(path).astype(np.{kind}))"
        raise InputError("wrong type", file=path, expected=kind, found=values.dtype, remedy=remedy)
    return values


def release(values: Any) -> None:
    """Release the memory of a map's pages that were read; later accesses read them again.

    Otherwise the system counts every page that was read as resident until memory is short.
    """
    while hasattr(values, "regions"):  # ragged, or joined with positions
        values = values.regions
    base = _mapped_file(values)
    if base is not None and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _mapped_file(values: Any) -> mmap.mmap | None:
    """Return the mapped file that an array is a view of, or None."""
    while values is not None and not isinstance(values, mmap.mmap):
        values = getattr(values, "base", None)
    return values


def images_of(features: Any, chosen: np.ndarray) -> np.ndarray:
    """Return the features ``[B, R, F]`` float32 of some images, without keeping pages mapped.

    Images of a plain memory-mapped file are read at their offset: several times as fast as
    through the map, which reads page by page.
    """
    if isinstance(features, RaggedRegions):
        features = features.regions
    start = _file_offset(features)
    if start is not None:
        return _read(features, start, chosen)
    chosen_features = np.asarray(features[chosen], np.float32)
    release(features)
    return chosen_features


def _file_offset(features: Any) -> int | None:
    """Return the offset of image 0 in its file; None unless every image is contiguous there."""
    mapped_file = _mapped_file(features)
    if (
        mapped_file is None
        or not isinstance(features, np.memmap)
        or features.filename is None
        or features.dtype != np.float32
        or not len(features)
        or not features[0].flags.c_contiguous
        or not hasattr(os, "preadv")
    ):
        return None
    mapped_from = features.offset - features.offset % mmap.ALLOCATIONGRANULARITY
    return mapped_from + features.ctypes.data - np.frombuffer(mapped_file, np.uint8).ctypes.data


def _read(features: np.memmap, start: int, chosen: np.ndarray) -> np.ndarray:
    rows = np.empty((len(chosen), *features.shape[1:]), np.float32)
    with Path(str(features.filename)).open("rb", buffering=0) as file:
        for image, row in zip(chosen.tolist(), rows, strict=True):
            offset = start + image * features.strides[0]
            if os.preadv(file.fileno(), [memoryview(row).cast("B")], offset) != row.nbytes:
                raise InputError(
                    "the file ends before its last image",
                    file=features.filename,
                    found=f"image {image} is incomplete",
                    remedy="was it changed during the training?",
                )
    return rows


def once_each(values: np.ndarray, times: int, *, full: bool = False) -> np.ndarray | None:
    """Return the first of every ``times`` equal rows, or None when such rows aren't equal.

    Twenty groups are compared, or all with ``full``.
    """
    first = values[::times]
    groups = range(len(first)) if full else np.linspace(0, len(first) - 1, 20).astype(int)
    for i in groups:
        block = values[times * i : times * i + times]
        if not (block == block[0]).all():
            return None
    return first


def finite(
    path: Path, regions: np.ndarray, lens: np.ndarray | None = None, *, full: bool = False
) -> None:
    """Raise `InputError` at the first value that is not finite, or not zero in the padding.

    ``lens [I]`` are the numbers of regions where these vary: what follows is padding. A file that
    was read entirely is marked so beside it, until it changes.
    """
    state = path.stat()
    note = path.with_name(f".{path.name}.checked")
    mark = {"bytes": state.st_size, "changed": state.st_mtime_ns, "images": len(regions)}
    if lens is not None:
        mark[REGION_LENS] = zlib.crc32(lens.tobytes())
    with suppress(OSError, ValueError, RecursionError):  # no note, or a damaged one
        if json.loads(note.read_text()) == mark:
            return
    entirely = full or regions.nbytes <= SCANNED_ENTIRELY
    images = np.arange(len(regions))
    if not entirely:
        images = np.unique(np.linspace(0, len(regions) - 1, SAMPLED).astype(int))
    for start in range(0, len(images), IMAGES_AT_ONCE):
        chosen = images[start : start + IMAGES_AT_ONCE]
        block = images_of(regions, chosen)
        if not np.isfinite(block.sum(dtype=np.float64)):
            position, region, _ = np.argwhere(~np.isfinite(block))[0]
            raise InputError(
                "a region feature is not finite",
                file=path,
                row=int(chosen[position]),
                found=f"NaN or infinity in region {region}",
                remedy="extract it again",
            )
        if lens is not None:
            _require_zero_padding(path, block, chosen, lens[chosen])
    if entirely:
        with suppress(OSError, InputError):  # without space or permission it is scanned each time
            write_json(note, mark)


def _require_zero_padding(
    path: Path, block: np.ndarray, images: np.ndarray, lens: np.ndarray
) -> None:
    """Raise `InputError` for values after the last region of an image of ``block [n, R, F]``."""
    wrong = (np.arange(block.shape[1]) >= lens[:, None]) & block.any(-1)
    if wrong.any():
        position, region = np.argwhere(wrong)[0].tolist()
        raise InputError(
            f"region {region} follows the last one of its image, and is not zero",
            file=path,
            row=int(images[position]),
            expected=f"zeros after {lens[position]} regions",
            remedy=f"do the numbers of regions, *_{REGION_LENS}.npy, belong to this file?",
        )


def read_region_lens(
    folder: Path, split: str, shape: tuple[int, ...], repeated: int
) -> np.ndarray | None:
    """Return the number of regions of each image ``[I]`` int64; None without their file.

    Like features they may be repeated for every caption. Raises `InputError` for other numbers
    than 1 to R, and for another number of them.
    """
    images, regions = shape
    path, lens = _optional_array(folder, split, (REGION_LENS,), (images,), repeated)
    if lens is None:
        return None
    wrong = np.flatnonzero((lens < 1) | (lens > regions)) if lens.dtype.kind in "iu" else [0]
    if len(wrong):
        raise InputError(
            "not a number of regions",
            file=path,
            row=int(wrong[0]),
            expected=f"an integer from 1 to {regions}, the regions in {split}_ims.npy",
            found=lens[wrong[0]],
        )
    return np.array(lens, np.int64)


def boxes_and_sizes(
    folder: Path,
    split: str,
    shape: tuple[int, ...],
    repeated: int,
    lens: np.ndarray | None = None,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the boxes ``[I, R, 4]`` and the picture sizes ``[I, 2]``, each None without a file.

    Like features they may be repeated for every caption. Raises `InputError` for another shape,
    empty pictures, boxes that `wrong_boxes` finds, and boxes after an image's last region, of
    which there are ``lens [I]``.
    """
    images, regions = shape
    boxes_file, boxes = _optional_array(folder, split, BOXES, (images, regions, 4), repeated)
    sizes_file, sizes = _optional_array(folder, split, SIZES, (images, 2), repeated)
    if sizes is not None:
        _require_sizes(sizes_file, sizes)
    if boxes is not None:
        if lens is not None:
            _require_zero_padding(boxes_file, boxes, np.arange(images), lens)
        _require_boxes(boxes_file, boxes, sizes, lens)
    return boxes, sizes


def _optional_array(
    folder: Path, split: str, endings: Sequence[str], shape: tuple[int, ...], repeated: int
) -> tuple[Path, np.ndarray | None]:
    paths = [folder / f"{split}_{ending}.npy" for ending in endings]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return paths[0], None
    values = mapped(path)
    if repeated > 1 and values.shape == (repeated * shape[0], *shape[1:]):
        first = once_each(array(path, values.shape, "number"), repeated, full=True)
        if first is None:
            raise InputError(
                f"the {repeated} rows of an image differ",
                file=path,
                expected=f"{shape[0]} rows, or each {repeated} times",
            )
        values = first
    else:
        values = array(path, shape, "number")
    return path, values


def _require_sizes(path: Path, sizes: np.ndarray) -> None:
    wrong = np.flatnonzero(~(np.isfinite(sizes) & (sizes > 0)).all(-1))
    if len(wrong):
        raise InputError(
            "a size makes no sense",
            file=path,
            row=int(wrong[0]),
            expected="a width and a height above 0",
            found=sizes[wrong[0]].tolist(),
        )


def _require_boxes(
    path: Path, boxes: np.ndarray, sizes: np.ndarray | None, lens: np.ndarray | None
) -> None:
    """Raise for boxes that are wrong (`wrong_boxes`), or that are fractions of their picture."""
    if are_shares(boxes, sizes):
        found = f"up to {float(boxes.max()):g}"
        raise InputError(SHARES, file=path, expected=IN_PIXELS, found=found, remedy=TO_PIXELS)
    wrong = wrong_boxes(boxes, sizes)
    if lens is not None:
        wrong &= np.arange(boxes.shape[1]) < lens[:, None]
    if wrong.any():
        image, region = np.argwhere(wrong)[0].tolist()
        raise InputError(
            f"the box of region {region} {WRONG_BOX}",
            file=path,
            row=image,
            expected=box_rule(None if sizes is None else sizes[image]),
            found=boxes[image, region].tolist(),
            remedy="are width and height exchanged, or was the picture scaled? Where the last "
            f"regions only fill up an image, write *_{REGION_LENS}.npy",
        )
