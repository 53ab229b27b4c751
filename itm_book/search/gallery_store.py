"""The encoded regions of a gallery on disk, memory-mapped: a million images on a small machine.

Each image is encoded once by a matcher. The folder contains:

==================  ==========================================================================
``gallery.json``    content, hashes of weights, features and arrays, number of encoded images
``regions.npy``     ``[I, R, D]`` float32, float16 or int8
``scales.npy``      ``[I, R]`` float32, the step of int8 per region: largest value / 127
``whole.npy``       ``[I, D]`` float32 pooled vectors, for encoders that compute them
``lens.npy``        ``[I]`` int64, the numbers of regions, where images have different ones
==================  ==========================================================================

The arrays are memory-mapped, so a search reads only the images that it re-ranks. A killed build
is resumed where it stopped, and ends with the same bytes.

Page: "Search at scale".
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from tqdm.auto import tqdm

from itm_book.datasets.layout_writing import save_array
from itm_book.folders import hashes_of, require_free, require_hashes, require_space, reserve
from itm_core.data.arrays import array, release
from itm_core.data.ragged import region_lens
from itm_core.encoders.fragments import Fragments
from itm_core.errors import InputError
from itm_core.evaluation.scoring import encode_images, encode_regions
from itm_core.files import make_folder, space_checked
from itm_core.json_files import read_json, write_json
from itm_core.models import Matcher
from itm_core.models.former_parameters import former_name
from itm_core.settings import one_of

KINDS = {"float32": 4, "float16": 2, "int8": 1}  # number formats and their bytes
AT_ONCE = 2048  # images between two notes of the progress
SAMPLED = 16  # images whose features are hashed for the note
STEPS = 127  # largest int8 value
NOTE = "gallery.json"
POOLED = "whole"  # name of the pooled vectors in the format of existing galleries
LENS = "lens"
ARRAYS = ("regions", "scales", POOLED, LENS)
FILES = "files"  # of the note: the SHA-256 of the arrays, when all images are encoded
MAX_SIDE = 2**40


@dataclass(frozen=True, eq=False)
class GalleryStore:
    """Encoded regions on disk; `fragments` returns those of some images for a matcher.

    Attributes:
        kind: number format of the regions, one of `KINDS`.
        regions: ``[I, R, D]`` memory-mapped.
        scales: ``[I, R]`` memory-mapped; None unless ``kind`` is int8.
        pooled: ``[I, D]`` mapped, or None.
        lens: ``[I]`` numbers of regions; None where every image has R.
    """

    folder: Path
    kind: str
    regions: np.ndarray
    scales: np.ndarray | None = None
    pooled: np.ndarray | None = None
    lens: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.regions)

    @property
    def bytes(self) -> int:
        """Size of the arrays on disk."""
        parts = (self.regions, self.scales, self.pooled)
        return sum(part.nbytes for part in parts if part is not None)

    def fragments(self, images: np.ndarray | slice) -> Fragments:
        """Return the regions ``[i, R, D]`` float32 of some images."""
        vectors = torch.from_numpy(np.array(self.regions[images])).float()
        if self.scales is not None:
            vectors *= torch.from_numpy(np.array(self.scales[images]))[..., None]
        pooled = None if self.pooled is None else torch.from_numpy(np.array(self.pooled[images]))
        if self.lens is None:
            return Fragments.of(vectors, pooled=pooled)
        lens = torch.from_numpy(np.array(self.lens[images]))
        return Fragments.of(vectors[:, : lens.max()], lens, pooled)

    def blocks(self, stop: int | None = None) -> Iterator[Fragments]:
        """Yield the (first ``stop``) images in blocks, from the start."""
        end = len(self) if stop is None else stop
        for start in range(0, end, AT_ONCE):
            yield self.fragments(slice(start, min(start + AT_ONCE, end)))
            release(self.regions)


def quantised(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return vectors ``[..., D]`` as int8 and the quantisation step ``[...]`` float32 of each.

    The step is a vector's largest absolute value / 127, so the error is at most half a step. A zero
    vector stays zero.
    """
    scales = vectors.abs().amax(-1) / STEPS
    steps = vectors / torch.where(scales > 0, scales, 1.0)[..., None]
    return steps.round().to(torch.int8), scales


