"""The columns of the record of runs, ``data/results/runs.csv``, and what its rows must be.

Page: "All runs".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from itm_book.records.record_files import ANY, PERCENT, RSUM, SEED, SHARE, Form, Row
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.experiments.run import Run

MAX_RANK = 10  # larger ranks are recorded as this one: recalls are computed up to R@10
DIGITS = "0123456789a"
OF_IMAGE = "|"  # between the captions of two images, where images differ in captions
KEY = ["dataset", "recipe", "changes", "seed"]
NUMBERS = [*retrieval.NUMBERS, "i2t_median", "t2i_median"]
ATTENTION = [
    f"{side}_attention_{what}" for side in ("t2i", "i2t") for what in ("precision", "recall", "f1")
]
WHERE = ["minutes", "device", "machine", "torch", "python", "commit", "made"]
COLUMNS = [*KEY, "run", *NUMBERS, *ATTENTION, *WHERE, "i2t_ranks", "t2i_ranks"]
RECALLS = [name for name in retrieval.NUMBERS if name != "rsum"]


def _problem(row: Row) -> str:
    """Return what is wrong with the ranks of a row, or with recalls that are not those of them."""
    for side in ("i2t", "t2i"):
        ranks = row[f"{side}_ranks"].replace(OF_IMAGE, "")
        if not ranks or ranks.strip(DIGITS):
            return f"{side}_ranks has something that is no rank"
        for cut in (1, 5, 10):
            recall = 100 * sum(map(ranks.count, DIGITS[:cut])) / len(ranks)
            if abs(recall - float(row[f"{side}_r{cut}"])) > ROUNDED:
                return f"{side}_r{cut} is not the recall of the ranks, {recall:.7g}"
    total = sum(float(row[name]) for name in RECALLS)
    return "" if abs(total - float(row["rsum"])) < ROUNDED else "rsum is not the sum of the recalls"


ROUNDED = 1e-3  # of a recall in seven digits
FORM = Form(
    columns=COLUMNS,
    key=KEY,
    ranges={"seed": SEED, "rsum": RSUM, "minutes": ANY}
    | dict.fromkeys(RECALLS, PERCENT)
    | dict.fromkeys(("i2t_median", "t2i_median"), ANY)
    | dict.fromkeys(ATTENTION, SHARE),
    gaps=ATTENTION,
    problem=_problem,
)


def where_of(run: Run) -> dict[str, Any]:
    """Return the columns `WHERE` of a run; raises `InputError` for a damaged description."""
    environment = run.environment
    try:
        return {
            "minutes": environment["seconds_training"] / 60,
            "device": environment["device"],
            "machine": environment["device_name"],
            "torch": environment["packages"]["torch"],
            "python": environment["python"],
            "commit": environment.get("commit") or "",
            "made": environment["started"][:10],
        }
    except (KeyError, TypeError) as error:
        raise InputError(
            "the description of where the run was made is damaged",
            file=run.folder / "environment.json",
            found=error,
            remedy=run.repair,
        ) from None


def clipped(ranks: retrieval.Ranks) -> retrieval.Ranks:
    """Return ranks that are at most `MAX_RANK`."""
    i2t, t2i = (np.minimum(side, MAX_RANK) for side in (ranks.i2t, ranks.t2i))
    return replace(ranks, i2t=i2t, t2i=t2i)


def ranks_text(ranks: retrieval.Ranks) -> dict[str, str]:
    """Return the columns of the ranks: one of `DIGITS` for each, images parted if need be."""
    sides = (("i2t_ranks", ranks.i2t), ("t2i_ranks", ranks.t2i))
    texts = {name: "".join(DIGITS[rank] for rank in side) for name, side in sides}
    if ranks.counts is not None:
        ends = np.cumsum(ranks.counts)
        parts = zip([0, *ends[:-1]], ends, strict=True)
        texts["t2i_ranks"] = OF_IMAGE.join(texts["t2i_ranks"][a:b] for a, b in parts)
    return texts


def ranks_of(i2t: str, t2i: str) -> retrieval.Ranks:
    """Return the ranks in the columns of `ranks_text`."""
    parts = t2i.split(OF_IMAGE)
    sides = [np.array([DIGITS.index(digit) for digit in side]) for side in (i2t, "".join(parts))]
    counts = np.array([*map(len, parts)]) if len(parts) > 1 else None
    return retrieval.Ranks(sides[0], sides[1], counts)
