"""Differences between two evaluations on the same test images, and the spread between trainings.

A difference is *what you have minus what you hoped for*. Between runs that were trained
differently it is tested over images and seeds, as in `comparison.gains`; where the same weights
are evaluated in two ways, over images alone. The column ``by`` says which.

Page: "Why is my number lower?".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from itm_book.records import rounding
from itm_book.records.grids import Grid
from itm_book.records.results import Results
from itm_book.records.rounding import Components, Spread
from itm_book.tables import comparison, labels
from itm_book.tables.labels import GAIN, LOSS, NO_EFFECT, UNTESTABLE
from itm_book.tables.report import behind_switch
from itm_book.tables.run_links import linked
from itm_core.evaluation import retrieval, statistics

COLUMNS = [
    "name", "against", "group", "on", "seeds", "gain", "low", "high", "spread",
    "p", "by", "effect", "runs",
]  # fmt: skip
BOTH, IMAGES = "images and seeds", "images"  # what a difference was tested over
EFFECT_TITLES = {LOSS: "lower", GAIN: "higher", NO_EFFECT: NO_EFFECT, UNTESTABLE: UNTESTABLE}

Pair = tuple[np.ndarray, np.ndarray]  # hits [I, 7] of what you have and of what you hoped for


def row_differences(
    results: Results,
    grid: Grid,
    *,
    over: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    group: str = "",
    floor: float | None = None,
) -> pd.DataFrame:
    """Return the differences between rows of a grid and others, with the columns `COLUMNS`.

    Args:
        over: the row that each is compared with; by default its host.
        names: titles of rows; by default their names.
        group: of all rows; by default the grid's.
        floor: lower bound of the spread between seeds, see `comparison.gains`.
    """
    table = comparison.gains(results, grid, over=over, floor=floor)
    if table.empty:
        return pd.DataFrame(columns=COLUMNS)
    table["on"] = [results[name][0].dataset for name in table["name"]]
    table["name"] = [(names or {}).get(name, name) for name in table["name"]]
    if group:
        table["group"] = group
    return table.rename(columns={"host": "against"}).assign(by=BOTH)[COLUMNS]


def score_differences(
    pairs: Mapping[str, Sequence[Pair]],
    *,
    against: str,
    group: str,
    on: str,
    runs: Sequence[str] = (),
) -> pd.DataFrame:
    """Return differences between evaluations of the same weights, one pair of hits per seed.

    Columns: `COLUMNS`; ``low``, ``high`` and ``p`` are of the paired bootstrap over images.
    ``runs`` are those whose weights were evaluated.
    """
    rows = []
    for name, hits in pairs.items():
        have, hoped = (np.mean([pair[k] for pair in hits], axis=0) for k in (0, 1))
        images = retrieval.paired_bootstrap(have, hoped).to_dict("index")["rsum"]
        by_seed = [float((a - b)[:, -1].mean()) for a, b in hits]
        row = {"name": name, "against": against, "group": group, "on": on, "seeds": len(hits)}
        row |= {"gain": images["difference"], "spread": statistics.sd(by_seed), "by": IMAGES}
        row |= {key: images[key] for key in ("low", "high", "p")}
        row["effect"] = labels.effect(images["difference"], images["p"])
        rows.append(row | {"runs": list(runs)})
    return pd.DataFrame(rows, columns=COLUMNS)


def summary(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of several tables as one table, the largest loss first."""
    rows = [table[COLUMNS] for table in tables if len(table)]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(rows, ignore_index=True).sort_values("gain", ignore_index=True)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of differences as text; further columns are kept, with one decimal."""
    extra = [column for column in table if column not in COLUMNS]
    rows = []
    for r in table.to_dict("records"):
        row = {"what you have": r["name"], "effect": EFFECT_TITLES[r["effect"]]}
        row |= {"difference in rSum": comparison.gain_text(r), "what you hoped for": r["against"]}
        row |= {str(column): f"{r[column]:.1f}" for column in extra}
        test = {"p": comparison.p_value(r["p"]), "tested over": r["by"], "seeds": str(r["seeds"])}
        rows.append(row | test | {"on": r["on"]})
    shown = linked(pd.DataFrame(rows), {"difference in rSum": table.get("runs", ())})
    return behind_switch(shown, ["p", "tested over", "seeds", "on"])


# --- spread between trainings


def same_design(rows: pd.DataFrame, recipe: str) -> pd.DataFrame:
    """Return the rows of a recipe whose seed and variant occur with every change of settings."""
    of_recipe = rows[rows["recipe"] == recipe]
    changes = of_recipe.groupby(["seed", "variant"])["changes"].transform("nunique")
    return of_recipe[changes == of_recipe["changes"].nunique()]


def rounding_table(rows: pd.DataFrame, *, pooled: bool = True) -> pd.DataFrame:
    """Return the spread of rSum within and between seeds, a row per training, as text.

    ``rows`` as `rounding.read` gives them; ``pooled`` adds a row for all of them. Standard
    deviations have their degrees of freedom in brackets.
    """
    lines = []
    for (recipe, changes), group in rows.groupby(["recipe", "changes"], sort=False):
        counts = f"{group['seed'].nunique()} x {group['variant'].nunique()}"
        row = {"training": f"{recipe} {changes}".strip(), "seeds x variants": counts}
        lines.append(row | _components(rounding.components(group), _largest_range(group)))
    if pooled and len(lines) > 1:
        within, between = rounding.within_seeds(rows), rounding.between_seeds(rows)
        pooled_row = {"training": "all, pooled", "within a seed": _text(within)}
        pooled_row["largest difference within a seed"] = f"{_largest_range(rows):.1f}"
        lines.append(pooled_row | {"between seeds": _text(between)})
    return pd.DataFrame(lines).fillna("")


def _components(parts: Components, largest: float) -> dict[str, str]:
    alone = parts.seed_alone
    return {
        "mean rSum": f"{parts.mean:.1f}",
        "within a seed": _text(parts.rounding),
        "largest difference within a seed": f"{largest:.1f}",
        "between seeds": _text(parts.seeds),
        "seed alone": "" if math.isnan(alone) else f"{alone:.1f}",
        "minutes": f"{parts.minutes:.1f}",
    }


def _largest_range(rows: pd.DataFrame) -> float:
    """Return the largest difference in rSum between two trainings of the same seed."""
    ranges = rows.groupby([*rounding.TRAINING, "seed"])["rsum"].agg(["min", "max"])
    return float((ranges["max"] - ranges["min"]).max())


def _text(spread: Spread) -> str:
    return f"{spread.sd:.1f} ({spread.df})" if spread.df else ""


def by_rounding_variant(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rSum of every training and seed, a column per rounding variant, as text.

    The column of changed settings is left out where no row has any.
    """
    order = [rounding.REFERENCE, *sorted(set(rows["variant"]) - {rounding.REFERENCE})]
    wide = rows.pivot_table("rsum", ["recipe", "changes", "seed"], "variant", sort=False)
    wide = wide.reindex(columns=[name for name in order if name in wide])
    table = wide.map("{:.1f}".format, na_action="ignore").fillna("").reset_index()
    return table if table["changes"].any() else table.drop(columns="changes")


def rounding_status(rows: pd.DataFrame) -> str:
    """Return days, machines and versions of the rows, for a caption."""
    days = sorted(set(rows["made"]))
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    machines, versions = (", ".join(sorted(set(rows[name]))) for name in ("machine", "torch"))
    return f"recorded on {span}, {machines} (cpu), torch {versions}"
