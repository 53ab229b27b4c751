"""HDF5 and LMDB files of region features, through the optional libraries h5py, lmdb and msgpack.

HDF5, of Meshed-Memory Transformer: ``391895_features``, ``391895_boxes``; of others: an array or a
group for each image; or ``image_features [I, R, F]``, ``image_bb``, or with ``pos_boxes [I, 2]``
the regions of all images in one array, with the names of the images in ``image_ids`` or in a text
file ``<name>_ids.txt`` beside the file. ``num_boxes [I]`` says where zeros fill up an image.

LMDB: a value for each image, the bytes of an .npz or .npy file (*self-critical*, UNITER's
compressed form) or of msgpack (UNITER). Pickled values (ViLBERT, VOLTA) are not opened.

Page: "Which files does it read?".
"""

from __future__ import annotations

import io
import logging
import shlex
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from itm_book.datasets.region_sources.numpy_files import DAMAGE, members, of_bytes
from itm_book.datasets.region_sources.record import (
    BOXES,
    COUNTS,
    FEATURES,
    Detected,
    Entry,
    from_arrays,
    read_entry,
)
from itm_core.data.photographs import image_key
from itm_core.data.vocabulary import read_captions
from itm_core.errors import InputError
from itm_core.extras import optional

IDS = ("image_ids", "image_id", "ids", "img_ids", "img_id")
PARTS = {"_features": "features", "_boxes": "boxes"}  # of Meshed-Memory Transformer
HDF5_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # h5py raises any of these
log = logging.getLogger(__name__)
KEYS = (b"__keys__", b"keys")  # the lists of names in UNITER's and VOLTA's files


def hdf5_entries(file: Path) -> Iterator[Entry]:
    """Yield the images of an HDF5 file; raises `InputError` without h5py, or for another file."""
    h5py = optional("h5py", "reading .h5 files")
    try:
        with h5py.File(file, "r") as content:
            stacked = next((name for name in FEATURES if name in content), None)
            if stacked is not None and hasattr(content[stacked], "shape"):
                yield from _stacked(file, content, content[stacked])
            else:
                yield from _by_image(file, content)
    except InputError:
        raise
    except HDF5_DAMAGE as error:
        raise InputError("not readable as HDF5", file=file, found=str(error)[:200]) from None


def _by_image(file: Path, content: Any) -> Iterator[Entry]:
    """Yield the images of a file with an array, arrays, or a group of arrays for each."""
    names = list(content)
    known = {name.removesuffix("_features") for name in names if name.endswith("_features")}
    for name in names:
        image, ending = name, ""
        for part in PARTS:
            if name.endswith(part):
                image, ending = name.removesuffix(part), part
        of_parts = ending == "_features"
        if not ending and any(letter == "_" and name[:k] in known for k, letter in enumerate(name)):
            continue  # classes, their probabilities, sizes
        if of_parts or not ending:
            arrays = partial(_arrays, content, image, of_parts)
            yield Entry(image_key(image), partial(_from, image, arrays, file))


def _arrays(content: Any, image: str, of_parts: bool) -> Mapping[str, Any]:
    if of_parts:
        names = {part: f"{image}{ending}" for ending, part in PARTS.items()}
        return {part: content[name][()] for part, name in names.items() if name in content}
    value = content[image]
    if hasattr(value, "shape"):
        return {"features": value[()]}
    return {name: value[name][()] for name in value if hasattr(value[name], "shape")}


def _from(name: str, arrays: Any, file: Path) -> Detected:
    try:
        content = arrays()
    except HDF5_DAMAGE as error:
        raise InputError(
            f"image {image_key(name)} cannot be read",
            file=file,
            found=str(error)[:200],
            remedy="the file is damaged: copy or download it again",
        ) from None
    return from_arrays(name, content, file)


def _stacked(file: Path, content: Any, features: Any) -> Iterator[Entry]:
    """Yield the images of a file with the regions of all images in one array."""
    arrays = {"features": features}
    if boxes := next((name for name in BOXES if name in content), None):
        arrays["boxes"] = content[boxes]
    bounds = content["pos_boxes"][()] if "pos_boxes" in content else None
    if bounds is not None:
        _require_bounds(file, bounds, len(features))
    elif counts := next((name for name in COUNTS if name in content), None):
        arrays[counts] = _counts(file, content[counts][()], len(features))
    names = _names(file, content, len(features) if bounds is None else len(bounds))
    for i, name in enumerate(names):
        rows = i if bounds is None else slice(*map(int, bounds[i]))
        read = partial(_rows_of, arrays, rows)
        yield Entry(image_key(name), partial(_from, name, read, file))


def _counts(file: Path, counts: Any, images: int) -> np.ndarray:
    """Return the numbers of regions, ``[I]``; raises `InputError` for another shape."""
    values = np.asarray(counts)
    if values.size != images:
        raise InputError(
            "numbers of regions and features differ",
            file=file,
            expected=f"{images} numbers",
            found=list(values.shape),
        )
    return values.reshape(-1)


