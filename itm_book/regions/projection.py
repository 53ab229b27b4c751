"""The projection of region features to their principal components, fitted on training regions.

Features of the network are never negative, and all regions have much in common; without their mean
a matcher learns several times more slowly. The components are not scaled.

Page: "From photographs to features".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from itm_book.regions.extractor_files import read_tensors
from itm_core.files import whole_file

COMPONENTS = 512


class Projection:
    """Subtracts a mean ``[F]`` and projects to components ``[F, K]``, both float32."""

    def __init__(self, mean: np.ndarray, components: np.ndarray) -> None:
        self.mean, self.components = mean, components
        self.width = components.shape[1]
        digest = hashlib.sha256(mean.tobytes())
        digest.update(np.ascontiguousarray(components).tobytes())
        self.identity = digest.hexdigest()

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the projected features ``[..., K]`` of ``[..., F]``."""
        return (features - self.mean) @ self.components

    @classmethod
    def read(cls, path: Path, width: int) -> Projection:
        """Return the projection in a file, of features of this width.

        Raises `InputError` when the file is missing, damaged, or of another width.
        """
        shapes = {"mean": (width,), "components": (width, COMPONENTS)}
        tensors = read_tensors(path, shapes)
        return cls(tensors["mean"], tensors["components"])

    def write(self, path: Path) -> None:
        """Write the projection as float16, completely or not at all."""
        tensors = {"mean": self.mean, "components": np.ascontiguousarray(self.components)}
        with whole_file(path) as partial:
            save_file(
                {name: values.astype(np.float16) for name, values in tensors.items()}, partial
            )


def fitted(batches: Iterable[np.ndarray], count: int = COMPONENTS) -> tuple[Projection, float]:
    """Return the projection to the first principal components, and the variance that they keep.

    Args:
        batches: features ``[n, F]`` of regions; read once.
        count: K.
    """
    number, total, products = 0, None, None
    for batch in batches:
        values = batch.astype(np.float64)
        number += len(values)
        total = values.sum(0) + (0 if total is None else total)
        products = values.T @ values + (0 if products is None else products)
    if total is None or products is None:
        raise ValueError("no features to fit a projection on")
    mean = total / number
    variances, vectors = np.linalg.eigh(products / number - np.outer(mean, mean))
    components = vectors[:, ::-1][:, :count]
    kept = float(variances[::-1][:count].sum() / variances.sum())
    return Projection(mean.astype(np.float32), components.astype(np.float32)), kept
