"""Uncertainty of numbers: tests, intervals, corrections, power; and rank correlations.

Two uncertainties, never mixed. Over test *images*: a paired bootstrap that draws an image with
its captions. Over *seeds*: Student's t with n - 1 degrees of freedom. A difference is significant
when both tests reject, so its p value is the larger of the two (an intersection-union test, which
needs no correction of its own); rows under one claim are corrected by Holm's method.

Page: every chapter with a table; "How sure" in the chapter on the task. Rank correlations: "Real
photographs", "Does attention explain?", "Regulators in motion".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import scipy  # its parts are imported at their first use, which takes a second

ALPHA = 0.05
POWER = 0.8
RESAMPLES = 2000
DIGITS = 9
QUANTILES = 1000  # of a deviation that is estimated from few seeds
MAX_SEEDS = 1000  # `seeds_needed` reports no larger number


# --- over seeds --------------------------------------------------------------------------------


def sd(values: Sequence[float] | np.ndarray) -> float:
    """Return the sample standard deviation (n - 1); NaN for fewer than two values.

    >>> sd([1.0, 3.0]), sd([1.0])
    (1.4142135623730951, nan)
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def seed_p(mean: float, deviation: float, seeds: int) -> float:
    """Return the two-sided p value of a mean over seeds: Student's t with ``seeds - 1`` degrees.

    ``deviation`` is `sd` between seeds, of differences paired by seed where two methods are
    compared. NaN where nothing can be tested: fewer than two seeds, or a NaN.

    >>> round(seed_p(2.0, 1.0, 3), 4)  # t = 3.46, and 4.30 would be needed
    0.0742
    """
    if seeds < 2 or math.isnan(mean) or math.isnan(deviation):
        return math.nan
    return t_p(mean, deviation / math.sqrt(seeds), seeds - 1)


def t_p(difference: float, error: float, degrees: int) -> float:
    """Return the two-sided p value of a difference with a standard error: Student's t.

    >>> round(t_p(12.706, 1.0, 1), 3)
    0.05
    """
    if math.isnan(difference) or math.isnan(error):
        return math.nan
    if error == 0:
        return 0.0 if difference else 1.0
    return float(2 * scipy.stats.t.sf(abs(difference) / error, degrees))


def unpaired_p(
    mean: float, deviation: float, seeds: int, mean_2: float, deviation_2: float, seeds_2: int
) -> float:
    """Return the p value of the difference of two means over unpaired seeds: Welch's t.

    NaN where either side has fewer than two seeds.
    """
    if min(seeds, seeds_2) < 2 or math.isnan(mean - mean_2):
        return math.nan
    if deviation == deviation_2 == 0:
        return 1.0 if mean == mean_2 else 0.0
    test = scipy.stats.ttest_ind_from_stats(
        mean, deviation, seeds, mean_2, deviation_2, seeds_2, equal_var=False
    )
    return float(test.pvalue)


def one_more_p(value: float, others: Sequence[float], *, floor: float = 0.0) -> float:
    """Return the p value of one run against ``others``, runs of other seeds: Student's t.

    Both the run and the mean of the others vary, so the deviation is that of a difference:
    ``sd * sqrt(1 + 1 / n)``. ``floor`` is as in `over_seeds`. NaN for fewer than two others.

    >>> round(one_more_p(5.0, [1.0, 2.0, 3.0]), 4)  # t = 3 / sqrt(4 / 3)
    0.1217
    """
    count, deviation = len(others), float(np.maximum(sd(others), floor))
    return seed_p(float(np.mean(others)) - value, deviation * math.sqrt(count + 1), count)


def half_width(deviation: float, seeds: int) -> float:
    """Return half the width of the 95 % interval of a mean over seeds; NaN for fewer than two."""
    if seeds < 2:
        return math.nan
    return float(scipy.stats.t.ppf(1 - ALPHA / 2, seeds - 1) * deviation / math.sqrt(seeds))


