"""Verdicts on the claims of a paper, with their evidence.

The rule is that of `labels`.

Page: the chapters on RCAR, CHAN and the constraints; "How sure" in the chapter on the task.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from itm_book.tables import labels
from itm_book.tables.comparison import p_value, spread
from itm_book.tables.labels import EFFECTS, GAIN, LOSS, MIXED, NONE_FOUND, UNTESTABLE
from itm_book.tables.report import Note, with_note
from itm_book.tables.run_links import uncommitted
from itm_core.evaluation import statistics

NOISE = 1.25  # timings of a shared machine vary by less than this factor without a cause
NOT_RUN = "not run here"
MAX_RSUM = 600  # no gain is larger

Row = Mapping[Hashable, Any]


def claim(
    number: int,
    text: str,
    table: pd.DataFrame,
    rows: Sequence[str],
    *,
    of: str = "gain",
    subject: str = "",
) -> dict[str, str]:
    """Return the verdict on a claim that some rows gain over their hosts, with its evidence.

    The label is `labels.verdict` of p values corrected by Holm's method for the number of
    rows; the evidence has the corrected p value of each row. *Mixed* has the counts of effects,
    *no effect found* the gain detectable with this number of seeds.

    Args:
        table: of `comparison.gains` or `attention_table.gains`.
        rows: their names; rows that are not in the table are listed as not run.
        of: the measure: ``gain``, ``words``, ``words_precision``, ... Rows without it are left out.
        subject: what was tested, where it is not exactly the paper's method.
    """
    tested = table[table["name"].isin(rows)] if len(table) else table
    missing = [name for name in rows if tested.empty or name not in set(tested["name"])]
    tested = tested.dropna(subset=of) if len(tested) else tested
    lines = [f"{NOT_RUN}: {', '.join(missing)}"] if missing else []
    if tested.empty:
        return _cell(number, text, UNTESTABLE, "; ".join(lines) or NOT_RUN, subject)
    p = list(tested[_column(of, "p")])
    effects = labels.effects(list(tested[of]), p)
    records = tested.to_dict("records")
    label = labels.verdict(list(tested[of]), p)
    each = zip(records, effects, statistics.holm(p), strict=True)
    lines = [_evidence(row, of, effect, corrected) for row, effect, corrected in each] + lines
    label = _detailed(label, records, effects, of)
    if missing:
        label += f", {len(missing)} {NOT_RUN}"
    cell = _cell(number, text, label, "; ".join(lines), subject)
    return cell | {"verdict": with_note(cell["verdict"], Note(uncommitted=_made(tested)))}


def _cell(number: int, text: str, label: str, evidence: str, subject: str = "") -> dict[str, str]:
    shown = f"{subject}: {label}" if subject else label
    return {"": str(number), "claim": text, "verdict": shown, "evidence": evidence}


def _column(of: str, name: str) -> str:
    return name if of == "gain" else f"{of}_{name}"


def _detailed(label: str, rows: Sequence[Row], effects: Sequence[str], of: str) -> str:
    """Return a label with the counts of effects, or with the detectable gain."""
    if label == MIXED:
        return f"{label}: {_effects(effects)}"
    tested = [row for row, effect in zip(rows, effects, strict=True) if effect != UNTESTABLE]
    if tested and len(tested) < len(rows):
        label += f", {len(rows) - len(tested)} {UNTESTABLE}"
    if not label.startswith(NONE_FOUND):
        return label
    gains = [_detectable(row, of, len(tested)) for row in tested]
    seeds = _range([row["seeds"] for row in tested])
    return f"{label} ({seeds} seeds could have shown {_range(gains, '.1f')})"


def _detectable(row: Row, of: str, tests: int) -> float:
    """Return the gain detectable with the seeds of a row, as one of ``tests`` corrected by Holm.

    The column of the table is for one test; the first row that Holm's method rejects is tested at
    ``ALPHA / tests``. The column already uses the spread with its lower bound.
    """
    seeds = int(row["seeds"])
    single, corrected = (
        statistics.detectable(1.0, seeds, alpha=statistics.ALPHA / n) for n in (1, tests)
    )
    return float(row[_column(of, "detectable")]) * corrected / single


def _range(values: Sequence[float], form: str = ".0f") -> str:
    """Return the smallest and the largest number as text, or one if both give the same text."""
    low, high = (_capped(value, form) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _capped(value: float, form: str) -> str:
    """Return a number as text, or that it is larger than rSum can be."""
    return f"more than {MAX_RSUM}" if value > MAX_RSUM else format(value, form)


def _evidence(row: Row, of: str, effect: str, p: float) -> str:
    if of == "gain":
        shown = f"{row['gain']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]{spread(row['spread'])}"
    else:
        shown = f"{row[of]:+.1f}{spread(row[f'{of}_spread'])} points"
    tested = f"{effect}, one seed" if effect == UNTESTABLE else f"{effect}, p {_equal(p)}"
    return f"{row['name']} over {row['host']}: {shown}, {tested}"


def _equal(p: float) -> str:
    shown = p_value(p)
    return shown if shown.startswith("<") else f"= {shown}"


def untested(number: int, text: str, why: str, *, subject: str = "") -> dict[str, str]:
    """Return the verdict on a claim that cannot be tested here, with the reason.

    >>> untested(4, "more regions help", "every picture has 36")["verdict"]
    'not testable'
    """
    return _cell(number, text, UNTESTABLE, why, subject)


def faster(number: int, text: str, times: pd.DataFrame, name: str, than: str) -> dict[str, str]:
    """Return the verdict on a claim that one method scores faster than another.

    ``times`` is `run_timing.scoring_times`. The labels are those of `claim`, without a test: a
    difference counts beyond a factor of `NOISE`.
    """
    milliseconds = {
        str(row["method"]): float(row["milliseconds"])
        for row in times.to_dict("records")
        if row["method"] in (name, than)
    }
    if len(milliseconds) < 2:
        return _cell(number, text, UNTESTABLE, NOT_RUN)
    ratio = milliseconds[than] / milliseconds[name]
    against = labels.AGAINST if ratio < 1 / NOISE else NONE_FOUND
    evidence = (
        f"a timing, {name}: {milliseconds[name]:.0f} ms, {than}: {milliseconds[than]:.0f} ms "
        f"({ratio:.1f} times), the test split, when this page was built"
    )
    return _cell(number, text, labels.HOLDS if ratio > NOISE else against, evidence)


def _made(table: pd.DataFrame) -> bool:
    """Return whether some rows of a table were made by uncommitted code."""
    return uncommitted(table.get("runs", ()))


def _effects(effects: Sequence[str]) -> str:
    """Return the effects that occur, with their counts.

    >>> _effects(["loss", "not significant", "loss"])
    '2 losses, 1 not significant'
    """
    plurals = {GAIN: "gains", LOSS: "losses"}
    counts = {effect: list(effects).count(effect) for effect in EFFECTS}
    return ", ".join(f"{n} {e if n == 1 else plurals.get(e, e)}" for e, n in counts.items() if n)


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
