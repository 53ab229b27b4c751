"""What the page shows of the record, or a sentence where it has nothing to show yet.

The record grows run by run, and the page can be built at any time: with no run, with one seed of
some rows, or with all. Every function takes a `Record`.

Page: "Real photographs".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import pandas as pd
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure

from itm_book.chapters.photographs import progress, tables
from itm_book.chapters.photographs import recalls as recall_tables
from itm_book.figures import gains as gain_charts
from itm_book.figures import method_charts
from itm_book.figures import orderings as order_charts
from itm_book.records import grids, results
from itm_book.records.grids import Grid
from itm_book.records.results import Results
from itm_book.tables import (
    claims,
    comparison,
    orderings,
    published_order,
    report,
    sentences,
    verdicts,
)
from itm_book.tables.best_row import CAPTION, against_best

AVERAGED = {  # ensembles, and the row that each is compared with
    "SCAN, both directions": "SCAN t2i",
    "base, both directions": "base t2i",
    "RCR, both directions": "RCR t2i",
    "RAR, both directions": "RAR t2i",
    "RCAR, both directions": "base, both directions",
    "SGRAF": "SGR",
    "SGRAF + CCR + CCS": "SGRAF",
}
SCENES, PHOTOGRAPHS, PUBLISHED = "Scenes", "Flickr8k", "Flickr30K, published"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is recorded on photographs, and of the same rows on Scenes.

    Attributes:
        rows, scenes: results by row and ensemble; may be empty.
        curves: learning curves by row, see `progress.by_row`.
        judged: agreement with people, see `tables.recorded`; may be empty.
        boxes: attention against people's boxes, see `claims.boxes`; may be empty.
    """

    grid: Grid
    size: str
    rows: Results
    scenes: Results
    curves: Mapping[str, pd.DataFrame]
    judged: pd.DataFrame
    boxes: pd.DataFrame

    @property
    def reference(self) -> str:
        """The row with which agreement with people is compared: the first of the grid."""
        return next(iter(self.grid.rows))


def load(size: str = claims.SIZES[claims.PHOTOGRAPHS]) -> Record:
    """Return what is recorded so far at a size of the grid on photographs."""
    grid = grids.load(claims.GRID)
    rows = results.recorded_so_far(grid, size)
    return Record(
        grid=grid,
        size=size,
        rows=rows,
        scenes=results.recorded_so_far(grid, claims.SIZES[claims.SCENES]),
        curves=progress.by_row(rows),
        judged=tables.recorded(grid, size),
        boxes=claims.boxes(grid, rows, size),
    )


def not_recorded(what: str) -> Markdown:
    """Return the sentence that replaces what is not recorded."""
    return Markdown(f"*Nothing recorded yet: {what}.*")


NO_RUN, NO_CURVE = "no run on photographs", "no learning curve"
NO_GAIN, NO_JUDGEMENT = "no row together with its host", "no agreement with people"


# --- the budget and the curves -----------------------------------------------------------------


def budget(record: Record) -> HTML:
    """Return the settings of training, from the recipes of the grid."""
    table, same = progress.budget(record.grid, record.size)
    return report.html(table, f"Settings of training. The same for every row: {same}")


def missing(record: Record) -> Markdown:
    """Return which rows are not run, or not with all seeds; a sentence where none is missing."""
    text = progress.not_run(record.grid, record.size, record.rows)
    return Markdown(text or "Every row of the grid is recorded with all of its seeds.")


def learning_curves(record: Record, names: tuple[str, ...]) -> Figure | Markdown:
    """Return loss and development rSum of some rows against epochs, means over seeds."""
    if not record.curves:
        return not_recorded(NO_CURVE)
    chosen = progress.mean_curves(record.curves, names)
    return method_charts.learning_curve(chosen or progress.mean_curves(record.curves))


def convergence(record: Record) -> HTML | Markdown:
    """Return for every row what the last quarter of its epochs gained."""
    if not record.curves:
        return not_recorded(NO_CURVE)
    return report.html(
        progress.convergence(record.curves),
        "rSum on the development split (percent, six recalls): has training converged?",
    )


# --- retrieval ---------------------------------------------------------------------------------


def recalls(record: Record) -> HTML | Markdown:
    """Return all recalls of every recorded row."""
    if not record.rows:
        return not_recorded(NO_RUN)
    caption = f"Flickr8k (recalls in percent): {results.status(record.rows)}"
    return report.html(recall_tables.recalls(record.rows), caption)


def intervals(record: Record) -> Figure | Markdown:
    """Return rSum of every recorded row with its intervals."""
    if not record.rows:
        return not_recorded(NO_RUN)
    return method_charts.intervals(
        comparison.dots(comparison.compare(record.rows, record.grid)),
        title="photographs: every method, the same budget",
        unit="rSum on the test split (percent, six recalls)",
    )


def best(record: Record) -> HTML | Markdown:
    """Return every recorded row tested against the best one."""
    if not record.rows:
        return not_recorded(NO_RUN)
    return report.html(against_best(record.rows), f"{CAPTION}: {results.status(record.rows)}")


def _gains(record: Record) -> pd.DataFrame:
    tables_of = [table for table in _plugins_and_ensembles(record) if len(table)]
    return comparison.joined(*tables_of) if tables_of else pd.DataFrame()