def detectable(
    deviation: float, seeds: int, *, over_images: float = 0.0, alpha: float = ALPHA
) -> float:
    """Return the smallest true gain that is significant with a probability of `POWER`.

    In the unit of ``deviation``; NaN for fewer than two seeds. Over seeds alone by the noncentral
    t distribution. With ``over_images`` the gain must be seen by two tests, over seeds and over
    images, both of the measured gain, whose error has both parts, normal and independent.

    Args:
        deviation: of the gain between seeds.
        over_images: standard error of the gain from the choice of test images, `image_error`.
        alpha: level of the two-sided tests.

    >>> round(detectable(10.0, 3), 1), round(detectable(10.0, 10), 1)
    (32.6, 10.0)
    >>> round(detectable(0.0, 3, over_images=1.0), 1)  # 1.96 + 0.84
    2.8
    """
    if seeds < 2 or math.isnan(deviation) or math.isnan(over_images):
        return math.nan
    if math.isinf(deviation) or math.isinf(over_images):
        return math.inf
    if not over_images:
        return _noncentrality(seeds, alpha) * deviation / math.sqrt(seeds)
    # in units of the error over images, so that one number is left to vary
    return over_images * _by_both(deviation / math.sqrt(seeds) / over_images, seeds, alpha)


def image_error(low: float, high: float) -> float:
    """Return the standard error of a gain from its 95 % interval over images, taken as normal.

    >>> round(image_error(-1.96, 1.96), 2)
    1.0
    """
    return (high - low) / (2 * NormalDist().inv_cdf(1 - ALPHA / 2))


def seeds_needed(gain: float, deviation: float, *, over_images: float = 0.0) -> int | None:
    """Return how many seeds make a true ``gain`` significant with a probability of `POWER`.

    None where no number up to `MAX_SEEDS` does, as where too few images are the limit, or where
    gain or deviation is unknown. ``over_images`` is as in `detectable`.

    >>> seeds_needed(10.0, 10.0), seeds_needed(0.0, 10.0)
    (10, None)
    >>> seeds_needed(10.0, 10.0, over_images=5.0)
    """
    if any(map(math.isnan, (gain, deviation, over_images))) or not gain:
        return None
    low, high = 2, MAX_SEEDS
    if detectable(deviation, high, over_images=over_images) > abs(gain):
        return None
    while low < high:
        middle = (low + high) // 2
        enough = detectable(deviation, middle, over_images=over_images) <= abs(gain)
        low, high = (low, middle) if enough else (middle + 1, high)
    return low


@dataclass(frozen=True)
class OverSeeds:
    """A mean difference over seeds with its test.

    Attributes:
        mean, sd, count: of the differences, one a seed; ``sd`` as measured.
        deviation: ``sd``, or its lower bound where it is smaller.
        half: half the width of the 95 % interval of the mean.
        p: of Student's t test that the true mean is not zero.
    """

    mean: float
    sd: float
    deviation: float
    count: int
    half: float
    p: float


def over_seeds(differences: Sequence[float] | np.ndarray, *, floor: float = 0.0) -> OverSeeds:
    """Return the mean and the t test of differences paired by seed, one value per seed.

    ``floor`` is a lower bound of the standard deviation: by how much rounding alone changes a
    difference between machines. A few seeds may by chance vary less. With fewer than two seeds
    all but the mean is NaN. Differences are rounded to `DIGITS` decimals, below which there is
    only the rounding of a subtraction.

    >>> result = over_seeds([1.0, 2.0, 3.0])
    >>> result.mean, result.sd, round(result.p, 4)
    (2.0, 1.0, 0.0742)
    """
    differences = np.round(differences, DIGITS)
    count, mean, measured = len(differences), float(np.mean(differences)), sd(differences)
    deviation = float(np.maximum(measured, floor))  # NaN stays NaN
    return OverSeeds(
        mean=mean,
        sd=measured,
        deviation=deviation,
        count=count,
        half=half_width(deviation, count),
        p=seed_p(mean, deviation, count),
    )


