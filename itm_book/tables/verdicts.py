"""Verdicts on the claims of a paper, with their evidence.

The rule is that of `labels`; the claims that are judged on two datasets are in `claims`.

Page: the chapters on RCAR, CHAN and the constraints; "How sure" in the chapter on the task.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from itm_book.tables import labels
from itm_book.tables.comparison import p_value, spread
from itm_book.tables.labels import GAIN, LOSS, MIXED, NO_EFFECT, NONE_FOUND, UNTESTABLE
from itm_book.tables.notes import Note, with_note
from itm_book.tables.run_links import uncommitted
from itm_core.evaluation import statistics

NOISE = 1.25  # timings of a shared machine vary by less than this factor without a cause
NOT_RUN, NOT_MEASURED = "not run here", "not measured on the same seeds"
COLLAPSED = "with a collapsed host"
ONE_SEED, TIMING = "one seed", "a timing"
SO_FAR = "so far"  # behind a verdict on a claim of which some rows have no test
RSUM, POINTS = "rSum", "points"
LARGEST = {RSUM: 600, POINTS: 100}  # no gain is larger, in either unit
SEEN = {GAIN: "helps", LOSS: "hurts", NO_EFFECT: "no effect found on"}  # before names of rows

Row = Mapping[Hashable, Any]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The verdict on one claim from the runs of one dataset, with its evidence.

    Attributes:
        verdict: one of `labels.VERDICTS`.
        label: the verdict with its details: which rows gain or lose, and how many of how many rows
            were tested.
        evidence: every recorded row with its gain, interval and corrected p value.
        recorded: gain and effect (one of `labels.EFFECTS`) of every recorded row, in the unit of
            the claim.
        left_out: the number of rows without a test: a verdict beside them holds *so far*.
        seeds: of the rows that can be tested, as text, or else of all; empty without any.
        detectable: the smallest true gain that these seeds and images would have shown in 8 of 10
            cases, as text; empty with one seed, whose spread is unknown.
        unit: of gains and ``detectable``.
        uncommitted: whether a number was made by uncommitted code.
        tendency: where the intervals over test images of several rows all lie on one side of
            zero: which side, as told beside a verdict of no effect.
    """

    verdict: str
    label: str
    evidence: str
    recorded: tuple[tuple[float, str], ...] = ()
    left_out: int = 0
    seeds: str = ""
    detectable: str = ""
    unit: str = RSUM
    uncommitted: bool = False
    tendency: str = ""

    @property
    def gains(self) -> tuple[float, ...]:
        """The gains of the rows that can be tested, or else of all."""
        tested = tuple(gain for gain, effect in self.recorded if effect != UNTESTABLE)
        return tested or tuple(gain for gain, _ in self.recorded)

    @property
    def untested(self) -> tuple[float, ...]:
        """The gains of the recorded rows with one seed."""
        return tuple(gain for gain, effect in self.recorded if effect == UNTESTABLE)

    @property
    def opposed(self) -> int:
        """How many rows with one seed go the other way than the median of the tested ones.

        Zero where no row was tested.
        """
        if self.verdict == UNTESTABLE or not self.untested:
            return 0
        median = float(np.median(self.gains))
        return sum(gain * median < 0 for gain in self.untested)

    def cells(self, subject: str = "") -> dict[str, str]:
        """Return the cells of a table; ``subject`` is what was tested, if not what is claimed."""
        label = f"{subject}: {self.label}" if subject else self.label
        return {
            "verdict": with_note(label, Note(uncommitted=self.uncommitted)),
            "seeds": self.seeds,
            "minimum detectable gain": self.detectable,
            "evidence": self.evidence,
        }


def untested(why: str, label: str = UNTESTABLE) -> Judgement:
    """Return the verdict on a claim that cannot be tested, with the reason.

    >>> untested("every picture has 36 regions").label
    'not testable'
    """
    return Judgement(verdict=UNTESTABLE, label=label, evidence=why)


