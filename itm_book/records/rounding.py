"""How much of the spread between trainings is rounding: ``data/results/spread.csv``.

The record holds trainings of the same recipe and seed that differ in rounding alone
(``itm bench spread``). Their standard deviation is what a number moves when the same training is
run on another processor or with another number of threads.

Page: "Why is my number lower?".
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from itm_book.shipped import shipped
from itm_core.errors import InputError
from itm_core.evaluation import statistics
from itm_core.experiments.recipes import split_name
from itm_core.files import whole_file

RECORD = shipped("results") / "spread.csv"
REFERENCE = "1 thread"  # the variant that the others are compared with
TRAINING = ["dataset", "recipe", "changes"]
KEY = [*TRAINING, "seed", "variant"]
NUMBERS = ["rsum", "i2t_r1", "t2i_r1"]
COLUMNS = [*KEY, *NUMBERS, "threads", "dtype", "minutes", "machine", "torch", "commit", "made"]


@dataclass(frozen=True)
class Spread:
    """A standard deviation of rSum and its degrees of freedom."""

    sd: float
    df: int


@dataclass(frozen=True, kw_only=True)
class Components:
    """Where the spread of one training (a recipe with its changes) comes from.

    Attributes:
        mean: rSum, over all seeds and variants.
        minutes: of a training, the median.
        rounding: within a seed, between variants.
        seeds: between seeds under the same variant, pooled over variants. It holds both causes:
            a new seed is a new draw of the rounding too.
        seed_alone: what the seed adds to rounding, as a standard deviation: the random-effects
            estimate of a one-way analysis of variance, 0 where seeds differ no more than rounding
            lets expect. NaN with a single seed.
    """

    mean: float
    minutes: float
    rounding: Spread
    seeds: Spread
    seed_alone: float


def read(path: Path | None = None) -> pd.DataFrame:
    """Return the record; raises `InputError` when there is none, or not one of ours."""
    path = RECORD if path is None else path
    if not path.exists():
        raise InputError("no record", file=path, remedy="itm bench spread --record")
    table = pd.read_csv(path, keep_default_na=False, dtype={"commit": str})  # not 12e345678901
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise InputError("columns are missing", file=path, expected=", ".join(missing))
    return table


def save(rows: Iterable[Mapping[str, Any]], path: Path | None = None) -> Path:
    """Add rows to the record, in the place of older ones of the same key."""
    path = RECORD if path is None else path
    fresh = pd.DataFrame(list(rows), columns=COLUMNS)
    table = pd.concat([read(path), fresh]) if path.exists() else fresh
    table = table.drop_duplicates(KEY, keep="last").sort_values(KEY, ignore_index=True)
    with whole_file(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g")
    return path


def keys(rows: pd.DataFrame) -> set[tuple[object, ...]]:
    """Return the keys (`KEY`) of rows."""
    return set(rows[KEY].itertuples(index=False, name=None))


def line(row: Mapping[str, Any]) -> str:
    """Return a row as one line of text."""
    changed = f" ({row['changes']})" if row["changes"] else ""
    return (
        f"{row['recipe']}{changed}, seed {row['seed']}, {row['variant']}: rSum {row['rsum']:.1f}, "
        f"{row['minutes']:.1f} min"
    )


def pooled(groups: Iterable[Sequence[float] | np.ndarray]) -> Spread:
    """Return the standard deviation within groups, pooled: their variances weighted by n - 1.

    Groups of a single value add nothing; with no other, the standard deviation is NaN.

    >>> pooled([[1.0, 3.0], [10.0, 12.0, 14.0]])  # (2 + 8) / 3
    Spread(sd=1.8257418583505538, df=3)
    """
    every = [np.asarray(group, float) for group in groups if len(group)]
    df = sum(len(group) - 1 for group in every)
    total = sum(float(((group - group.mean()) ** 2).sum()) for group in every)
    return Spread(math.sqrt(total / df) if df else math.nan, df)


def within_seeds(rows: pd.DataFrame) -> Spread:
    """Return the spread between rounding variants of one seed, over all seeds and trainings."""
    return pooled(group.to_numpy() for _, group in rows.groupby([*TRAINING, "seed"])["rsum"])


def between_seeds(rows: pd.DataFrame) -> Spread:
    """Return the spread between seeds under one variant, over all variants and trainings."""
    return pooled(group.to_numpy() for _, group in rows.groupby([*TRAINING, "variant"])["rsum"])


def components(rows: pd.DataFrame) -> Components:
    """Return where the spread of the rows of one training comes from."""
    return Components(
        mean=float(rows["rsum"].mean()),
        minutes=float(rows["minutes"].median()),
        rounding=within_seeds(rows),
        seeds=between_seeds(rows),
        seed_alone=_seed_alone(rows),
    )


def _seed_alone(rows: pd.DataFrame) -> float:
    groups = [group.to_numpy() for _, group in rows.groupby("seed")["rsum"]]
    sizes = np.array([len(group) for group in groups], float)
    rounding = pooled(groups)
    if len(groups) < 2 or not rounding.df:
        return math.nan
    means = np.array([group.mean() for group in groups])
    between = float((sizes * (means - np.average(means, weights=sizes)) ** 2).sum())
    # the size of a group that counts where groups differ in size
    size = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(groups) - 1)
    return math.sqrt(max(0.0, (between / (len(groups) - 1) - rounding.sd**2) / size))


def rounding_spread(profile: str, rows: pd.DataFrame | None = None) -> Spread | None:
    """Return the spread by rounding alone of a profile's recipes, pooled, as they are recorded.

    None where nothing of the profile is recorded, or no seed under two variants. Recipes with
    changes are left out. ``rows`` are those of the record by default.

    Raises `InputError` when there is no record.
    """
    rows = read() if rows is None else rows
    plain = rows[(rows["changes"] == "") & (rows["recipe"].map(_profile) == profile)]
    found = within_seeds(plain)
    return found if found.df else None


@lru_cache(maxsize=64)
def spread_of(recipe: str) -> Spread | None:
    """Return the `rounding_spread` of a recipe's profile; of an ensemble, of its last member's.

    None where nothing of it is recorded.
    """
    return rounding_spread(_profile(recipe)) if RECORD.exists() else None


def gain_floor(recipe: str, ours: str, theirs: str) -> float:
    """Return the standard deviation that rounding alone gives a difference in rSum of two rows.

    That of `spread_of`, which each of the trainings behind the rows adds independently: times the
    root of two for a difference of two trainings. An ensemble counts as the mean of its members,
    so that a member that both rows have in common cancels in part. 0 where nothing is known.
    Seeds may lie closer together than that by chance, and are not believed when they do.

    Args:
        recipe: of one of the rows.
        ours, theirs: the folders of their runs, those of an ensemble joined by ``" + "``.
    """
    known = spread_of(recipe)
    shares: defaultdict[str, float] = defaultdict(float)
    for runs, sign in ((ours.split(" + "), 1), (theirs.split(" + "), -1)):
        for run in runs:
            shares[run] += sign / len(runs)
    return known.sd * math.sqrt(sum(x * x for x in shares.values())) if known else 0.0


def _profile(recipe: str) -> str:
    return split_name(recipe)[2]


def outside(fresh: float, recorded: Sequence[float], rounding: Spread | None) -> bool:
    """Return whether a fresh rSum lies outside what recorded seeds let expect of one more.

    The prediction interval of Student's t: ``mean ± t sd √(1 + 1/n)`` with n - 1 degrees of
    freedom, sd that of the seeds, but never below that of rounding. A single recorded seed is
    judged by rounding alone, with its degrees of freedom; without a known spread, nothing is
    outside. Raises ValueError without a recorded value.

    >>> outside(316.8, [333.3, 336.6, 325.1], None)
    False
    """
    if not len(recorded):
        raise ValueError("nothing is recorded to compare with")
    if len(recorded) > 1:
        floor = rounding.sd if rounding else 0.0
        return statistics.one_more_p(fresh, recorded, floor=floor) < statistics.ALPHA
    if rounding is None:
        return False
    error = math.sqrt(2) * rounding.sd
    return statistics.t_p(fresh - recorded[0], error, rounding.df) < statistics.ALPHA