@lru_cache(maxsize=4096)
def _noncentrality(seeds: int, alpha: float) -> float:
    """Return the gain in standard errors that ``seeds`` seeds detect with a power of `POWER`."""
    high = 1.0
    while _power(high, seeds, alpha) < POWER:
        high *= 2
    return float(scipy.optimize.brentq(lambda x: _power(x, seeds, alpha) - POWER, 0.0, high))


def _power(noncentrality: float, seeds: int, alpha: float) -> float:
    """Return the power of the two-sided t test; ``noncentrality`` is gain * sqrt(n) / sd."""
    degrees = seeds - 1
    critical = scipy.stats.t.ppf(1 - alpha / 2, degrees)
    above = scipy.stats.nct.sf(critical, degrees, noncentrality)
    below = scipy.stats.nct.cdf(-critical, degrees, noncentrality)
    # scipy returns NaN for a far tail that is too small
    return float(above) + (0.0 if math.isnan(below) else float(below))


@lru_cache(maxsize=4096)
def _by_both(over_seeds: float, seeds: int, alpha: float) -> float:
    """Return the gain that both tests detect with a power of `POWER`, in errors over images.

    ``over_seeds`` is the true standard error over seeds in that unit; the test uses an estimate,
    whose distribution is taken at `QUANTILES` equally probable values.
    """
    shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
    estimated = np.sqrt(scipy.stats.chi2.ppf(shares, seeds - 1) / (seeds - 1)) * over_seeds
    t = scipy.stats.t.ppf(1 - alpha / 2, seeds - 1)
    needed = np.maximum(NormalDist().inv_cdf(1 - alpha / 2), t * estimated)
    error = math.hypot(over_seeds, 1.0)

    return float(
        scipy.optimize.brentq(
            lambda gain: POWER - float(scipy.special.ndtr((gain - needed) / error).mean()),
            0.0,
            needed[-1] + 10 * error,
        )
    )


# --- over images -------------------------------------------------------------------------------


@lru_cache(maxsize=2)  # 80 MB each for 5,000 images
def image_counts(images: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Return how often each image is drawn in each resample, with replacement: ``[B, I]``.

    The same seed draws the same images, which pairs statistics of one test set. The array is kept
    for the next statistic, and cannot be written to.
    """
    draw = np.random.default_rng(seed)
    counts = draw.multinomial(images, np.full(images, 1 / images), size=resamples)
    counts.flags.writeable = False
    return counts


def bootstrap_means(values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Return the resampled means ``[B, N]`` of N values of images ``[I, N]``."""
    return image_counts(len(values), resamples, seed) @ values / len(values)


def interval(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % percentile interval of resampled statistics ``[B, ...]``.

    Resamples in which a statistic is NaN are left out.
    """
    low, high = np.nanpercentile(means, [100 * ALPHA / 2, 100 * (1 - ALPHA / 2)], axis=0)
    return low, high


def image_p(means: np.ndarray) -> np.ndarray:
    """Return the two-sided bootstrap p value that a statistic ``[B, ...]`` is not zero.

    Twice the smaller fraction on one side of zero, at least one resample. Resamples in which a
    statistic is NaN are left out, as in `interval`; where all are, so is the p value.
    """
    count = (~np.isnan(means)).sum(0)
    smaller = np.minimum((means <= 0).sum(0), (means >= 0).sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(2 * smaller / count, 1 / count, 1.0)


# --- several tests -----------------------------------------------------------------------------


def holm(p: Sequence[float]) -> list[float]:
    """Return p values corrected for multiple tests by Holm's step-down method.

    NaN (not testable) stays NaN and does not count as a test.

    >>> [round(x, 3) for x in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    ordered = sorted((value, k) for k, value in enumerate(p) if not math.isnan(value))
    corrected, largest = [math.nan] * len(p), 0.0
    for done, (value, k) in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - done) * value))
        corrected[k] = largest
    return corrected


