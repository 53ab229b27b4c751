"""Statistics with their intervals over images, where an image has several values.

An image is the unit of resampling, as in `evaluation.statistics`.

Page: "Real photographs", "Does attention explain?", "Regulators in motion".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from itm_core.evaluation.statistics import RESAMPLES, bootstrap_means, image_counts, interval


class Estimate(NamedTuple):
    """A statistic with its 95 % interval over images; NaN without any value."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """Return ``value [low, high]``, each by ``spec`` (default ``.2f``); nothing for a NaN.

        >>> f"{Estimate(0.5, 0.25, 1.0):+.1f}"
        '+0.5 [+0.2, +1.0]'
        """
        spec = spec or ".2f"
        if math.isnan(self.value):
            return ""
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self)


UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def mean_over_images(values: np.ndarray, image: np.ndarray) -> Estimate:
    """Return the mean over images of the mean of their values, each image counting the same.

    Shapes: ``values [N]``; ``image [N]`` is the image of each. NaN values are left out, and so
    are images without others.
    """
    valid = ~np.isnan(values)
    if not valid.any():
        return UNKNOWN
    _, index = np.unique(image[valid], return_inverse=True)
    means = np.bincount(index, values[valid]) / np.bincount(index)
    low, high = interval(bootstrap_means(means[:, None])[:, 0])
    return Estimate(float(means.mean()), float(low), float(high))


def over_drawn_images(
    statistic: Callable[[np.ndarray], object],
    image: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Return a statistic of weighted observations in every resample of their images, ``[B, ...]``.

    ``statistic`` takes weights ``[N]``: how often the image of each observation was drawn, of
    ``image [N]``. For statistics that are not means, such as those of `statistics.Ranked`.
    """
    _, index = np.unique(image, return_inverse=True)
    counts = image_counts(int(index.max()) + 1, resamples, seed)
    return np.array([statistic(count[index]) for count in counts])
