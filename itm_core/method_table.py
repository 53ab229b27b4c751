"""The table of all methods: what each fills into the sentence, and what came out on one dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from itm_core import recipes, report
from itm_core.grids import METHOD_ROWS
from itm_core.matchers import AttendingSettings
from itm_core.recipes import Recipe
from itm_core.runs import Run, Spec

DIRECTION_NAMES = {"t2i": "words ask", "i2t": "regions ask", "both": "both ask"}
ATTENTION = {"t2i": "attention F1 of words", "i2t": "attention F1 of regions"}


def group_of(name: str) -> str:
    """Return the group of `grids.METHOD_ROWS` that a row belongs to."""
    plain = name.partition(",")[0]
    return next((group for group, rows in METHOD_ROWS.items() if plain in rows), "")


def sentences(specs: Mapping[str, Sequence[Spec]]) -> pd.DataFrame:
    """Return how every method fills in *attend, align, aggregate, regulated, constrained*."""
    rows = []
    for name, group in specs.items():
        recipe = recipes.get(group[0].recipe).replace(*group[0].overrides)
        rows.append({"method": name, **_words(recipe)})
    return pd.DataFrame(rows)


def _words(recipe: Recipe) -> dict[str, str]:
    matcher, regulator, constraints = recipe.matcher, recipe.regulator, recipe.constraints
    if not isinstance(matcher, AttendingSettings):
        whole = f"{recipe.encoder.whole_regions} / {recipe.encoder.whole_words}"
        return {"attend": "no", "align": matcher.measure, "aggregate": whole, "plug-in": ""}
    gate = "" if matcher.gate == "none" else f", gate {matcher.gate}"
    pools = regulator.active and regulator.kind in ("rar", "rcar")
    vectors = pools or matcher.uses_nodes
    names = [f"{regulator.kind.upper()} x {regulator.steps}"] if regulator.active else []
    names += [name.upper() for name in ("ccr", "ccs") if getattr(constraints, name)]
    return {
        "attend": f"{matcher.attention}{gate}, {DIRECTION_NAMES[matcher.direction]}",
        "align": "similarity vectors" if vectors else "similarity",
        "aggregate": "pooled by RAR" if pools else matcher.aggregation,
        "plug-in": " + ".join(names),
    }


def results(groups: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """Return `report.compare` with the attention F1 of each direction beside it.

    A column of attention is empty where a method does not look that way.
    """
    table = report.compare(groups)
    for side in ATTENTION:
        found = [
            _mean([run.metrics.get(f"{side}_attention_f1") for run in groups[n]])
            for n in table["name"]
        ]
        table[f"{side}_attention_f1"] = [mean for mean, _ in found]
        table[f"{side}_attention_f1_sd"] = [spread for _, spread in found]
    table["group"] = [group_of(name) for name in table["name"]]
    return table


def _mean(values: Sequence[float | None]) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    if not known:
        return np.nan, np.nan
    return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else np.nan


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `results` as text, one row a method, group first."""
    shown = report.readable(table, name="method")
    for side, title in ATTENTION.items():
        pairs = zip(table[f"{side}_attention_f1"], table[f"{side}_attention_f1_sd"], strict=True)
        texts = ["" if np.isnan(f) else f"{100 * f:.1f} ± {100 * sd:.1f}" for f, sd in pairs]
        shown.insert(len(shown.columns) - 1, title, texts)
    shown.insert(0, "", table["group"].where(~table["group"].duplicated(), ""))
    return shown


def dots(table: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return what `figures.results.intervals` draws of one number, coloured by group."""
    return report.dots(table, key).assign(group=table["group"])
