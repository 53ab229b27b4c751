"""The claims of the three papers, each judged on Scenes and on photographs by the same rule.

Both verdicts are on the same rows of the grid ``flickr8k``, at two of its sizes. The rule is that
of `labels`; on photographs attention is measured against people's boxes.

Page: the chapters on RCAR, CHAN and the constraints; "Real photographs".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape

import pandas as pd
from IPython.display import HTML

from itm_book.records import attention, grids, results
from itm_book.records.grids import Grid
from itm_book.records.results import Results
from itm_book.tables import attention_table, comparison, people_boxes_gains, report, verdicts
from itm_book.tables.claim_list import CLAIMS, GAIN, Claim, Pair
from itm_book.tables.labels import UNTESTABLE
from itm_book.tables.people_boxes import TITLES
from itm_book.tables.verdicts import Judgement

GRID = "flickr8k"
SCENES, PHOTOGRAPHS = "Scenes", "photographs"
SIZES = {SCENES: "smoke", PHOTOGRAPHS: "record"}
BUDGET = "budget.html"  # the page on what a gain needs, beside the pages that have claims

Measured = Mapping[Pair, pd.DataFrame]  # the gain of each pair that was run; may be empty


# --- the two records ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class World:
    """The recorded results of the grid's rows on one dataset.

    Attributes:
        rows: what is recorded so far, by row; may be empty. On Scenes with attention quality
            against the objects that a word names.
        boxes: lines of `records.attention` with attention against people's boxes; None on Scenes.
    """

    name: str
    rows: Results
    boxes: pd.DataFrame | None = None


def worlds(grid: Grid | None = None) -> tuple[World, World]:
    """Return the records of Scenes and of photographs, as far as they go."""
    grid = grid or grids.load(GRID)
    scenes, photographs = (results.recorded_so_far(grid, size) for size in SIZES.values())
    return (
        World(name=SCENES, rows=scenes),
        World(name=PHOTOGRAPHS, rows=photographs, boxes=boxes(grid, photographs)),
    )


def boxes(grid: Grid, rows: Results, size: str = SIZES[PHOTOGRAPHS]) -> pd.DataFrame:
    """Return the lines of attention against people's boxes; none where no row is measured."""
    measured = {run for run, _, _ in attention.measured_runs()}
    if measured.isdisjoint(result.run for group in rows.values() for result in group):
        return pd.DataFrame()
    return attention.recorded(grid, size)


def status(both: Sequence[World]) -> str:
    """Return the origin of both records for a caption."""
    return "; ".join(
        results.status(world.rows) if world.rows else f"{world.name}: nothing recorded"
        for world in both
    )


