"""Sentences made of tables: the finding that opens a page, and whether runs agree with the record.

Page: every chapter with a table.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML

from itm_book.tables.claims import PHOTOGRAPHS, SCENES, Verdicts
from itm_book.tables.labels import (
    AGAINST,
    BELOW,
    GAIN,
    HOLDS,
    LOSS,
    MIXED,
    NONE_FOUND,
    UNTESTABLE,
)
from itm_book.tables.verdicts import (
    NOT_MEASURED,
    NOT_RUN,
    ONE_SEED,
    SO_FAR,
    TIMING,
    Judgement,
)

DECIDED = {  # one claim, and several; no effect found does not say that there is none
    HOLDS: ("1 holds", "{} hold"),
    MIXED: ("1 is mixed", "{} are mixed"),
    NONE_FOUND: ("for 1 no effect was found", "for {} no effect was found"),
    AGAINST: ("for 1 a loss was found", "for {} a loss was found"),
}
COUNTED = {
    f"{verdict}{end}": (f"{one}{end}", f"{several}{end}")
    for verdict, (one, several) in DECIDED.items()
    for end in ("", f" {SO_FAR}")
} | {
    ONE_SEED: ("1 has one seed", "{} have one seed"),
    NOT_MEASURED: (f"1 is {NOT_MEASURED}", f"{{}} are {NOT_MEASURED}"),
    NOT_RUN: ("1 is not run yet", "{} are not run yet"),
    TIMING: ("1 is a timing", "{} are timings"),
    UNTESTABLE: ("1 cannot be tested", "{} cannot be tested"),
}
EXPECTED, UNEXPECTED = "yes", "no"  # how the cells of ``as expected`` begin


def finding(text: str) -> HTML:
    """Return what a page found as its first paragraph; ``text`` is HTML.

    >>> finding("nothing was found.").data
    '<p class="finding"><strong>Finding:</strong> nothing was found.</p>'
    """
    return HTML(f'<p class="finding"><strong>Finding:</strong> {text}</p>')


# --- gains -------------------------------------------------------------------------------------


def tally(table: pd.DataFrame, what: str = "comparisons") -> str:
    """Return how many rows of `comparison.gains` are significant, in words.

    Also how many can be tested, where some cannot, and the range of those that can. ``what`` says
    what the rows are, in the plural.

    >>> rows = pd.DataFrame({"gain": [3.0, -4.0, 9.0], "effect": ["gain", "loss", "gain"]})
    >>> tally(rows)
    'of 3 comparisons 2 are significant gains and 1 is a significant loss (-4.0 to +9.0 rSum)'
    >>> tally(rows.assign(effect=["not significant", "not testable", "not testable"]))
    'of 3 comparisons, 1 can be tested: none shows a significant difference (+3.0 rSum)'
    >>> tally(rows[:1])
    'the only recorded gain is +3.0 rSum (gain)'
    """
    if len(table) == 1:
        row = table.iloc[0]
        return f"the only recorded gain is {row['gain']:+.1f} rSum ({row['effect']})"
    tested = table[table["effect"] != UNTESTABLE]
    if tested.empty:
        return f"none of {len(table)} {what} can be tested yet"
    ends = dict.fromkeys(f"{end:+.1f}" for end in (tested["gain"].min(), tested["gain"].max()))
    limits = f"({' to '.join(ends)} rSum)"
    every = len(tested) == len(table)
    of = f"of {len(table)} {what}{'' if every else f', {len(tested)} can be tested:'}"
    gains, losses = ((tested["effect"] == effect).sum() for effect in (GAIN, LOSS))
    if not gains and not losses:
        none = "shows a significant difference"
        return f"none {of} {none} {limits}" if every else f"{of} none {none} {limits}"
    gained = f"{gains} {'is a significant gain' if gains == 1 else 'are significant gains'}"
    lost = f"{losses} {'is a significant loss' if losses == 1 else 'are significant losses'}"
    return f"{of} {gained} and {lost} {limits}"


# --- the best row of a table -------------------------------------------------------------------


def best(table: pd.DataFrame, of: str = "variants") -> str:
    """Return which row of `best_row.against_best` is best, and how many are below it.

    ``of`` says what the rows are, in the plural.
    """
    first, others = table.iloc[0], table.iloc[1:]
    below, untested = ((others["result"] == seen).sum() for seen in (BELOW, UNTESTABLE))
    rows = f"{len(table) - untested} {escape(of)}{' with several seeds' * bool(untested)}"
    return (
        f"of {rows}, <em>{escape(str(first['method']))}</em> has the highest rSum, "
        f"{escape(str(first['rSum']))}; of the other {len(others) - untested}, {below} "
        f"{'is' if below == 1 else 'are'} significantly lower"
        f"{f' ({untested} more cannot be tested)' * bool(untested)}"
    )


# --- claims ------------------------------------------------------------------------------------


def by_verdict(rows: Sequence[Verdicts]) -> str:
    """Return how many claims have which verdict on each dataset, in words.

    Of those without a verdict, also why; of those with one, for how many of them most rows with
    one seed go the other way.
    """
    parts = []
    for name in (SCENES, PHOTOGRAPHS):
        seen = Counter(_state(row.on[name]) for row in rows)
        doubted = Counter(_state(row.on[name]) for row in rows if _is_doubted(row.on[name]))
        counts = [
            text[seen[v] > 1].format(seen[v]) + _doubt(doubted[v], seen[v])
            for v, text in COUNTED.items()
            if seen[v]
        ]
        parts.append(f"on {name} {', '.join(counts)}")
    return "; ".join(parts)


def _is_doubted(judged: Judgement) -> bool:
    """Return whether a claim holds or loses, and most rows with one seed go the other way."""
    return judged.verdict in (HOLDS, AGAINST) and 2 * judged.opposed > len(judged.untested)


def _doubt(doubted: int, of: int) -> str:
    """Return that some of several claims are doubted, in brackets; empty for none.

    >>> _doubt(2, 6)
    ' (for 2 of them most rows with one seed go the other way)'
    """
    some = f"for {doubted} of them " * (of > 1)
    return f" ({some}most rows with one seed go the other way)" * bool(doubted)


def opposed(judged: Judgement) -> str:
    """Return how many rows with one seed go the other way than the tested ones; may be empty.

    >>> opposed(Judgement(verdict="holds", label="", evidence="", left_out=2,
    ...                   recorded=((2.0, "gain"), (1.0, UNTESTABLE), (-1.0, UNTESTABLE))))
    'of 2 with one seed 1 loses'
    """
    count = judged.opposed
    if not count:
        return ""
    verb = "lose" if np.median(judged.gains) > 0 else "gain"
    return f"of {len(judged.untested)} with one seed {count} {verb}{'s' * (count == 1)}"


def _state(judged: Judgement) -> str:
    """Return the verdict, or why there is none: a key of `COUNTED`."""
    if TIMING in judged.label:
        return TIMING
    if judged.verdict != UNTESTABLE:
        return f"{judged.verdict} {SO_FAR}" if judged.left_out else judged.verdict
    return next(
        (why for why in (ONE_SEED, NOT_MEASURED, NOT_RUN) if why in judged.label), UNTESTABLE
    )


def headline(rows: Sequence[Verdicts], number: int) -> str:
    """Return a claim of a paper with both verdicts and its median gain, then all by verdict.

    ``rows`` are of `claims.judged`, ``number`` that of the claim.
    """
    row = next(row for row in rows if row.claim.number == number)
    subject = f" ({escape(row.claim.subject)})" if row.claim.subject else ""
    median = median_gain(row)
    return (
        f"the verdict on the main claim, that {escape(row.claim.text)}{subject}, is "
        f"{on_each(row)}{f'; the median gain is {median}' * bool(median)}. Of all {len(rows)} "
        f"claims, {by_verdict(rows)}"
    )


def on_each(row: Verdicts) -> str:
    """Return the verdicts on a claim on both datasets, as HTML."""
    return "; ".join(f"on {name} <em>{escape(words(on))}</em>" for name, on in row.on.items())


def words(judged: Judgement) -> str:
    """Return the label of a verdict, with the rows with one seed that go the other way.

    Of no effect, also the gain that would have been seen.

    >>> words(Judgement(verdict="no effect found", label="no effect found", evidence="", seeds="3",
    ...                 detectable="49 to 51"))
    'no effect found (3 seeds would have shown a gain of 49 to 51 rSum)'
    """
    if judged.verdict in (HOLDS, AGAINST) and judged.opposed:
        return f"{judged.label}; {opposed(judged)}"
    if judged.verdict != NONE_FOUND or not judged.detectable:
        return judged.label
    if "more than" in judged.detectable:
        every = judged.detectable.startswith("more than")
        gain = "any gain" if every else "a gain in every row"
        power = f"{judged.seeds} seeds are too few to show {gain}"
    else:
        shown = f"{judged.detectable} {judged.unit}"
        power = f"{judged.seeds} seeds would have shown a gain of {shown}"
    tendency = f"; {judged.tendency}" * bool(judged.tendency)
    return f"{judged.label} ({power}{tendency})"


def median_gain(row: Verdicts) -> str:
    """Return the median gain of a claim's rows on each dataset that has some.

    Of the rows that were tested; where none was, of those with one seed, which is said.
    """
    shown = []
    for name, judged in row.on.items():
        if judged.gains:
            rows = f", {len(judged.gains)} rows" if len(judged.gains) > 1 else ""
            seeds = f", {ONE_SEED}" if ONE_SEED in judged.label else ""
            gain = f"{np.median(judged.gains):+.1f} {judged.unit}"
            shown.append(f"{gain} ({name}{rows}{seeds})")
    return "; ".join(shown)


# --- made here against recorded ----------------------------------------------------------------


def agreement(table: pd.DataFrame) -> str:
    """Return for a caption whether the rows of `comparison.trained_and_recorded` are as expected.

    Of rows that are not, what that means. Each run of a row is compared by itself, so chance puts
    one of twenty *runs* outside, and more of the rows with several runs.

    >>> agreement(pd.DataFrame({"method": ["a", "b"], "as expected": ["yes", "yes"]}))
    'All 2 rows are as expected.'
    """
    seen = table["as expected"].astype(str)
    compared = seen[seen.str.startswith((EXPECTED, UNEXPECTED))]
    rows = table.loc[seen.str.startswith(UNEXPECTED), "method"].tolist()
    if compared.empty:
        return "No row can be compared with the record."
    if not rows:
        one = len(compared) == 1
        return "The row is as expected." if one else f"All {len(compared)} rows are as expected."
    outside, runs = (sum(numbers) for numbers in zip(*map(_runs_of, compared), strict=True))
    number = "1 run" if runs == 1 else f"{runs} runs"
    return (
        f"Not as expected: {', '.join(rows)} ({outside} of {number}). Chance alone puts "
        f"{0.05 * runs:.2g} of {runs} outside. If the same row is outside again with another seed, "
        "look for another version of a library, changed code, or a training that collapsed."
    )


def _runs_of(cell: str) -> tuple[int, int]:
    """Return how many runs of a row are outside, and how many it has.

    >>> [_runs_of(cell) for cell in ("yes", "no", "yes: 3 runs", "no: 2 of 3 runs")]
    [(0, 1), (1, 1), (0, 3), (2, 3)]
    """
    several = re.search(r"(?:(\d+) of )?(\d+) runs", cell)
    if several is None:
        return int(cell.startswith(UNEXPECTED)), 1
    return int(several[1] or 0), int(several[2])