def as_stored(vectors: Tensor, kind: str) -> Tensor:
    """Return vectors ``[..., D]`` float32 after storing and loading them in a number format."""
    one_of("kind", kind, KINDS)
    if kind == "int8":
        steps, scales = quantised(vectors)
        return steps.float() * scales[..., None]
    return vectors.half().float() if kind == "float16" else vectors


def build_store(
    matcher: Matcher,
    features: Any,
    folder: Path | str,
    *,
    kind: str = "float16",
    vocabulary: str | None = None,
    progress: bool = False,
) -> GalleryStore:
    """Return the store of a gallery, and encode the missing images.

    Args:
        features: ``[I, R, F]``, in memory, memory-mapped, or any object sliced like an array
            (`distractors.SyntheticDistractors`).
        kind: ``float16``, ``int8`` or ``float32``.
        vocabulary: hash of the vocabulary, for weights that do not determine it; stored in the
            note, and compared when the build is resumed.

    Raises `InputError` for an unknown kind, a folder with other files, or a full disk.
    """
    one_of("kind", kind, KINDS)
    folder = Path(folder)
    make_folder(folder if folder.exists() else folder.parent)
    with torch.no_grad():
        first = encode_regions(matcher, features[0:1])
    lens = region_lens(features)
    wanted = {
        "kind": kind,
        "shape": [*features.shape[:2], first.vectors.shape[2]],
        POOLED: first.pooled is not None,
        "weights": _weights_hash(matcher),
        "features": _features_hash(features),
        "vocabulary": vocabulary,
    }
    if lens is not None:
        wanted[LENS] = zlib.crc32(lens.tobytes())
    done = _done(folder, wanted)
    if done < len(features):
        with space_checked(folder):
            _encode(matcher, features, folder, wanted, done, progress)
    return open_store(folder)


def open_store(folder: Path | str) -> GalleryStore:
    """Return the finished store in a folder; raises `InputError` when there is none."""
    folder = Path(folder)
    note = _read_note(folder)
    images, regions, width = shape = tuple(note["shape"])
    if note["done"] < images:
        raise InputError(
            "the gallery is not finished",
            file=folder,
            expected=f"{images} images",
            found=f"{note['done']} done",
            remedy="run the same command again: it resumes the build",
        )
    require_hashes(folder, note.get(FILES, {}))
    return GalleryStore(
        folder,
        note["kind"],
        array(folder / "regions.npy", shape, note["kind"]),
        array(folder / "scales.npy", (images, regions), "float32")
        if note["kind"] == "int8"
        else None,
        array(folder / f"{POOLED}.npy", (images, width), "float32") if note[POOLED] else None,
        array(folder / f"{LENS}.npy", (images,), "int64") if LENS in note else None,
    )


def require_encoded_by(matcher: Matcher, folder: Path | str) -> None:
    """Raise `InputError` when the gallery in a folder was encoded with other weights."""
    encoded_by, expected = _read_note(Path(folder))["weights"], _weights_hash(matcher)
    if encoded_by != expected:
        raise InputError(
            "the gallery was encoded with other weights than this matcher has",
            file=folder,
            expected=f"weights {expected}",
            found=encoded_by,
            remedy="build the gallery again: itm index",
        )


def _read_note(folder: Path) -> dict[str, Any]:
    """Return the note of a gallery; raises `InputError` when a part of it is missing."""
    note = read_json(folder / NOTE)
    parts = {"kind": str, "shape": list, POOLED: bool, "weights": str, "done": int}
    wrong = [name for name, kind in parts.items() if type(note.get(name)) is not kind]
    if not wrong:
        shape, files = note["shape"], note.get(FILES, {})
        fits = {
            "kind": note["kind"] in KINDS,
            "shape": len(shape) == 3 and all(type(n) is int and 0 < n < MAX_SIDE for n in shape),
            "done": note["done"] >= 0,
            FILES: isinstance(files, dict) and {*files} <= {f"{n}.npy" for n in ARRAYS},
        }
        wrong = [name for name, fit in fits.items() if not fit]
    if wrong:
        raise InputError(
            "the note of the gallery is damaged",
            file=folder / NOTE,
            found=f"no valid {', '.join(wrong)}",
            remedy="delete the folder and build the gallery again: itm index",
        )
    return note