def judge(
    tested: pd.DataFrame,
    missing: Sequence[str] = (),
    *,
    unmeasured: Sequence[str] = (),
    collapsed: Sequence[str] = (),
    others: Sequence[float] = (),
    of: str = "gain",
    unit: str = RSUM,
) -> Judgement:
    """Return the verdict on the claim that every tested row gains.

    The verdict is `labels.verdict` of p values corrected by Holm's method for the number of
    rows. With a single seed the claim is not testable; the evidence then has the interval over
    test images, which holds for the trained models only.

    Args:
        tested: rows of `comparison.gains` or `attention_table.gains`.
        missing: names of rows that were not run.
        unmeasured: names of rows that were run but have no common seed with the measure; rows of
            ``tested`` without it are added.
        collapsed: names of rows whose host did not train, so there was nothing to gain over.
        others: p values of further rows of the claim, which the correction counts too.
        of: the measure: ``gain``, ``words``, ``words_precision``, ...
        unit: of the measure, a key of `LARGEST`.
    """
    if len(tested):
        without = tested[tested[of].isna()].to_dict("records")
        unmeasured = [*unmeasured, *(f"{row['name']} over {row['host']}" for row in without)]
        tested = tested.dropna(subset=of)
    left_out = {NOT_MEASURED: unmeasured, COLLAPSED: collapsed, NOT_RUN: missing}
    why = [f"{reason}: {' · '.join(rows)}" for reason, rows in left_out.items() if rows]
    if tested.empty:
        reason = next((reason for reason, rows in left_out.items() if rows), NOT_RUN)
        return untested("; ".join(why) or NOT_RUN, reason)
    records, p = tested.to_dict("records"), list(tested[column(of, "p")])
    adjusted = statistics.holm([*p, *others])[: len(p)]
    effects = [labels.effect(row[of], q) for row, q in zip(records, adjusted, strict=True)]
    verdict = labels.on_effects(effects)
    rows = zip(records, effects, adjusted, strict=True)
    evidence = [_evidence(row, of, effect, corrected) for row, effect, corrected in rows]
    testable = [r for r, effect in zip(records, effects, strict=True) if effect != UNTESTABLE]
    counts = {UNTESTABLE: len(records) - len(testable)}
    counts |= {reason: len(rows) for reason, rows in left_out.items()}
    named = list(zip(_names(records), effects, strict=True))
    tests = len(testable) + sum(not math.isnan(other) for other in others)
    powers = [_detectable(row, of, tests) for row in testable]
    return Judgement(
        verdict=verdict,
        label=_detailed(verdict, named, counts),
        evidence="; ".join(evidence + why),
        recorded=tuple((float(row[of]), e) for row, e in zip(records, effects, strict=True)),
        left_out=sum(counts.values()),
        seeds=_range([row["seeds"] for row in testable or records]),
        detectable=_range(powers, ".1f", LARGEST[unit]) if powers else "",
        unit=unit,
        uncommitted=_made(tested),
        tendency=_tendency(tested) if of == "gain" else "",
    )


def _names(records: Sequence[Row]) -> list[str]:
    """Return the name of each row, with its host where a name occurs with several."""
    count = Counter(row["name"] for row in records)
    return [
        row["name"] if count[row["name"]] == 1 else f"{row['name']} over {row['host']}"
        for row in records
    ]


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _tendency(tested: pd.DataFrame) -> str:
    """Return on which side of zero every row's interval over test images lies; may be empty.

    >>> _tendency(pd.DataFrame({"low": [-3.0, -9.0], "high": [-1.0, -2.0]}))
    'in all 2 rows the interval over test images lies below zero'
    """
    sides = {"below": tested["high"] < 0, "above": tested["low"] > 0}
    seen = (side for side, rows in sides.items() if len(rows) > 1 and rows.all())
    rows = f"in all {len(tested)} rows the interval over test images lies"
    return "".join(f"{rows} {side} zero" for side in seen)


def claim(
    number: int,
    text: str,
    table: pd.DataFrame,
    rows: Sequence[str],
    *,
    collapsed: Sequence[str] = (),
) -> dict[str, str]:
    """Return `judge` for some rows of a table as a row of `report.claims`.

    Args:
        table: of `comparison.gains`.
        rows: their names; rows that are not in the table are listed as not run.
        collapsed: names of further rows, see `judge`.
    """
    tested = table[table["name"].isin(rows)] if len(table) else table
    missing = [name for name in rows if tested.empty or name not in set(tested["name"])]
    return {"": str(number), "claim": text} | judge(tested, missing, collapsed=collapsed).cells()


def column(of: str, name: str) -> str:
    """Return a column of a measure in a table of gains: ``p``, or ``words_p`` of ``words``."""
    return name if of == "gain" else f"{of}_{name}"


