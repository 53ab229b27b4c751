"""The vector index of the first stage: FAISS, 8-bit vectors, memory-mapped.

Why FAISS and not USearch, another maintained library: a shortlist has thousands of images, and a
graph index (HNSW, as in USearch) is designed for tens. So all vectors are scanned, which is exact
up to rounding and needs no training; a scan of a million 8-bit vectors of 128 numbers took USearch
1.5 times as long. Both can be memory-mapped, have wheels for Linux and macOS from Python 3.11 on
and a permissive licence (FAISS MIT, USearch Apache 2.0). A disadvantage of FAISS: on macOS its
OpenMP and that of torch can conflict and crash the process, so one thread is used there; this has
not been tested.

Page: "Search at scale".
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from itm_core.errors import InputError
from itm_core.extras import optional
from itm_core.files import whole_file

KIND = "SQ8"  # eight bits per number, exhaustive scan
TRAINED_ON = 100_000  # vectors that determine the range of each number


def _library() -> ModuleType:
    faiss = optional("faiss", "searching in two stages")
    # its OpenMP conflicts with torch's on macOS
    faiss.omp_set_num_threads(1 if sys.platform == "darwin" else torch.get_num_threads())
    return faiss


def write_index(vectors: np.ndarray, path: Path) -> None:
    """Write an index of vectors ``[I, P]`` float32.

    Raises `InputError` when FAISS is not installed.
    """
    faiss = _library()
    index = faiss.index_factory(vectors.shape[1], KIND, faiss.METRIC_INNER_PRODUCT)
    spread = np.linspace(0, len(vectors) - 1, min(len(vectors), TRAINED_ON)).astype(int)
    index.train(vectors[spread])
    index.add(np.ascontiguousarray(vectors, np.float32))
    with whole_file(path) as partial:
        faiss.write_index(index, str(partial))


class VectorIndex:
    """A memory-mapped index, written by `write_index`.

    Raises `InputError` when FAISS is not installed, or the file is not an index.
    """

    def __init__(self, path: Path) -> None:
        faiss = _library()
        try:
            self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            raise InputError(
                "not an index",
                file=path,
                found=str(error).strip().split("\n")[0],
                remedy="build the index again",
            ) from error

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def nearest(self, queries: np.ndarray, count: int) -> np.ndarray:
        """Return the images ``[C, count]`` with the largest products with queries ``[C, P]``."""
        return self._index.search(np.ascontiguousarray(queries, np.float32), count)[1]