def _done(folder: Path, wanted: dict[str, Any]) -> int:
    """Return the number of encoded images of the wanted gallery in a folder."""
    if not (folder / NOTE).exists():
        require_free(folder, NOTE)
        return 0
    note = _read_note(folder)
    differs = [name for name in (*wanted, LENS) if note.get(name) != wanted.get(name)]
    if differs:
        raise InputError(
            "this folder has another gallery",
            file=folder,
            expected=f"the same {', '.join(differs)}",
            remedy="name another folder, or delete this one",
        )
    return int(note["done"])


def _encode(
    matcher: Matcher,
    features: Any,
    folder: Path,
    wanted: dict[str, Any],
    done: int,
    progress: bool,
) -> None:
    if done == 0:
        require_space(folder, _size(wanted), "keep the gallery")
        write_json(folder / NOTE, wanted | {"done": 0})  # first: a killed build is recognised
    arrays = _opened(folder, wanted, fresh=done == 0)
    lens = region_lens(features)
    if lens is not None:
        save_array(folder / f"{LENS}.npy", lens)
    starts = range(done, len(features), AT_ONCE)
    for start in tqdm(starts, desc="encoding", unit="block", disable=not progress, leave=False):
        stop = min(start + AT_ONCE, len(features))
        chunks = encode_images(matcher, features[start:stop])
        _write(arrays, slice(start, stop), chunks)
        for values in arrays.values():
            values.flush()
            release(values)
        names = [f"{name}.npy" for name in ARRAYS]
        files = {FILES: hashes_of(folder, names)} if stop == len(features) else {}
        write_json(folder / NOTE, wanted | {"done": stop} | files)


def _opened(folder: Path, wanted: dict[str, Any], *, fresh: bool) -> dict[str, np.memmap]:
    """Return the arrays to write: new ones, or those of an interrupted build."""
    shapes = _shapes(wanted)
    if not fresh:
        for name, (dtype, sides) in shapes.items():
            array(folder / f"{name}.npy", sides, dtype)  # raises for another one
        return {name: np.lib.format.open_memmap(folder / f"{name}.npy", "r+") for name in shapes}
    arrays = {}
    for name, (dtype, sides) in shapes.items():
        arrays[name] = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, sides)
        reserve(folder / f"{name}.npy")
    return arrays


def _shapes(wanted: dict[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the number format and the shape of each array of a store."""
    kind, shape = wanted["kind"], tuple(wanted["shape"])
    shapes = {"regions": (kind, shape)}
    if kind == "int8":
        shapes["scales"] = ("float32", shape[:2])
    if wanted[POOLED]:
        shapes[POOLED] = ("float32", (shape[0], shape[2]))
    return shapes


def _size(wanted: dict[str, Any]) -> int:
    return sum(KINDS[kind] * int(np.prod(shape)) for kind, shape in _shapes(wanted).values())


def _write(arrays: dict[str, np.memmap], rows: slice, chunks: list[Fragments]) -> None:
    count = arrays["regions"].shape[1]  # chunks of ragged regions are as wide as they must be
    vectors = torch.cat(
        [pad(c.vectors, (0, 0, 0, count - c.vectors.shape[1])) for c in chunks]
    ).cpu()
    if "scales" in arrays:
        steps, scales = quantised(vectors)
        arrays["regions"][rows], arrays["scales"][rows] = steps.numpy(), scales.numpy()
    else:
        arrays["regions"][rows] = vectors.numpy()
    if POOLED in arrays:
        pooled = [chunk.pooled for chunk in chunks if chunk.pooled is not None]
        arrays[POOLED][rows] = torch.cat(pooled).cpu().numpy()


def _weights_hash(matcher: Matcher) -> str:
    """Return a hash of the weights and their former names, so that existing galleries are valid."""
    weights = {former_name(name): weight for name, weight in matcher.state_dict().items()}
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _features_hash(features: Any) -> str:
    """Return a hash of the features' shape and of some evenly spaced images."""
    digest = hashlib.sha256(repr(tuple(features.shape)).encode())
    for place in np.linspace(0, len(features) - 1, SAMPLED).astype(int).tolist():
        digest.update(np.array(features[place : place + 1], np.float32).tobytes())
    return digest.hexdigest()[:16]
