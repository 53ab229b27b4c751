"""What was found: every claim of the three papers on one line, and five lines for the cover.

Everything here is read from the records; nothing is trained.

Page: "What we found".
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
from IPython.display import HTML

from itm_book.records import grids, results
from itm_book.tables import claims, comparison, orderings, published_order, report, sentences
from itm_book.tables.claims import PHOTOGRAPHS, SCENES, Verdicts
from itm_book.tables.labels import HOLDS, UNTESTABLE
from itm_book.tables.notes import Note, with_note
from itm_book.tables.verdicts import ONE_SEED, Judgement, equal_p
from itm_core.evaluation import statistics

PAGES = {"RCAR": "rcar", "CHAN": "chan", "CCR and CCS": "contrastive"}  # of each paper
HEADLINES = {"RCAR": 3, "CHAN": 1, "CCR and CCS": 4}  # the claim of each paper that a cover shows
MIDDLE = "middle"  # the group of the grid ``budget`` from which one setting is changed
Gain = Mapping[Hashable, Any]  # a row of `comparison.gains`
RECORD, SEEDS = "f8k", tuple(range(5))  # profile and seeds of the record on photographs


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the page shows.

    Attributes:
        verdicts: on every claim, `claims.every_judged`.
        status: the origin of the records, for captions.
        order: `orderings.agreement` of the orders of methods on Scenes and on photographs, with
            ``methods``, their number; empty where too few methods are recorded.
        budgets: by comparison, its row of `comparison.gains` at the middle budget of the grid
            ``budget`` and at the budget of the record; none where one of them is not recorded.
    """

    verdicts: Sequence[Verdicts]
    status: str
    order: Mapping[str, float]
    budgets: Mapping[str, tuple[Gain, Gain]]


def load(size: str = "record") -> Found:
    """Return what was found, as far as it is recorded.

    ``size`` is that of the grid ``budget``.
    """
    both = claims.worlds()
    return Found(
        verdicts=claims.every_judged(both),
        status=claims.status(both),
        order=_order(both),
        budgets=_budgets(size),
    )


def _order(both: Sequence[claims.World]) -> dict[str, float]:
    grid = grids.load(claims.GRID)
    across, up = (published_order.recorded_dots(world.rows, grid) for world in both)
    pairs = orderings.paired(across, up)
    if len(pairs) < orderings.FEWEST:
        return {}
    return {"methods": len(pairs), **orderings.agreement(pairs)}


def _budgets(size: str) -> dict[str, tuple[Gain, Gain]]:
    grid = grids.load("budget")
    at_record = grid.size(size).replace(profile=RECORD, seeds=SEEDS)
    recorded = (results.recorded_so_far(grid.only(MIDDLE), at) for at in (size, at_record))
    small, large = (_gains(comparison.gains(runs, grid)) for runs in recorded)
    return {name: (small[name], gain) for name, gain in large.items() if name in small}


def _gains(table: pd.DataFrame) -> dict[str, Gain]:
    """Return the rows of `comparison.gains` by comparison, such as "RCAR t2i over base t2i"."""
    return {f"{row['name']} over {row['host']}": row for row in table.to_dict("records")}


# --- the page ----------------------------------------------------------------------------------


def table(found: Found) -> HTML:
    """Return a line for each claim, a link to its chapter: both verdicts and one number."""
    shown = [
        {
            "claim": with_note(_claim(row), Note(link=f"{PAGES[row.paper]}.html")),
            **{f"on {name}": _noted(judged) for name, judged in row.on.items()},
            "median gain": sentences.median_gain(row),
        }
        for row in found.verdicts
    ]
    every = report.claims(shown)
    return report.html(every, f"Every claim of the three papers: {found.status}")


def _noted(judged: Judgement) -> str:
    note = Note(judged.evidence, uncommitted=judged.uncommitted)
    return with_note(sentences.words(judged), note)