# --- rank correlations -------------------------------------------------------------------------


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return Spearman's rho of two lists ``[N]``, ties at their mean rank.

    NaN where one of them is constant, or holds a NaN.
    """
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(scipy.stats.spearmanr(x, y).statistic)


def kendall(x: np.ndarray, y: np.ndarray, variant: str = "b") -> float:
    """Return Kendall's tau-b (or tau-c, ``variant="c"``) of ``[N]``; NaN as `spearman`."""
    return float(kendall_of_rows(np.asarray(x)[None], np.asarray(y)[None], variant)[0])


def kendall_of_rows(x: np.ndarray, y: np.ndarray, variant: str = "b") -> np.ndarray:
    """Return `kendall` of every row of two arrays ``[M, R]``, ``[M]``.

    >>> kendall_of_rows(np.array([[1, 2, 3], [1, 1, 1]]), np.array([[1, 3, 2]] * 2)).round(3)
    array([0.333,   nan])
    """
    return np.asarray(scipy.stats.kendalltau(x, y, variant=variant, axis=1).statistic, float)


@dataclass(frozen=True, eq=False)
class Ranked:
    """Two lists of N values as ranks of their distinct values, for weighted correlations.

    An integer weight is the number of times that an observation occurs: in a bootstrap, how often
    its image was drawn, which scipy does not offer. With 17,000 judgements a resample takes 1 ms,
    against 11 ms for copies that scipy ranks again.

    Attributes:
        row, column: ``[N]`` the index of each value among the X and the Y distinct ones.
        shape: X and Y.
    """

    row: np.ndarray
    column: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> Ranked:
        """Return two lists of values, ranked."""
        distinct_x, row = np.unique(x, return_inverse=True)
        distinct_y, column = np.unique(y, return_inverse=True)
        return cls(row, column, (len(distinct_x), len(distinct_y)))

    def spearman(self, weight: np.ndarray) -> float:
        """Return `spearman` of the observations with ``weight [N]``; O(N)."""
        sides = [
            (index, np.bincount(index, weight, distinct))
            for index, distinct in zip((self.row, self.column), self.shape, strict=True)
        ]
        ranks = [side.cumsum() - (side - 1) / 2 - (weight.sum() + 1) / 2 for _, side in sides]
        spread = [(side * r**2).sum() for (_, side), r in zip(sides, ranks, strict=True)]
        if min(spread) <= 0:  # a constant list has no order
            return math.nan
        both = (weight * ranks[0][self.row] * ranks[1][self.column]).sum()
        return float(both / math.sqrt(spread[0] * spread[1]))

    def kendall(self, weight: np.ndarray) -> tuple[float, float]:
        """Return tau-b and tau-c, see `kendall`, of the observations with ``weight [N]``.

        O(N + X Y), in memory too: one of the lists should have few distinct values.
        """
        flat = np.bincount(self.row * self.shape[1] + self.column, weight, math.prod(self.shape))
        count = flat.reshape(self.shape)
        rows, columns, n = count.sum(1), count.sum(0), count.sum()
        below = count.cumsum(0) - count  # of each column, with a smaller x
        smaller = below.cumsum(1) - below  # and a smaller y
        larger = below.sum(1, keepdims=True) - below.cumsum(1)
        surplus = float((count * (smaller - larger)).sum())  # concordant less discordant pairs
        untied = [n * (n - 1) / 2 - (side * (side - 1) / 2).sum() for side in (rows, columns)]
        distinct = min(int((rows > 0).sum()), int((columns > 0).sum()))
        if distinct < 2:  # a constant list has no order
            return math.nan, math.nan
        tau_c = 2 * surplus / (n * n * (distinct - 1) / distinct)
        return surplus / math.sqrt(untied[0] * untied[1]), float(tau_c)
