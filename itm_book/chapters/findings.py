"""What was found: every claim of the three papers on one line, and five lines for the cover.

Everything here is read from the records; nothing is trained.

Page: "What we found".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from IPython.display import HTML

from itm_book.records import grids
from itm_book.tables import claims, orderings, published_order, report, sentences, two_budgets
from itm_book.tables.claims import PHOTOGRAPHS, SCENES, Verdicts
from itm_book.tables.labels import AGAINST, HOLDS, UNTESTABLE
from itm_book.tables.notes import Note, with_note
from itm_book.tables.two_budgets import TwoGains
from itm_book.tables.verdicts import Judgement

PAGES = {"RCAR": "rcar", "CHAN": "chan", "CCR and CCS": "contrastive"}  # of each paper
HEADLINES = {"RCAR": 3, "CHAN": 1, "CCR and CCS": 4}  # the claim of each paper that a cover shows


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
    named = {"What holds": HOLDS, "What goes against the paper": AGAINST}
    lists = {what: _listed(rows, verdict) for what, verdict in named.items()}
    some = "".join(f" {what}: {text}." for what, text in lists.items() if text)
    return sentences.finding(
        f"of {len(rows)} claims, {sentences.by_verdict(rows)}.{some}{nothing} {_how_sure(rows)}"
    )


def _listed(rows: Sequence[Verdicts], verdict: str) -> str:
    """Return the claims with a verdict, each with its dataset and on how many rows, in HTML."""
    return "; ".join(
        f"<em>{escape(_claim(row))}</em> on {name}{escape(judged.label.removeprefix(verdict))}"
        for row in rows
        for name, judged in row.on.items()
        if judged.verdict == verdict
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
    lines += [line for line in (order_line(found.order), two_budgets.line(found.budgets)) if line]
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
    return (
        "<strong>Do Scenes and photographs order the methods alike?</strong> "
        f"{escape(orderings.on_photographs(order), quote=False)}."
    )