def _detailed(verdict: str, effects: Sequence[tuple[str, str]], left_out: Mapping[str, int]) -> str:
    """Return a verdict with what was seen: which rows gain or lose, and how many have no test.

    >>> seen = [("RCR", "loss"), ("RAR", "gain"), ("BFAN + RCR", "not significant")]
    >>> _detailed("mixed", seen, {})
    'mixed: helps RAR; hurts RCR; no effect found on BFAN + RCR'
    >>> _detailed("holds", [("CHAN", "gain")], {"not testable": 1, "not run here": 2})
    'holds so far, 1 of 4 rows, 1 not testable, 2 not run here'
    """
    without = {reason: count for reason, count in left_out.items() if count}
    if verdict == UNTESTABLE:
        others = (f", {_rows(n)} {why}" for why, n in without.items() if why != UNTESTABLE)
        return f"{verdict} ({ONE_SEED}){''.join(others)}"
    tested = sum(effect != UNTESTABLE for _, effect in effects)
    if without:
        verdict = f"{verdict} {SO_FAR}"
    if verdict.startswith(MIXED):
        named = {effect: [r for r, seen in effects if seen == effect] for effect in SEEN}
        seen = (f"{SEEN[e]} {', '.join(rows)}" for e, rows in named.items() if rows)
        verdict = f"{verdict}: {'; '.join(seen)}"
    if not without:
        return verdict
    reasons = ", ".join(f"{count} {why}" for why, count in without.items())
    end = ";" if verdict.startswith(MIXED) else ","
    return f"{verdict}{end} {tested} of {tested + sum(without.values())} rows, {reasons}"


def _detectable(row: Row, of: str, tests: int) -> float:
    """Return the gain detectable with the seeds of a row, as one of ``tests`` corrected by Holm.

    The column of the table is for one test; the first row that Holm's method rejects is tested at
    ``ALPHA / tests``. A gain that has an interval over images is tested over images too.
    """
    seeds, alpha = int(row["seeds"]), statistics.ALPHA / tests
    if of == "gain":
        error = statistics.image_error(row["low"], row["high"])
        return statistics.detectable(row["deviation"], seeds, over_images=error, alpha=alpha)
    single, corrected = (
        statistics.detectable(1.0, seeds, alpha=level) for level in (statistics.ALPHA, alpha)
    )
    return float(row[column(of, "detectable")]) * corrected / single


def _range(values: Sequence[float], form: str = ".0f", largest: float = math.inf) -> str:
    """Return the smallest and the largest number as text, or one if both give the same text.

    Of a number above ``largest`` the text says that.
    """
    low, high = (
        f"more than {largest:g}" if value > largest else format(value, form)
        for value in (min(values), max(values))
    )
    return low if low == high else f"{low} to {high}"


def _evidence(row: Row, of: str, effect: str, p: float) -> str:
    if of == "gain":
        shown = f"{row['gain']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]{spread(row['spread'])}"
    else:
        shown = f"{row[of]:+.1f}{spread(row[f'{of}_spread'])} points"
    tested = f"{effect}, one seed" if effect == UNTESTABLE else f"{effect}, p {equal_p(p)}"
    return f"{row['name']} over {row['host']}: {shown}, {tested}"


def equal_p(p: float) -> str:
    """Return ``= 0.031``, or ``< 0.001``: a p value after the letter p."""
    shown = p_value(p)
    return shown if shown.startswith("<") else f"= {shown}"


def faster(times: pd.DataFrame, name: str, than: str) -> Judgement:
    """Return the verdict on a claim that one method scores faster than another.

    ``times`` is `run_timing.scoring_times`. Not a test: the label says that it is a timing, and a
    difference counts beyond a factor of `NOISE`.
    """
    milliseconds = {
        str(row["method"]): float(row["milliseconds"])
        for row in times.to_dict("records")
        if row["method"] in (name, than)
    }
    if len(milliseconds) < 2:
        return untested(NOT_RUN)
    ratio = milliseconds[than] / milliseconds[name]
    slower = labels.AGAINST if ratio < 1 / NOISE else NONE_FOUND
    verdict = labels.HOLDS if ratio > NOISE else slower
    evidence = (
        f"a timing, {name}: {milliseconds[name]:.0f} ms, {than}: {milliseconds[than]:.0f} ms "
        f"({ratio:.1f} times), the test split, when this page was built"
    )
    label = f"{TIMING} of this build: {ratio:.1f} times as fast"
    return Judgement(verdict=verdict, label=label, evidence=evidence)


def _made(table: pd.DataFrame) -> bool:
    """Return whether some rows of a table were made by uncommitted code."""
    return uncommitted(table.get("runs", ()))


def chance_note(table: pd.DataFrame) -> str:
    """Return, for a caption, how many rows of `comparison.gains` chance alone makes significant.

    >>> chance_note(pd.DataFrame({"effect": ["gain", "loss", "not significant"]}))
    '3 comparisons, tested at 5 % each: up to 0.15 significant by chance alone.'
    """
    tests = int((table["effect"] != UNTESTABLE).sum()) if len(table) else 0
    if not tests:
        return ""
    return (
        f"{tests} comparison{'s' if tests > 1 else ''}, tested at {100 * statistics.ALPHA:g} % "
        f"each: up to {statistics.ALPHA * tests:.2g} significant by chance alone."
    )
