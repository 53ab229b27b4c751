"""From numbers to words: verdicts on claims, the best row of a table, how often a test was made.

The rule is that of `evaluation.statistics`. Only what a paper claims gets a verdict; questions
of our own are rows of a table.

Page: every chapter with a table; "How sure" in the chapter on the task.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown

from itm_book.records.results import Result, Results
from itm_book.tables.comparison import believed, p_value, paired, spread
from itm_book.tables.report import MARK, MEANING, Note, with_note
from itm_book.tables.run_links import uncommitted
from itm_core.evaluation import retrieval, statistics
from itm_core.evaluation.statistics import (
    EFFECTS,
    GAIN,
    LOSS,
    MIXED,
    NO_EFFECT,
    NONE_FOUND,
    UNTESTABLE,
)

NOISE = 1.25  # times of a shared machine differ by less than this for no reason
NOT_RUN = "not run here"
SCALE = 600  # the largest rSum: no gain is larger
LISTED = 8  # names in a sentence; of more it gives the number

Row = Mapping[Hashable, Any]


# --- claims ------------------------------------------------------------------------------------


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

    The label is `statistics.verdict`, of p values that Holm's method corrects for the number of
    rows; so is the p value of each row in the evidence. *Mixed* comes with its counts, *no effect
    found* with the gain that so many seeds could have shown.

    Args:
        table: of `comparison.gains` or `attention_table.gains`.
        rows: their names; those that are not in the table are named as not run.
        of: what is gained: ``gain``, ``words``, ``words_precision``, ... Rows without that
            measure are left out.
        subject: what was tested, where that is not what the paper describes.
    """
    known = table[table["name"].isin(rows)] if len(table) else table
    missing = [name for name in rows if known.empty or name not in set(known["name"])]
    known = known.dropna(subset=of) if len(known) else known
    lines = [f"{NOT_RUN}: {', '.join(missing)}"] if missing else []
    if known.empty:
        return _cell(number, text, UNTESTABLE, "; ".join(lines) or NOT_RUN, subject)
    p = list(known[_column(of, "p")])
    found = statistics.effects(list(known[of]), p)
    records = known.to_dict("records")
    label = statistics.verdict(list(known[of]), p)
    each = zip(records, found, statistics.holm(p), strict=True)
    lines = [_evidence(row, of, word, corrected) for row, word, corrected in each] + lines
    label = _detailed(label, records, found, of)
    if missing:
        label += f", {len(missing)} {NOT_RUN}"
    cell = _cell(number, text, label, "; ".join(lines), subject)
    return cell | {"verdict": with_note(cell["verdict"], Note(uncommitted=_made(known)))}


def _cell(number: int, text: str, label: str, evidence: str, subject: str = "") -> dict[str, str]:
    shown = f"{subject}: {label}" if subject else label
    return {"": str(number), "claim": text, "verdict": shown, "evidence": evidence}


def _column(of: str, name: str) -> str:
    return name if of == "gain" else f"{of}_{name}"


def _detailed(label: str, rows: Sequence[Row], found: Sequence[str], of: str) -> str:
    """Return a label with what it leaves open: the counts, or what could have been found."""
    if label == MIXED:
        return f"{label}: {_effects(found)}"
    tested = [row for row, word in zip(rows, found, strict=True) if word != UNTESTABLE]
    if tested and len(tested) < len(rows):
        label += f", {len(rows) - len(tested)} {UNTESTABLE}"
    if not label.startswith(NONE_FOUND):
        return label
    could = [_detectable(row, of, len(tested)) for row in tested]
    seeds = _range([row["seeds"] for row in tested])
    return f"{label} ({seeds} seeds could have shown {_range(could, '.1f')})"


def _detectable(row: Row, of: str, tests: int) -> float:
    """Return the gain that the seeds of a row could show as one of ``tests`` that Holm corrects.

    The column of the table is for one test; the first row that Holm's method rejects is tested at
    ``ALPHA / tests``. The spread that the table believed, with its floor, is in the column.
    """
    seeds = int(row["seeds"])
    one, all_ = (statistics.detectable(1.0, seeds, alpha=statistics.ALPHA / n) for n in (1, tests))
    return float(row[_column(of, "detectable")]) * all_ / one


