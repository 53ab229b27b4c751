"""The part of the spread between trainings that is due to rounding: ``data/results/spread.csv``.

The record has trainings of the same recipe and seed that differ in rounding alone
(``itm bench spread``). Their standard deviation is that of a number when the same training is run
on another processor or with another number of threads.

Page: "The same seed on another machine".
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from itm_book.records.record_files import (
    ANY,
    PERCENT,
    RSUM,
    SEED,
    Form,
    changing,
    record_text,
    write_record,
)
from itm_book.shipped import shipped
from itm_core.errors import InputError
from itm_core.evaluation import statistics
from itm_core.experiments.recipes import split_name

RECORD = shipped("results") / "spread.csv"
REFERENCE = "1 thread"  # the variant that the others are compared with
TRAINING = ["dataset", "recipe", "changes"]
KEY = [*TRAINING, "seed", "variant"]
NUMBERS = ["rsum", "i2t_r1", "t2i_r1"]
COLUMNS = [*KEY, *NUMBERS, "threads", "dtype", "minutes", "machine", "torch", "commit", "made"]
FORM = Form(
    columns=COLUMNS,
    exact=False,
    key=KEY,
    ranges={"seed": SEED, "rsum": RSUM, "i2t_r1": PERCENT, "t2i_r1": PERCENT, "minutes": ANY},
)


@dataclass(frozen=True)
class Spread:
    """A standard deviation of rSum and its degrees of freedom."""

    sd: float
    df: int


@dataclass(frozen=True, kw_only=True)
class Components:
    """Components of the spread of one training (a recipe with its changes).

    Attributes:
        mean: rSum, over all seeds and variants.
        minutes: of a training, the median.
        rounding: within a seed, between variants.
        seeds: between seeds under the same variant, pooled over variants. It includes rounding: a
            new seed has new rounding errors too.
        seed_alone: the standard deviation that the seed adds to rounding: the random-effects
            estimate of a one-way analysis of variance, 0 where seeds differ no more than expected
            from rounding. NaN with a single seed.
    """

    mean: float
    minutes: float
    rounding: Spread
    seeds: Spread
    seed_alone: float


def read(path: Path | None = None) -> pd.DataFrame:
    """Return the record; raises `InputError` when it does not exist or lacks a column."""
    path = RECORD if path is None else path
    if not path.exists():
        raise InputError("no record", file=path, remedy="itm bench spread --record")
    text = StringIO(record_text(path, FORM))
    return pd.read_csv(text, keep_default_na=False, dtype={"commit": str})  # not 12e345678901


def save(rows: Iterable[Mapping[str, Any]], path: Path | None = None) -> Path:
    """Return the file of the record after adding rows, which replace those of the same key."""
    path = RECORD if path is None else path
    fresh = pd.DataFrame(list(rows), columns=COLUMNS)
    with changing(path):
        table = pd.concat([read(path), fresh]) if path.exists() else fresh
        table = table.drop_duplicates(KEY, keep="last").sort_values(KEY, ignore_index=True)
        write_record(table, path, FORM, digits=6)
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
    """Return the pooled standard deviation within groups: variances weighted by n - 1.

    Groups of a single value add nothing; without larger groups, the standard deviation is NaN.

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
    """Return the SD over seeds under one variant, over all variants and trainings."""
    return pooled(group.to_numpy() for _, group in rows.groupby([*TRAINING, "variant"])["rsum"])


def components(rows: pd.DataFrame) -> Components:
    """Return the components of the spread of the rows of one training."""
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
    # the effective group size where groups differ in size
    size = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(groups) - 1)
    return math.sqrt(max(0.0, (between / (len(groups) - 1) - rounding.sd**2) / size))


def rounding_spread(profile: str, rows: pd.DataFrame | None = None) -> Spread | None:
    """Return the recorded spread by rounding alone of a profile's recipes, pooled.

    None where nothing of the profile is recorded, or no seed under two variants. Recipes with
    changes are left out. ``rows`` are by default those of the record.

    Raises `InputError` when there is no record.
    """
    rows = read() if rows is None else rows
    plain = rows[(rows["changes"] == "") & (rows["recipe"].map(_profile) == profile)]
    spread = within_seeds(plain)
    return spread if spread.df else None


@lru_cache(maxsize=64)
def spread_of(recipe: str) -> Spread | None:
    """Return the `rounding_spread` of a recipe's profile; of an ensemble, of its last member.

    None where nothing is recorded.
    """
    return rounding_spread(_profile(recipe)) if RECORD.exists() else None


def gain_floor(recipe: str, ours: str, theirs: str) -> float:
    """Return the standard deviation, due to rounding, of the difference in rSum of two rows.

    Each training behind the rows contributes `spread_of` independently: a difference of two
    trainings has √2 times that standard deviation. An ensemble is the mean of its members, so a
    member that both rows have cancels in part. 0 where nothing is recorded. The spread between
    seeds can be smaller by chance; this is the lower limit that is used instead.

    Args:
        recipe: of one of the rows.
        ours, theirs: the folders of their runs, those of an ensemble joined by ``" + "``.
    """
    spread = spread_of(recipe)
    weights: defaultdict[str, float] = defaultdict(float)
    for runs, sign in ((ours.split(" + "), 1), (theirs.split(" + "), -1)):
        for run in runs:
            weights[run] += sign / len(runs)
    return spread.sd * math.sqrt(sum(x * x for x in weights.values())) if spread else 0.0


def _profile(recipe: str) -> str:
    return split_name(recipe)[2]


def outside(fresh: float, recorded: Sequence[float], rounding: Spread | None) -> bool:
    """Return whether a fresh rSum is outside the prediction interval of the recorded seeds.

    Student's t: ``mean ± t sd √(1 + 1/n)`` with n - 1 degrees of freedom, where sd is that of the
    seeds, but at least that of rounding. With a single recorded seed, the spread of rounding alone
    is used, with its degrees of freedom; without a recorded spread, the result is False. Raises
    ValueError without a recorded value.

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