def _plugins_and_ensembles(record: Record) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the gains of rows over their host, and those of two models over one."""
    plugins = comparison.gains(record.rows, record.grid)
    return plugins, comparison.gains(record.rows, record.grid, over=AVERAGED)


def gains(record: Record) -> HTML | Markdown:
    """Return the gain of every row over its host, and of two models over one."""
    table = _gains(record)
    if table.empty:
        return not_recorded(NO_GAIN)
    return report.html(
        comparison.readable_gains(table),
        f"Gains over the host, and of two models over one: {results.status(record.rows)}. "
        f"{verdicts.chance_note(table)}",
    )


def gain_chart(record: Record) -> Figure | Markdown:
    """Return the gains as a figure."""
    table = _gains(record)
    if table.empty:
        return not_recorded(NO_GAIN)
    return gain_charts.gains(
        table,
        title="photographs: what is gained",
        unit="gain in rSum",
        named_hosts=True,
    )


def spread(record: Record) -> HTML:
    """Return the spread of gains between seeds, of Scenes until photographs have two seeds."""
    for rows in (record.rows, record.scenes):
        table = recall_tables.spread_between_seeds(comparison.gains(rows, record.grid))
        if len(table):
            break
    caption = f"Standard deviation of gains between seeds, in rSum: {results.status(rows)}"
    return report.html(table, caption)


# --- orders of methods -------------------------------------------------------------------------


def _orders(record: Record) -> dict[str, pd.DataFrame]:
    """Return the three orders, the names of which `order_table` shows."""
    return {
        SCENES: published_order.recorded_dots(record.scenes, record.grid),
        PHOTOGRAPHS: published_order.recorded_dots(record.rows, record.grid),
        PUBLISHED: published_order.dots(record.grid),
    }


def order_table(record: Record) -> HTML:
    """Return Kendall's tau between the orders of methods on Scenes, on photographs, published."""
    orders = _orders(record)
    pairs = ((SCENES, PHOTOGRAPHS), (PHOTOGRAPHS, PUBLISHED), (SCENES, PUBLISHED))
    table = orderings.agreement_table(
        {pair: orderings.paired(*(orders[name] for name in pair)) for pair in pairs}
    )
    return report.html(
        table,
        f"Do two datasets order the methods alike? By {published_order.MEASURE}; "
        f"95 % interval over resampled methods, of {orderings.FOR_INTERVAL} or more; p by "
        "permutation",
    )


def order_chart(record: Record, across: str = SCENES) -> Figure | Markdown:
    """Return a dot for every method, across its R@1 elsewhere, up that on photographs."""
    if not record.rows:
        return not_recorded(NO_RUN)
    orders = _orders(record)
    return order_charts.scatter(
        orderings.paired(orders[across], orders[PHOTOGRAPHS]),
        title="the same methods on both",
        across=f"{across}: {published_order.MEASURE}",
        up=f"{PHOTOGRAPHS}: R@1, summed",
    )


def finding(record: Record) -> HTML | Markdown:
    """Return how many gains are significant, and whether Scenes orders the methods alike."""
    plugins, ensembles = _plugins_and_ensembles(record)
    parts = [sentences.tally(plugins, "gains over a host")] if len(plugins) else []
    if len(ensembles):
        tally = sentences.tally(ensembles, "gains over one model")
        parts.append(f"of ensembles, counted apart, {tally}")
    if not parts:
        return not_recorded(NO_GAIN)
    text = "; ".join(parts)
    orders = _orders(record)
    pairs = orderings.paired(orders[SCENES], orders[PHOTOGRAPHS])
    if len(pairs) >= orderings.FEWEST:
        order = orderings.on_photographs(orderings.agreement(pairs))
        text += f". {escape(order, quote=False)}"
    return sentences.finding(f"{text}.")


# --- agreement with people ---------------------------------------------------------------------


def people(record: Record) -> HTML | Markdown:
    """Return the rank correlations of every row's scores with people's ratings."""
    if record.judged.empty:
        return not_recorded(NO_JUDGEMENT)
    return report.html(
        tables.readable(record.judged, record.reference),
        "Agreement with people (hundredths); in brackets behind a difference the means of both on "
        f"the seeds whose difference is recorded: {tables.status(record.judged)}",
    )


def people_chart(record: Record) -> Figure | Markdown:
    """Return the agreement of every row with people, and that of one person with the others."""
    if record.judged.empty:
        return not_recorded(NO_JUDGEMENT)
    return method_charts.intervals(
        tables.compare(record.judged),
        title="photographs: agreement with people",
        unit="Kendall's tau-c with each person's rating",
        line=("one person with the others", tables.people(record.judged)),
    )


def people_and_recall(record: Record) -> HTML | Markdown:
    """Return whether R@1 and agreement with people order the methods alike, as a table."""
    if record.judged.empty:
        return not_recorded(NO_JUDGEMENT)
    recorded = published_order.recorded_dots(record.rows, record.grid)
    pairs = orderings.paired(recorded, tables.compare(record.judged))
    table = orderings.agreement_table({("by R@1", "by people's ratings"): pairs})
    return report.html(
        table,
        "Two orders of the methods on Flickr8k; interval over methods, of "
        f"{orderings.FOR_INTERVAL} or more; p by permutation",
    )
