"""The spread between trainings as a table and in a sentence: rounding, seeds, and what is left.

Page: "Why is my number lower?".
"""

from __future__ import annotations

import math

import pandas as pd
from IPython.display import Markdown

from itm_book.records import rounding
from itm_book.records.rounding import Components, Spread


def same_design(rows: pd.DataFrame, recipe: str) -> pd.DataFrame:
    """Return the rows of a recipe, with every change, whose seed and variant all changes have."""
    own = rows[rows["recipe"] == recipe]
    count = own.groupby(["seed", "variant"])["changes"].transform("nunique")
    return own[count == own["changes"].nunique()]


def readable(rows: pd.DataFrame, *, pooled: bool = True) -> pd.DataFrame:
    """Return one line of text for each training of the record, and one for all ``pooled``.

    ``rows`` as `rounding.read` gives them. Standard deviations are of rSum, with their degrees of
    freedom in brackets.
    """
    lines = []
    for (recipe, changes), group in rows.groupby(["recipe", "changes"], sort=False):
        counts = f"{group['seed'].nunique()} x {group['variant'].nunique()}"
        lines.append(_line(f"{recipe} {changes}".strip(), counts, rounding.components(group)))
    if pooled and len(lines) > 1:
        within, between = rounding.within_seeds(rows), rounding.between_seeds(rows)
        last = {"training": "all, pooled", "within a seed": _text(within)}
        lines.append(last | {"between seeds": _text(between)})
    shown = pd.DataFrame(lines).fillna("")
    shown.attrs["wrap"] = ["training"]  # changes of a recipe are long
    return shown


def _line(name: str, counts: str, found: Components) -> dict[str, str]:
    alone = found.seed_alone
    return {
        "training": name,
        "seeds x variants": counts,
        "mean rSum": f"{found.mean:.1f}",
        "within a seed": _text(found.rounding),
        "between seeds": _text(found.seeds),
        "seed alone": "" if math.isnan(alone) else f"{alone:.1f}",
        "minutes": f"{found.minutes:.1f}",
    }


def _text(spread: Spread) -> str:
    return f"{spread.sd:.1f} ({spread.df})" if spread.df else ""


def beside_reference(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rSum of every training and seed, a column for each rounding variant, as text.

    Without any changes among the rows there is no column for them.
    """
    order = [rounding.REFERENCE, *sorted(set(rows["variant"]) - {rounding.REFERENCE})]
    wide = rows.pivot_table("rsum", ["recipe", "changes", "seed"], "variant", sort=False)
    wide = wide.reindex(columns=[name for name in order if name in wide])
    table = wide.map("{:.1f}".format, na_action="ignore").fillna("").reset_index()
    return table if table["changes"].any() else table.drop(columns="changes")


def said(rows: pd.DataFrame) -> Markdown:
    """Return what the rows say of rounding, in two sentences for the page."""
    within = rounding.within_seeds(rows)
    ranges = rows.groupby([*rounding.TRAINING, "seed"])["rsum"].agg(lambda x: x.max() - x.min())
    return Markdown(
        f"Rounding alone moves rSum by a standard deviation of **{within.sd:.1f}** "
        f"({within.df} degrees of freedom). The largest difference between two trainings "
        f"of the same seed is {ranges.max():.1f}."
    )


def status(rows: pd.DataFrame) -> str:
    """Return what a caption says of the rows: days, machines, versions."""
    days = sorted(set(rows["made"]))
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    machines, versions = (", ".join(sorted(set(rows[name]))) for name in ("machine", "torch"))
    return f"recorded on {span}, {machines} (cpu), torch {versions}"
