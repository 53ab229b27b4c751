"""Gains at a small budget of training and at that of the record, compared over seeds.

It tests one explanation of why a gain is seen on Scenes and not on photographs, or the reverse.

Page: "What we found", "Real photographs".
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from html import escape
from typing import Any

import pandas as pd
from IPython.display import HTML

from itm_book.records import grids, results
from itm_book.tables import comparison
from itm_book.tables.labels import UNTESTABLE
from itm_book.tables.verdicts import ONE_SEED, equal_p
from itm_core.evaluation import statistics

MIDDLE = "middle"  # the group of the grid ``budget`` from which one setting is changed
RECORD, SEEDS = "f8k", tuple(range(5))  # profile and seeds of the record on photographs
Gain = Mapping[Hashable, Any]  # a row of `comparison.gains`
TwoGains = tuple[Gain, Gain]  # at the small budget and at that of the record


def gains(size: str = "record") -> dict[str, TwoGains]:
    """Return by comparison its gains at the middle budget and at the budget of the record.

    Without those of which one is not recorded. ``size`` is that of the grid ``budget``.
    """
    grid = grids.load("budget")
    at_record = grid.size(size).replace(profile=RECORD, seeds=SEEDS)
    recorded = (results.recorded_so_far(grid.only(MIDDLE), at) for at in (size, at_record))
    small, large = (_by_comparison(comparison.gains(runs, grid)) for runs in recorded)
    return {name: (small[name], gain) for name, gain in large.items() if name in small}


def _by_comparison(table: pd.DataFrame) -> dict[str, Gain]:
    """Return the rows of `comparison.gains` by comparison, such as "RCAR t2i over base t2i"."""
    return {f"{row['name']} over {row['host']}": row for row in table.to_dict("records")}


def shown(budgets: Mapping[str, TwoGains]) -> HTML:
    """Return `line` as a paragraph of a page."""
    return HTML(f"<p>{line(budgets, folder='')}</p>" if budgets else "")


def line(budgets: Mapping[str, TwoGains], folder: str = "../notebooks/") -> str:
    """Return what is known of how gains depend on the budget of training, in HTML; may be empty.

    The gains at the two budgets are compared over seeds, by Welch's t test. ``folder`` is that of
    the page on budgets, as seen from where the line is.
    """
    if not budgets:
        return ""
    told = "; ".join(
        f"{escape(name)} {_told(few)} and {_told(more)}{_apart(few, more)}"
        for name, (few, more) in budgets.items()
    )
    tested = all(gain["effect"] != UNTESTABLE for pair in budgets.values() for gain in pair)
    return (
        "<strong>Does a gain depend on the budget?</strong> "
        f"{'' if tested else 'Not known yet. '}Gains in rSum on photographs at a small budget and "
        f"at that of the record: {told} "
        f'(<a href="{folder}budget.html">more budgets</a>).'
    )


def _apart(few: Gain, more: Gain) -> str:
    """Return whether two gains differ over seeds, with the p value; empty with a single seed."""
    sides = [(gain["gain"], gain["deviation"], int(gain["seeds"])) for gain in (few, more)]
    p = statistics.unpaired_p(*sides[0], *sides[1])
    if math.isnan(p):
        return ""
    differ = "which differ" if p < statistics.ALPHA else "no significant difference"
    return f", {differ} over seeds (p {escape(equal_p(p))})"


def _told(gain: Gain) -> str:
    """Return a gain with its test and its seeds.

    >>> _told({"gain": -7.12, "effect": "not significant", "seeds": 2})
    '-7.1 (not significant, 2 seeds)'
    """
    seeds = int(gain["seeds"])
    tested = f"{escape(gain['effect'])}, {seeds} seeds" if seeds > 1 else ONE_SEED
    return f"{gain['gain']:+.1f} ({tested})"