def _claim(row: Verdicts) -> str:
    subject = f" ({row.claim.subject})" if row.claim.subject else ""
    return f"{row.paper}: {row.claim.text}{subject}"


def finding(found: Found) -> HTML:
    """Return the number of claims by verdict on each dataset, and how sure that is, in HTML."""
    rows = found.verdicts
    undecided = [
        name
        for name in (SCENES, PHOTOGRAPHS)
        if all(row.on[name].verdict == UNTESTABLE for row in rows)
    ]
    nothing = f" Nothing is decided yet on {' and '.join(undecided)}." * bool(undecided)
    held = "; ".join(
        f"<em>{escape(_claim(row))}</em> on {name}{escape(judged.label.removeprefix(HOLDS))}"
        for row in rows
        for name, judged in row.on.items()
        if judged.verdict == HOLDS
    )
    holding = f" What holds: {held}." * bool(held)
    return sentences.finding(
        f"of {len(rows)} claims, {sentences.by_verdict(rows)}.{holding}{nothing} {_how_sure(rows)}"
    )


def _how_sure(rows: Sequence[Verdicts]) -> str:
    seeds = [int(n) for row in rows for on in row.on.values() for n in on.seeds.split(" to ") if n]
    return (
        f"These verdicts are not very sure, with at most {max(seeds, default=0)} seeds a row, and "
        "trainings far shorter than the papers': a gain that is missing here refutes no paper."
    )


# --- the cover ---------------------------------------------------------------------------------


def summary(found: Found) -> HTML:
    """Return five lines: a claim of each paper, whether both datasets agree, and the budget."""
    lines = [_line(row) for row in found.verdicts if row.claim.number == HEADLINES[row.paper]]
    lines += [line for line in (order_line(found.order), budget_line(found.budgets)) if line]
    return HTML(f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>")


def _line(row: Verdicts) -> str:
    seen = sentences.on_each(row)
    link = f'<a href="../notebooks/{PAGES[row.paper]}.html">{escape(_claim(row))}</a>'
    median = sentences.median_gain(row)
    return f"<strong>{link}?</strong> {seen}{f'; median gain {median}' * bool(median)}."


def order_line(order: Mapping[str, float]) -> str:
    """Return how far Scenes and photographs order the methods alike, in HTML; may be empty."""
    if not order:
        return ""
    low, high = order["tau_low"], order["tau_high"]
    tau = f"{order['tau_b']:.2f} [{low:.2f}, {high:.2f}]"
    so = (
        "the order on Scenes carries over in part"
        if low > 0
        else "the order on Scenes cannot be taken for that on photographs"
    )
    return (
        "<strong>Do Scenes and photographs order the methods alike?</strong> Kendall's tau-b of "
        f"{order['methods']:.0f} methods is {tau} (1: the same order, 0: unrelated): {so}."
    )


def budget_line(budgets: Mapping[str, tuple[Gain, Gain]]) -> str:
    """Return what is known of how gains depend on the budget of training, in HTML; may be empty.

    The gains at the two budgets are compared over seeds, by Welch's t test.
    """
    if not budgets:
        return ""
    gains = "; ".join(
        f"{escape(name)} {_told(few)} and {_told(more)}{_apart(few, more)}"
        for name, (few, more) in budgets.items()
    )
    tested = all(gain["effect"] != UNTESTABLE for pair in budgets.values() for gain in pair)
    return (
        "<strong>Does a gain depend on the budget?</strong> "
        f"{'' if tested else 'Not known yet. '}Gains in rSum on photographs at a small budget and "
        f"at that of the other pages: {gains} "
        '(<a href="../notebooks/budget.html">more budgets</a>).'
    )


def _apart(few: Gain, more: Gain) -> str:
    """Return whether two gains differ over seeds, with the p value; empty with a single seed."""
    sides = [(gain["gain"], gain["spread"], int(gain["seeds"])) for gain in (few, more)]
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
