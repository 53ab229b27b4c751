"""Region features of images with different numbers of regions, such as the release of 10 to 100.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

from typing import Any

import numpy as np


class RaggedRegions:
    """Features ``[I, R, F]``, zero after each image's last region, with ``lens [I]``.

    Has the interface of a feature array: ``shape``, ``len``, indexing, ``np.asarray``. Indexed by
    a slice or by integers it gives the images with their numbers of regions, by one integer the
    real regions ``[r, F]`` of an image.

    >>> few = RaggedRegions(np.zeros((3, 100, 8), np.float32), np.array([10, 36, 100]))[:2]
    >>> few.shape, few.lens.tolist()
    ((2, 100, 8), [10, 36])
    """

    dtype = np.dtype(np.float32)
    ndim = 3

    def __init__(self, regions: Any, lens: np.ndarray) -> None:
        self.regions, self.lens = regions, lens
        self.shape: tuple[int, int, int] = tuple(regions.shape)

    def __len__(self) -> int:
        return len(self.lens)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int | np.integer):
            return self.regions[index][: self.lens[index]]
        return RaggedRegions(self.regions[index], self.lens[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the padded features."""
        values = np.asarray(self.regions, dtype)
        return values.copy() if copy else values


def region_lens(features: Any) -> np.ndarray | None:
    """Return how many regions each image of features has, ``[I]``; None where all have R."""
    return features.lens if isinstance(features, RaggedRegions) else None