def _require_bounds(file: Path, bounds: np.ndarray, rows: int) -> None:
    """Raise `InputError` for places of regions outside the array; log those of no image."""
    fits = bounds.ndim == 2 and bounds.shape[1] == 2 and bounds.dtype.kind in "iu" and len(bounds)
    if not fits or not (bounds.min() >= 0 and (bounds[:, 0] < bounds[:, 1]).all()):
        raise InputError(
            "pos_boxes are not the places of regions",
            file=file,
            expected="whole numbers [I, 2]: the first region of each image, and the one after it",
            found=f"{bounds.dtype} {list(bounds.shape)}",
        )
    if bounds.max() > rows:
        raise InputError(
            "pos_boxes lead beyond the last region",
            file=file,
            expected=f"at most {rows}",
            found=int(bounds.max()),
            remedy="the file is incomplete, or of two releases: download it again",
        )
    used = np.zeros(rows + 1, np.int64)
    np.add.at(used, bounds[:, 0], 1)
    np.add.at(used, bounds[:, 1], -1)
    if unused := int((used.cumsum()[:rows] == 0).sum()):
        log.warning("%s: %d of %d regions are of no image by pos_boxes", file, unused, rows)


def _rows_of(arrays: Mapping[str, Any], rows: Any) -> Mapping[str, Any]:
    return {name: values[rows] for name, values in arrays.items()}


def _names(file: Path, content: Any, count: int) -> list[str]:
    """Return the names of the images in one array of features, in their order."""
    listed = file.with_name(f"{file.stem}_ids.txt")
    values = next((content[name][()] for name in IDS if name in content), None)
    if values is not None:
        names = [
            v.decode(errors="replace") if isinstance(v, bytes) else str(v)
            for v in np.asarray(values).flat
        ]
    elif listed.exists():
        names = [line.strip() for line in read_captions(listed)]
    else:
        raise InputError(
            "features of all images in one array, without the names of the images",
            file=file,
            expected=f"a dataset {IDS[0]}, or {listed.name} beside the file, a name a line",
            remedy=f"if the release has them in a pickle that you trust: {_to_names(listed)}",
        )
    if len(names) != count:
        found = f"{len(names)} names"
        raise InputError("names and features differ", file=file, expected=count, found=found)
    return names


def _to_names(listed: Path) -> str:
    """Return the command that writes the names of a pickled index, a dictionary, a name a line."""
    program = (
        "import pickle, sys; x = pickle.load(open(sys.argv[1], 'rb')); "
        "open(sys.argv[2], 'x').write('\\n'.join(map(str, sorted(x, key=x.get))))"
    )
    pickled = listed.with_name("imgid2idx.pkl")
    return shlex.join(["python", "-c", program, str(pickled), str(listed)])


def lmdb_entries(folder: Path) -> Iterator[Entry]:
    """Yield the images of an LMDB, a folder with ``data.mdb`` or a file.

    Raises `InputError` without the library lmdb, and for another file.
    """
    lmdb = optional("lmdb", "reading LMDB")
    try:
        store = lmdb.open(str(folder), subdir=folder.is_dir(), readonly=True, lock=False)
        with store, store.begin() as transaction:
            for key, value in transaction.cursor():
                if key not in KEYS:
                    name = key.decode(errors="replace")
                    yield read_entry(name, partial(_of_value, name, value, folder))
    except lmdb.Error as error:
        raise InputError("not readable as LMDB", file=folder, found=str(error)) from None


def _of_value(name: str, value: bytes, file: Path) -> Detected:
    """Return the regions in a value of an LMDB; raises `InputError` for another form."""
    if value[:1] == b"\x80" and value[1:2] in b"\x02\x03\x04\x05":
        raise InputError(
            f"image {image_key(name)}: pickled objects, which are not opened: opening runs "
            "whatever program is in them",
            file=file,
            remedy="if you trust where it is from, write an .npz for each image, as the page "
            "'Which files does it read?' shows",
        )
    try:
        arrays = _of_numpy(value) if value[:2] == b"PK" or value[:6] == b"\x93NUMPY" else None
        return from_arrays(name, _of_msgpack(value) if arrays is None else arrays, file)
    except InputError:
        raise
    except (*DAMAGE, KeyError, AttributeError) as error:
        raise InputError(
            f"image {image_key(name)}: not the bytes of .npz, .npy or msgpack",
            file=file,
            found=str(error)[:200],
        ) from None


def _of_numpy(value: bytes) -> Mapping[str, Any]:
    if value[:2] == b"PK":
        return members(io.BytesIO(value), (*FEATURES, *BOXES, *COUNTS))
    values = of_bytes(value)
    return {} if values is None else {"features": values}


def _of_msgpack(value: bytes) -> Mapping[str, Any]:
    """Return the arrays in bytes of msgpack, written with msgpack-numpy."""
    msgpack = optional("msgpack", "reading UNITER's LMDB")
    content = msgpack.unpackb(value, raw=False, strict_map_key=False)
    if not isinstance(content, dict):
        raise ValueError(f"msgpack of {type(content).__name__}")
    arrays = {}
    for name, coded in content.items():
        if isinstance(coded, dict) and (coded.get("nd") or coded.get(b"nd")):
            plain = {str(k, "ascii") if isinstance(k, bytes) else k: v for k, v in coded.items()}
            values = np.frombuffer(plain["data"], np.dtype(plain["type"]))
            arrays[str(name)] = values.reshape(plain["shape"])
    return arrays
