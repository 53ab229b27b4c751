"""The stored rows of photographs: one file for each content, named after the SHA-256 of its bytes.

A file holds the features of the regions, their boxes, the size of the photograph and a smaller
copy of it for pages. It is written completely or not at all, so the files that are there are the
progress of an interrupted gallery. Two photographs with the same bytes share one file.

Page: "Your pictures".
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from itm_book.pairs.embedded_pictures import LONGEST_SIDE
from itm_book.photographs.region_features import Described, Task
from itm_core.errors import InputError
from itm_core.files import whole_file

ROWS = "pictures"  # the subfolder of a gallery
PARTS = ("features", "boxes", "size", "picture")
CHECKSUM = "sha256"  # in the metadata of a file
QUALITY = 85  # of the smaller copy, in WebP


@dataclass(frozen=True, eq=False)
class PictureRow(Described):
    """The rows of one photograph, and a smaller copy as bytes of a WebP file."""

    picture: bytes


@dataclass(frozen=True, eq=False, kw_only=True)
class PictureTask(Task):
    """Computes the stored rows of photographs."""

    def describe(self, source: int, k: int) -> PictureRow:
        """Return the rows of the k-th photograph of a source; raises as `Task.describe` does."""
        pixels = self.sources[source].picture(k)
        rows = self.describe_pixels(source, k, pixels)
        return PictureRow(rows.features, rows.boxes, rows.size, _smaller(pixels))


def _smaller(picture: np.ndarray) -> bytes:
    """Return a picture ``[H, W, 3]`` as WebP, its longer side at most `LONGEST_SIDE` pixels."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    with BytesIO() as file:
        image.save(file, "webp", quality=QUALITY)
        return file.getvalue()


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; raises ``OSError`` when it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def row_file(folder: Path, digest: str) -> Path:
    """Return the file of a content in the folder of a gallery."""
    return folder / ROWS / digest[:2] / f"{digest}.safetensors"


def write_row(folder: Path, digest: str, row: PictureRow) -> None:
    """Write the rows of a photograph, completely or not at all."""
    arrays: dict[str, np.ndarray] = {
        "features": np.ascontiguousarray(row.features, np.float32),
        "boxes": np.ascontiguousarray(row.boxes, np.float32),
        "size": np.array(row.size, np.int32),
        "picture": np.frombuffer(row.picture, np.uint8),
    }
    with whole_file(row_file(folder, digest)) as partial:
        partial.write_bytes(save(arrays, {CHECKSUM: _checksum(digest, arrays)}))


def _checksum(digest: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of the arrays of a content, and of its own hash."""
    checksum = hashlib.sha256(digest.encode())
    for name in PARTS:
        checksum.update(np.ascontiguousarray(arrays[name]).tobytes())
    return checksum.hexdigest()


def read_rows(folder: Path, digests: Sequence[str], *parts: str) -> tuple[np.ndarray, ...]:
    """Return some of `PARTS` of photographs with one number of regions, each ``[I, ...]``.

    Raises `InputError` for a file that is missing or damaged.
    """
    rows = [_read_parts(row_file(folder, digest), parts) for digest in digests]
    return tuple(np.stack(values) for values in zip(*rows, strict=True))


def _read_parts(path: Path, parts: Sequence[str]) -> list[np.ndarray]:
    try:
        with safe_open(path, "numpy") as file:
            expected = (file.metadata() or {}).get(CHECKSUM)  # former files have none
            read = {name: file.get_tensor(name) for name in (PARTS if expected else parts)}
        if expected and _checksum(path.stem, read) != expected:
            raise ValueError("other values than were written")
        return [read[part] for part in parts]
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(
            "the stored features of a photograph are missing or damaged",
            file=path,
            found=" ".join(str(error).split())[:120],
            remedy="delete this file if it is there, and run itm index again",
        ) from None


def prune(folder: Path, digests: Collection[str]) -> None:
    """Remove the files of other photographs than these, and what killed processes left."""
    for partial in folder.rglob(".*.partial"):
        partial.unlink(missing_ok=True)
    for place, _, names in os.walk(folder / ROWS, topdown=False):
        for name in names:
            if Path(name).stem not in digests:
                Path(place, name).unlink(missing_ok=True)
        if not any(Path(place).iterdir()):
            Path(place).rmdir()
