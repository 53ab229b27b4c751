"""Verdicts on claims that are no gain over a host: not testable here, or a matter of time.

Each has the shape of `comparison.claim`, so that one table holds them all.

Page: the CHAN chapter and the chapter on the constraints, "The claims, one by one".
"""

from __future__ import annotations

import pandas as pd
from IPython.display import Markdown

UNTESTED = "cannot be tested on Scenes"
NOISE = 1.25  # times of a shared machine differ by less than this for no reason


def untested(number: int, text: str, why: str) -> dict[str, str]:
    """Return the verdict on a claim that nothing here can test, with the reason.

    >>> untested(4, "more regions help", "every picture has 36")["verdict"]
    'cannot be tested on Scenes'
    """
    return {"": str(number), "claim": text, "verdict": UNTESTED, "evidence": why}


def faster(number: int, text: str, times: pd.DataFrame, name: str, than: str) -> dict[str, str]:
    """Return the verdict on a claim that one method scores faster than another.

    ``times`` is `timing.scoring_times`. Timings of one machine at one time: a difference below
    `NOISE` counts as none.
    """
    taken = {
        str(row["method"]): float(row["milliseconds"])
        for row in times.to_dict("records")
        if row["method"] in (name, than)
    }
    verdict, evidence = "not run here", ""
    if len(taken) == 2:
        ratio = taken[than] / taken[name]
        verdict = "holds" if ratio > NOISE else "contradicted" if ratio < 1 / NOISE else "not seen"
        evidence = (
            f"{name}: {taken[name]:.0f} ms, {than}: {taken[than]:.0f} ms ({ratio:.1f} times), "
            "the whole test split, timed when this page was built"
        )
    return {"": str(number), "claim": text, "verdict": verdict, "evidence": evidence}


def readings(table: pd.DataFrame, unit: str = "rSum") -> Markdown:
    """Return in words how far the rows of `comparison.gains` lie apart."""
    if table.empty:
        return Markdown("None of these rows is recorded.")
    ordered = table.sort_values("gain").to_dict("records")
    least, most = ordered[0], ordered[-1]
    said = table["says"].value_counts()
    counted = {word: said.get(word, 0) for word in ("gain", "loss", "not told apart")}
    told = ", ".join(f"{count} {word}" for word, count in counted.items())
    if len(ordered) == 1:
        return Markdown(f"One row: {most['name']}, {most['gain']:+.1f} {unit} ({told}).")
    return Markdown(
        f"Over {len(ordered)} rows the gain runs from {least['gain']:+.1f} {unit} "
        f"(*{least['name']}*) to {most['gain']:+.1f} (*{most['name']}*), "
        f"**{most['gain'] - least['gain']:.1f} apart**: {told}."
    )