def _range(values: Sequence[float], form: str = ".0f") -> str:
    """Return the smallest and the largest number, or one where they read the same."""
    low, high = (_capped(value, form) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _capped(value: float, form: str) -> str:
    """Return a number, or that it is more than rSum can be."""
    return f"more than {SCALE}" if value > SCALE else format(value, form)


def _evidence(row: Row, of: str, word: str, p: float) -> str:
    if of == "gain":
        shown = f"{row['gain']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]{spread(row['spread'])}"
    else:
        shown = f"{row[of]:+.1f}{spread(row[f'{of}_spread'])} points"
    tested = f"{word}, one seed" if word == UNTESTABLE else f"{word}, p {_equal(p)}"
    return f"{row['name']} over {row['host']}: {shown}, {tested}"


def _equal(p: float) -> str:
    shown = p_value(p)
    return shown if shown.startswith("<") else f"= {shown}"


def untested(number: int, text: str, why: str, *, subject: str = "") -> dict[str, str]:
    """Return the verdict on a claim that nothing here can test, with the reason.

    >>> untested(4, "more regions help", "every picture has 36")["verdict"]
    'not testable'
    """
    return _cell(number, text, UNTESTABLE, why, subject)


def faster(number: int, text: str, times: pd.DataFrame, name: str, than: str) -> dict[str, str]:
    """Return the verdict on a claim that one method scores faster than another.

    ``times`` is `timing.scoring_times`. The labels are those of `claim`, but no test stands behind
    them: a difference of one machine at one time counts beyond a factor of `NOISE`.
    """
    taken = {
        str(row["method"]): float(row["milliseconds"])
        for row in times.to_dict("records")
        if row["method"] in (name, than)
    }
    if len(taken) < 2:
        return _cell(number, text, UNTESTABLE, NOT_RUN)
    ratio = taken[than] / taken[name]
    against = statistics.AGAINST if ratio < 1 / NOISE else NONE_FOUND
    evidence = (
        f"a timing, {name}: {taken[name]:.0f} ms, {than}: {taken[than]:.0f} ms ({ratio:.1f} "
        "times), the whole test split, when this page was built"
    )
    return _cell(number, text, statistics.HOLDS if ratio > NOISE else against, evidence)


# --- tables in words ---------------------------------------------------------------------------


def counted(table: pd.DataFrame) -> Markdown:
    """Return how many rows of `comparison.gains` gain, lose or show nothing, in words.

    With what chance alone would give for so many comparisons, and what more seeds would show.
    """
    if table.empty:
        return Markdown("None of these rows is recorded.")
    tested = table[table["says"] != UNTESTABLE]
    if tested.empty:
        return Markdown(f"{_count(len(table), 'comparison')}, {UNTESTABLE}: one seed.")
    said = [f"{_effects(list(table['says'])).capitalize()}. {by_chance(len(tested))}"]
    open_rows = tested[tested["says"] == NO_EFFECT]
    if len(open_rows):
        needed = open_rows["needed"].fillna(np.inf).median()
        many = f"more than {statistics.MAX_SEEDS}" if np.isinf(needed) else f"{needed:.0f}"
        said.append(
            f"Where nothing is significant, {_range(open_rows['seeds'].tolist())} seeds could have "
            f"shown gains of {_range(open_rows['detectable'].tolist(), '.0f')} rSum (in 8 of 10 "
            f"cases); to show a gain as large as the one measured would take {many} seeds in "
            "the median."
        )
    return Markdown(" ".join(said) + _mark(table))


def _made(table: pd.DataFrame) -> bool:
    """Return whether code in no commit has made some of the rows of a table."""
    return uncommitted(table.get("runs", ()))


def _mark(table: pd.DataFrame) -> str:
    """Return what is to be said of the rows of a table that code in no commit has made."""
    return f" ({MARK} {MEANING}: some of these rows.)" if _made(table) else ""


def by_chance(tests: int) -> str:
    """Return how many of so many comparisons would look significant if nothing had an effect.

    >>> by_chance(12)
    'At 5 % each, up to 0.6 of 12 comparisons would look significant by chance alone.'
    """
    chance = f"{statistics.ALPHA * tests:.2g} of {_count(tests, 'comparison')}"
    level = f"{100 * statistics.ALPHA:g} %"
    return f"At {level} each, up to {chance} would look significant by chance alone."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _effects(found: Sequence[str]) -> str:
    """Return effects with their counts, those that do not occur left out.

    >>> _effects(["loss", "not significant", "loss"])
    '2 losses, 1 not significant'
    """
    many = {GAIN: "gains", LOSS: "losses"}
    counts = {word: list(found).count(word) for word in EFFECTS}
    said = [f"{n} {word if n == 1 else many.get(word, word)}" for word, n in counts.items() if n]
    return ", ".join(said)


def readings(table: pd.DataFrame, unit: str = "rSum") -> Markdown:
    """Return in words how far the rows of `comparison.gains` lie apart."""
    if table.empty:
        return Markdown("None of these rows is recorded.")
    ordered = table.sort_values("gain").to_dict("records")
    least, most = ordered[0], ordered[-1]
    told = _effects(list(table["says"]))
    if len(ordered) == 1:
        return Markdown(f"One row: {most['name']}, {most['gain']:+.1f} {unit} ({told}).")
    return Markdown(
        f"Over {len(ordered)} rows the gain runs from {least['gain']:+.1f} {unit} "
        f"(*{least['name']}*) to {most['gain']:+.1f} (*{most['name']}*), "
        f"**{most['gain'] - least['gain']:.1f} apart**: {told}. {by_chance(len(ordered))}"
        f"{_mark(table)}"
    )


# --- the best row ------------------------------------------------------------------------------


def best_row(
    results: Results, names: Sequence[str] | None = None, *, floor: float | None = None
) -> Markdown:
    """Return which row is best by rSum, and which are significantly below it, in words.

    Each other row (of ``names``; by default of all) is set against the best one by seed and
    image, and the p values are corrected by Holm's method. Where every row has one seed, only
    images can decide, and the sentence says so. ``floor``: see `comparison.gains`.
    """
    rows = {name: results[name] for name in (results if names is None else names)}
    means = {name: np.mean([r.metrics["rsum"] for r in group]) for name, group in rows.items()}
    top, *rest = sorted(rows, key=lambda name: -means[name])
    best = f"Best here is **{top}** with an rSum of {means[top]:.1f}."
    if not rest:
        return Markdown(best)
    tests = np.array([_against(rows[name], rows[top], floor) for name in rest])
    gaps, images, seeds = tests.T
    alone = bool(np.isnan(seeds).all())
    found = statistics.effects(
        gaps.tolist(), (images if alone else np.maximum(images, seeds)).tolist()
    )
    said = _below(
        dict(zip(rest, found, strict=True)), "images alone" if alone else "images and seeds"
    )
    if alone:
        best += (
            " With one seed each, nothing can be said of the methods: what follows holds for "
            "these trained models only."
        )
    return Markdown(f"{best} {said}")


def _below(found: Mapping[str, str], by: str) -> str:
    """Return the rows below the best one, those level with it, and those that have no test."""
    starts = {
        "Significantly below it": (LOSS,),
        # a gain: the best row is the best by seeds that this one does not have
        "Not significantly below it": (NO_EFFECT, GAIN),
        "Not testable (one seed)": (UNTESTABLE,),
    }
    said = []
    for start, words in starts.items():
        names = [name for name, one in found.items() if one in words]
        if names:
            # a semicolon where a name has a comma
            between = "; " if any("," in name for name in names) else ", "
            few = len(names) <= LISTED
            said.append(f"{start}: {between.join(names) if few else f'{len(names)} others'}.")
    tests = f"{_count(len(found), 'comparison')} over {by}, corrected by Holm's method"
    return f"{' '.join(said)} ({tests[0].upper()}{tests[1:]}.)"


def _against(
    ours: Sequence[Result], theirs: Sequence[Result], floor: float | None
) -> tuple[float, float, float]:
    """Return the difference in rSum of two rows, and its p values over images and over seeds.

    Paired by seed; by Welch's test where both have several seeds and fewer than two in common.
    """
    pairs = paired(ours, theirs)
    sides: Sequence[Sequence[Result]] = list(zip(*pairs, strict=True)) or [ours, theirs]
    if len(pairs) < 2 <= min(len(ours), len(theirs)):
        sides = [ours, theirs]
    hits = [np.mean([result.hits for result in side], axis=0) for side in sides]
    images = retrieval.paired_bootstrap(hits[0], hits[1]).to_dict("index")["rsum"]
    values = [[result.metrics["rsum"] for result in side] for side in sides]
    if len(pairs) < 2:
        (a, b), (n, m) = values, map(len, values)
        p = statistics.unpaired_p(
            float(np.mean(a)), statistics.sd(a), n, float(np.mean(b)), statistics.sd(b), m
        )
    else:
        least = believed(*pairs[0]) if floor is None else floor
        p = statistics.over_seeds(np.subtract(values[0], values[1]), floor=least).p
    return images["difference"], images["p"], p
