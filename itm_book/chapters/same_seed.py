"""One recipe and seed, trained again with nothing changed but the rounding.

Page: "The same seed on another machine".
"""

from __future__ import annotations

import math
from collections.abc import Hashable

import pandas as pd
from IPython.display import HTML
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_book.figures.style import FAINT, INK, colour_of, finished, styled
from itm_book.records import rounding
from itm_book.records.rounding import REFERENCE, Components, Spread
from itm_book.tables import sentences

MARKS = ("o", "s", "^", "D", "v", "P", "X")  # one for each rounding variant


def finding(rows: pd.DataFrame) -> HTML:
    """Return the pooled standard deviation of rSum by rounding alone and between seeds.

    ``rows`` as `rounding.read` gives them, without changes.
    """
    within, between = rounding.within_seeds(rows), rounding.between_seeds(rows)
    return sentences.finding(
        "with the same recipe and the same seed, rounding alone changes rSum by a standard "
        f"deviation of {within.sd:.1f}, and by up to {_largest_range(rows):.1f}; between seeds the "
        f"standard deviation is {between.sd:.1f}. A seed is one draw, not a result."
    )


# --- tables ------------------------------------------------------------------------------------


def same_design(rows: pd.DataFrame, recipe: str) -> pd.DataFrame:
    """Return the rows of a recipe whose seed and variant occur with every change of settings."""
    of_recipe = rows[rows["recipe"] == recipe]
    changes = of_recipe.groupby(["seed", "variant"])["changes"].transform("nunique")
    return of_recipe[changes == of_recipe["changes"].nunique()]


def components_table(rows: pd.DataFrame, *, pooled: bool = True) -> pd.DataFrame:
    """Return the standard deviation of rSum within and between seeds, a row per training, as text.

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


def by_variant(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rSum of every training and seed, a column per rounding variant, as text.

    The column of changed settings is left out where no row has any.
    """
    order = [rounding.REFERENCE, *sorted(set(rows["variant"]) - {rounding.REFERENCE})]
    wide = rows.pivot_table("rsum", ["recipe", "changes", "seed"], "variant", sort=False)
    wide = wide.reindex(columns=[name for name in order if name in wide])
    table = wide.map("{:.1f}".format, na_action="ignore").fillna("").reset_index()
    return table if table["changes"].any() else table.drop(columns="changes")


def status(rows: pd.DataFrame) -> str:
    """Return days, machines and versions of the rows, for a caption."""
    days = sorted(set(rows["made"]))
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    machines, versions = (", ".join(sorted(set(rows[name]))) for name in ("machine", "torch"))
    return f"recorded on {span}, {machines} (cpu), torch {versions}"


# --- the figure --------------------------------------------------------------------------------


def dots(rows: pd.DataFrame) -> Figure:
    """Return the rSum of every training: a panel per recipe, a line per seed.

    ``rows`` as `rounding.read` gives them, without changes. The marker is the rounding variant;
    a bar joins the lowest and the highest rSum of a seed, a dash marks their mean.
    """
    variants = sorted(rows["variant"].unique(), key=lambda name: (name != REFERENCE, name))
    recipes = list(dict.fromkeys(rows["recipe"]))
    with styled():
        figure, grid = plt.subplots(
            1, len(recipes), figsize=(8.2, 1.3 + 0.36 * rows["seed"].nunique()), squeeze=False
        )
        for axes, recipe in zip(grid[0], recipes, strict=True):
            _panel(axes, rows[rows["recipe"] == recipe], variants, colour_of(recipe))
            axes.set_title(recipe, fontsize=10)
        marks = [
            plt.Line2D([], [], marker=mark, ls="", color=INK, ms=5)
            for _, mark in zip(variants, MARKS, strict=False)
        ]
        figure.legend(
            marks, variants, loc="outside lower center", ncols=len(variants), fontsize=8.5
        )
        return finished(figure)


def _panel(axes: Axes, rows: pd.DataFrame, variants: list[Hashable], colour: str) -> None:
    seeds = sorted(rows["seed"].unique())
    for place, seed in enumerate(seeds):
        of_seed = rows[rows["seed"] == seed]
        low, high, mean = (getattr(of_seed["rsum"], name)() for name in ("min", "max", "mean"))
        axes.plot([low, high], [place, place], color=FAINT, lw=1.5, zorder=1)
        axes.plot(mean, place, "|", color=INK, ms=14, zorder=1)
        for row in of_seed.to_dict("records"):
            mark = MARKS[variants.index(row["variant"]) % len(MARKS)]
            axes.plot(row["rsum"], place, mark, color=colour, ms=5.5, alpha=0.85)
    axes.set_yticks(range(len(seeds)), [f"seed {seed}" for seed in seeds])
    axes.set(ylim=(len(seeds) - 0.5, -0.5), xlabel="rSum")
    axes.grid(axis="x", color=FAINT, alpha=0.25)