# --- verdicts ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """A claim of a paper with its verdict on each dataset, by the name of the dataset.

    Attributes:
        on: the verdicts, each on all rows of its dataset.
        shared: the pairs of rows that can be tested on both datasets by one measure, as text.
        on_shared: the verdicts on these pairs; empty without any.
    """

    paper: str
    claim: Claim
    on: Mapping[str, Judgement]
    shared: tuple[str, ...] = ()
    on_shared: Mapping[str, Judgement] = field(default_factory=dict)

    @property
    def differ(self) -> bool:
        """Whether the two datasets give two verdicts on the pairs that both have."""
        return len({judged.verdict for judged in self.on_shared.values()}) > 1


def judged(
    paper: str,
    both: Sequence[World],
    *,
    grid: Grid | None = None,
    on_scenes: Mapping[int, Judgement] | None = None,
) -> list[Verdicts]:
    """Return the verdicts on the claims of a paper, a key of `claim_list.CLAIMS`, in their order.

    Args:
        on_scenes: verdicts on Scenes that a page has measured itself, such as times, by the
            number of their claim (`verdicts.faster`).
    """
    grid = grid or grids.load(GRID)
    rows = []
    for claim in CLAIMS[paper]:
        row = _verdicts(paper, claim, both, grid)
        if on_scenes and claim.number in on_scenes:
            row = replace(row, on={**row.on, SCENES: on_scenes[claim.number]})
        rows.append(row)
    return rows


def every_judged(both: Sequence[World]) -> list[Verdicts]:
    """Return the verdicts on the claims of all papers."""
    return [row for paper in CLAIMS for row in judged(paper, both)]


def _verdicts(paper: str, claim: Claim, both: Sequence[World], grid: Grid) -> Verdicts:
    if claim.why:
        none = verdicts.untested(claim.why, claim.label)
        return Verdicts(paper=paper, claim=claim, on={world.name: none for world in both})
    measured = [(world, _measured(claim, world, grid)) for world in both]
    compared = () if claim.by_boxes else claim.pairs  # two measures give no two verdicts
    shared = [pair for pair in compared if all(_testable(claim, *of, pair) for of in measured)]

    def on(pairs: Sequence[Pair]) -> dict[str, Judgement]:
        return {w.name: _judged(claim, w, tables, pairs) for w, tables in measured if pairs}

    return Verdicts(
        paper=paper,
        claim=claim,
        on=on(claim.pairs),
        shared=tuple(map(_over, shared)),
        on_shared=on(shared),
    )


def _measured(claim: Claim, world: World, grid: Grid) -> Measured:
    run = [pair for pair in claim.pairs if world.rows.keys() >= set(pair)]
    return {pair: _gain(_measure(claim, world), world, *pair, grid) for pair in run}


def _testable(claim: Claim, world: World, measured: Measured, pair: Pair) -> bool:
    """Return whether both rows of a pair were run and measured on several common seeds."""
    table = measured.get(pair, pd.DataFrame())
    return len(table) > 0 and bool(table[verdicts.column(_column(claim, world), "p")].notna().all())


def _judged(claim: Claim, world: World, measured: Measured, pairs: Sequence[Pair]) -> Judgement:
    """Return the verdict on some pairs of a claim; p values are corrected for all its pairs."""
    missing = [_over(pair) for pair in pairs if pair not in measured]
    unmeasured = [_over(pair) for pair in pairs if pair in measured and measured[pair].empty]
    tables = [measured[pair] for pair in pairs if pair in measured and len(measured[pair])]
    tested = comparison.joined(*tables) if tables else pd.DataFrame()
    of, measure = _column(claim, world), _measure(claim, world)
    unit = verdicts.RSUM if measure == GAIN else verdicts.POINTS
    further = (table for pair, table in measured.items() if pair not in pairs and len(table))
    others = [float(p) for table in further for p in table[verdicts.column(of, "p")]]
    found = verdicts.judge(tested, missing, unmeasured=unmeasured, others=others, of=of, unit=unit)
    return found if measure == GAIN else _with_measure(found, measure, claim)


def _column(claim: Claim, world: World) -> str:
    """Return the column of `_gain` with the gain in the measure of a claim."""
    by_objects = claim.measure != GAIN and world.boxes is None
    return f"words_{claim.measure}" if by_objects else GAIN


def _measure(claim: Claim, world: World) -> str:
    """Return the measure of a claim in one record."""
    return claim.measure if world.boxes is None else claim.by_boxes or claim.measure


def _with_measure(found: Judgement, measure: str, claim: Claim) -> Judgement:
    """Return a verdict on attention with its measure; in the label where datasets have two."""
    title = TITLES[measure]
    caveat = f" {claim.caveat}" * bool(claim.caveat and measure == claim.measure)
    label = f"{found.label}, by {title}" if claim.by_boxes else found.label
    return replace(found, label=label, evidence=f"{title}{caveat}: {found.evidence}")


def _over(pair: Pair) -> str:
    row, host = pair
    return f"{row} over {host}"


def _gain(measure: str, world: World, row: str, other: str, grid: Grid) -> pd.DataFrame:
    """Return the gain of a row over another, with the columns of `comparison.gains`.

    Of attention on Scenes with those of `attention_table.gains`.
    """
    over = {row: other}
    if measure != GAIN and world.boxes is not None:
        if world.boxes.empty:
            return world.boxes
        names = world.boxes["name"].isin([row, other, attention.UNIFORM])
        return people_boxes_gains.gains(world.boxes[names], measure, over=over)
    compared = comparison.gains if measure == GAIN else attention_table.gains
    return compared({name: world.rows[name] for name in (row, other)}, grid, over=over)


def table(rows: Sequence[Verdicts]) -> pd.DataFrame:
    """Return verdicts as a table for a page: a row for each claim, a verdict for each dataset.

    Columns: ``paper`` where there are several, number and text of the claim, the verdicts ``on
    Scenes`` and ``on photographs``; behind the table's switch for each dataset seeds, ``minimum
    detectable gain``: what these seeds would have shown in 8 of 10 cases, and evidence.
    """
    shown = []
    tests: dict[str, None] = {}
    several = len({row.paper for row in rows}) > 1
    for row in rows:
        claim = row.claim
        first = {"paper": row.paper} if several else {}
        first |= {"": str(claim.number), "claim": claim.text}
        behind: dict[str, str] = {}
        for name, judgement in row.on.items():
            cells = judgement.cells(claim.subject)
            first[f"on {name}"] = cells.pop("verdict")
            behind |= {f"{title}, {name}": cell for title, cell in cells.items()}
        tests |= dict.fromkeys(behind)
        shown.append(first | behind)
    return report.behind_switch(report.claims(shown), list(tests))


def differing(rows: Sequence[Verdicts], page: str = BUDGET) -> HTML:
    """Return the claims whose two verdicts differ on the rows that both datasets have.

    ``page`` is the page, relative to this one, that tests an explanation.
    """
    photographs = [row.on[PHOTOGRAPHS] for row in rows]
    if all(judgement.verdict == UNTESTABLE for judgement in photographs):
        return HTML(
            "<p>On photographs no claim can be tested yet: a row needs at least two seeds. Where "
            "a row is recorded, the evidence has its interval over test images, which holds for "
            "the trained models only.</p>"
        )
    several = len({row.paper for row in rows}) > 1
    lines = [
        f"<li>{f'{row.paper} ' * several}{row.claim.number}: {_two_verdicts(row)}</li>"
        for row in rows
        if row.differ
    ]
    if not lines:
        return HTML(
            "<p>On no claim do the two datasets give two different verdicts on the rows that can "
            "be tested on both.</p>"
        )
    return HTML(
        f"<p><strong>The two verdicts differ</strong> on {len(lines)} "
        f"claim{'s' if len(lines) > 1 else ''}, on the rows that can be tested on both datasets:"
        f"</p><ul>{''.join(lines)}</ul><p>Where one of them is <em>no effect found</em>, compare "
        "the other's gains with the minimum detectable gain: a smaller gain may exist. One "
        "explanation is the training budget: "
        f'<a href="{escape(page)}">does a gain depend on it?</a></p>'
    )


def _two_verdicts(row: Verdicts) -> str:
    """Return both verdicts on the rows that both datasets have, and those on all, as HTML."""
    if row.on_shared == row.on:
        return _labels(row.on)
    rows = escape(" · ".join(row.shared))
    return f"{_labels(row.on_shared)} ({rows}); on all rows {_labels(row.on)}"


def _labels(on: Mapping[str, Judgement]) -> str:
    return ", ".join(f"<em>{escape(judged.label)}</em> on {name}" for name, judged in on.items())
