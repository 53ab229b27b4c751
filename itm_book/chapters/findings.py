"""What was found: every claim of the three papers on one line, and a few lines for the cover.

Everything here is read from the records; nothing is trained.

Page: "What we found".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from itm_book.figures import claim_gains
from itm_book.records import grids
from itm_book.tables import claims, orderings, published_order, report, sentences, two_budgets
from itm_book.tables.claims import PHOTOGRAPHS, SCENES, Verdicts
from itm_book.tables.labels import AGAINST, HOLDS, MIXED, UNTESTABLE
from itm_book.tables.notes import Note, with_note
from itm_book.tables.two_budgets import TwoGains
from itm_book.tables.verdicts import SO_FAR, Judgement

PAGES = {"RCAR": "rcar", "CHAN": "chan", "CCR and CCS": "contrastive"}  # of each paper
NAMED = {HOLDS: "What holds", AGAINST: "Where a loss was found", MIXED: "What is mixed"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the page shows.

    Attributes:
        verdicts: on every claim, `claims.every_judged`.
        status: the origin of the records, for captions.
        order: `orderings.agreement` of the orders of methods on Scenes and on photographs; empty
            where too few methods are recorded.
        budgets: `two_budgets.gains`.
    """

    verdicts: Sequence[Verdicts]
    status: str
    order: Mapping[str, float]
    budgets: Mapping[str, TwoGains]


def load(size: str = "record") -> Found:
    """Return what was found, as far as it is recorded.

    ``size`` is that of the grid ``budget``.
    """
    both = claims.worlds()
    return Found(
        verdicts=claims.every_judged(both),
        status=claims.status(both),
        order=_order(both),
        budgets=two_budgets.gains(size),
    )


def _order(both: Sequence[claims.World]) -> dict[str, float]:
    grid = grids.load(claims.GRID)
    across, up = (published_order.recorded_dots(world.rows, grid) for world in both)
    pairs = orderings.paired(across, up)
    if len(pairs) < orderings.FEWEST:
        return {}
    return orderings.agreement(pairs)


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
    return sentences.finding(
        f"of {len(rows)} claims, {sentences.by_verdict(rows)}.{nothing} {_how_sure(rows)}"
    )


def _how_sure(rows: Sequence[Verdicts]) -> str:
    seeds = [int(n) for row in rows for on in row.on.values() for n in on.seeds.split(" to ") if n]
    most = max(seeds, default=0)
    return (
        f"These verdicts are not very sure, with at most {most} seed{'s' * (most != 1)} a row, and "
        "trainings far shorter than the papers': a loss, or a gain that is missing, refutes no "
        "paper."
    )


def chart(found: Found) -> Figure | HTML:
    """Return the gain of every recorded row of every claim on each dataset, or that there is none.

    In the order of the table; claims that no run tests are left out.
    """
    gains = [
        {"paper": row.paper, "claim": f"{row.paper}: {row.claim.text}", "dataset": name}
        | {"unit": judged.unit, "gain": gain, "effect": effect}
        for row in found.verdicts
        for name, judged in row.on.items()
        for gain, effect in judged.recorded
    ]
    if not gains:
        return HTML("<p>No gain is recorded yet.</p>")
    return claim_gains.dots(pd.DataFrame(gains))


# --- the cover ---------------------------------------------------------------------------------


def summary(found: Found) -> HTML:
    """Return what holds, what lost and what is mixed, on each dataset, as a list; may be empty.

    Also whether both datasets order the methods alike, and whether a gain depends on the budget.
    The counts of all verdicts are in the `finding` above it.
    """
    lines = [
        line
        for name in (PHOTOGRAPHS, SCENES)
        for verdict in NAMED
        for so_far in (False, True)
        if (line := _line(found.verdicts, name, verdict, so_far=so_far))
    ]
    lines += [line for line in (order_line(found.order), two_budgets.line(found.budgets)) if line]
    items = "".join(f"<li>{line}</li>" for line in lines)
    return HTML(f"<ul>{items}</ul>" if items else "")


def _line(rows: Sequence[Verdicts], name: str, verdict: str, *, so_far: bool) -> str:
    """Return the claims with a verdict on a dataset, each with its gain, in HTML; may be empty.

    Args:
        so_far: take the claims of which some rows have no test yet, instead of the others.
    """
    of: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        judged = row.on[name]
        if judged.verdict == verdict and bool(judged.left_out) == so_far:
            text = f"{escape(row.claim.text)} ({_gain(judged)})"
            of.setdefault((row.paper, row.claim.subject), []).append(text)
    papers = (
        f'<a href="../notebooks/{PAGES[paper]}.html">{escape(paper)}</a>'
        f"{f' ({escape(subject)})' * bool(subject)}: {', '.join(texts)}"
        for (paper, subject), texts in of.items()
    )
    title = f"{NAMED[verdict]} on {name}{f' {SO_FAR}' * so_far}"
    return f"<strong>{title}:</strong> {'; '.join(papers)}." if of else ""


def _gain(judged: Judgement) -> str:
    """Return the median gain, of how many rows, and how many with one seed go the other way.

    >>> _gain(Judgement(verdict="holds", label="", evidence="", recorded=((2.0, "gain"),)))
    '+2.0 rSum'
    >>> _gain(Judgement(verdict="holds", label="", evidence="", recorded=((2.0, "gain"),),
    ...                 left_out=4))
    '+2.0 rSum, 1 of 5 rows'
    >>> _gain(Judgement(verdict="holds", label="", evidence="", left_out=2,
    ...                 recorded=((2.0, "gain"), (1.0, UNTESTABLE), (-1.0, UNTESTABLE))))
    '+2.0 rSum, 1 of 3 rows; of 2 with one seed 1 loses'
    """
    gains, median = judged.gains, float(np.median(judged.gains))
    several = ", median of" if len(gains) > 1 else ","
    if judged.left_out:
        rows = f"{several} {len(gains)} of {len(gains) + judged.left_out} rows"
    else:
        rows = f"{several} {len(gains)} rows" if len(gains) > 1 else ""
    against = sentences.opposed(judged)
    return f"{median:+.1f} {judged.unit}{rows}{f'; {against}' * bool(against)}"


def order_line(order: Mapping[str, float]) -> str:
    """Return how far Scenes and photographs order the methods alike, in HTML; may be empty."""
    if not order:
        return ""
    return (
        "<strong>Do Scenes and photographs order the methods alike?</strong> "
        f"{escape(orderings.on_photographs(order), quote=False)}."
    )
