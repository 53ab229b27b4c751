"""Writes the embeddings of a gallery, or its scores with sentences, as ``.npz`` or ``.parquet``.

Page: "Your pictures".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from itm_book.galleries.results import Gallery
from itm_core.errors import InputError
from itm_core.files import reading, whole_file

ENDINGS = (".npz", ".parquet")


def export_embeddings(gallery: Gallery, path: Path) -> None:
    """Write the encoded regions of every image.

    An ``.npz`` has ``files [I]``, ``embeddings [I, R, D]`` float32 and, where there are boxes,
    ``boxes [I, R, 4]`` in pixels; where images have different numbers of regions, ``region_lens
    [I]`` and zeros after an image's last. A ``.parquet`` has a row for each region, with the
    columns ``file``, ``region``, ``x1``, ``y1``, ``x2``, ``y2`` and ``embedding``.

    Raises `InputError` for another ending, or where a ``.parquet`` cannot be written.
    """
    _require_ending(path)
    files, embeddings, boxes = _files(gallery), gallery.embeddings(), gallery.boxes()
    arrays = {"files": files, "embeddings": embeddings}
    if boxes is not None:
        arrays["boxes"] = np.asarray(boxes, np.float32)
    images, regions, width = embeddings.shape
    lens = gallery.region_lens()
    if lens is not None:
        arrays["region_lens"] = np.asarray(lens)

    def table() -> pd.DataFrame:
        counts = np.full(images, regions) if lens is None else lens
        columns = {"file": np.repeat(files, regions), "region": np.tile(np.arange(regions), images)}
        if boxes is not None:
            sides = np.asarray(boxes, np.float32).reshape(-1, 4)
            columns |= {name: sides[:, k] for k, name in enumerate(("x1", "y1", "x2", "y2"))}
        rows = pd.DataFrame({**columns, "embedding": [*embeddings.reshape(-1, width)]})
        return rows[(np.arange(regions) < counts[:, None]).ravel()]

    _write(path, arrays, table)


def export_scores(gallery: Gallery, sentences: Sequence[str], path: Path) -> None:
    """Write the score of every image with every sentence.

    An ``.npz`` has ``files [I]``, ``sentences [C]`` and ``scores [I, C]`` float32; a ``.parquet``
    has a row for each pair, with the columns ``file``, ``sentence`` and ``score``.

    Raises `InputError` as `export_embeddings` and `require_sentence` do.
    """
    _require_ending(path)
    files, scores, texts = _files(gallery), gallery.scores(sentences), np.array(sentences)

    def table() -> pd.DataFrame:
        pairs = {"file": np.repeat(files, len(texts)), "sentence": np.tile(texts, len(files))}
        return pd.DataFrame({**pairs, "score": scores.ravel()})

    _write(path, {"files": files, "sentences": texts, "scores": scores}, table)


def read_sentences(path: Path) -> list[str]:
    """Return the sentences of a text file, one a line; raises `InputError` when there are none."""
    try:
        with reading(path):
            lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            "not a text file", file=path, expected="UTF-8", found=error.reason
        ) from None
    sentences = [line.strip() for line in lines if line.strip()]
    if not sentences:
        raise InputError("no sentences", file=path, expected="one a line")
    return sentences


def _files(gallery: Gallery) -> np.ndarray:
    """Return the first name of each image; bytes that are no text are replaced."""
    names = (names[0].encode("utf-8", "surrogateescape") for names in gallery.names)
    return np.array([name.decode("utf-8", "replace") for name in names])


def _require_ending(path: Path) -> None:
    if path.suffix not in ENDINGS:
        raise InputError(
            "unknown form of export", file=path, expected=" or ".join(ENDINGS), found=path.suffix
        )


def _write(path: Path, arrays: Mapping[str, np.ndarray], table: Callable[[], pd.DataFrame]) -> None:
    """Write the arrays, or the table, which takes an object for each of its rows."""
    with whole_file(path) as partial:
        if path.suffix == ".npz":
            with partial.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            return
        try:
            table().to_parquet(partial, index=False)
        except ImportError:
            raise InputError(
                "a .parquet file needs pyarrow",
                file=path,
                remedy="pip install pyarrow, or name a file that ends in .npz",
            ) from None
