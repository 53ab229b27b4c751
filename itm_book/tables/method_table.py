"""The components of every method, and attention quality of trained methods.

Page: "Every method".
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from itm_book.datasets.run_features import run_features
from itm_book.records.grids import Grid
from itm_book.tables import report
from itm_core.data.dataset import Dataset
from itm_core.evaluation.attention_measures import Quality
from itm_core.evaluation.attention_quality import attention_quality
from itm_core.experiments.prepare import encode, word_rows
from itm_core.experiments.recipes import Recipe
from itm_core.experiments.runs import Run
from itm_core.models import AttendingSettings

DIRECTION_NAMES = {"t2i": "word queries", "i2t": "region queries", "both": "both as queries"}


def components(grid: Grid, profile: str = "scenes") -> pd.DataFrame:
    """Return attention, alignment, aggregation and plug-ins of every row of a grid.

    They are the same in every profile. The column ``recipe`` has the name for `itm train`, to
    which the ending of a profile is added; ``changes``, behind the table's switch, those of it.
    """
    rows = [
        {"method": name, **_components(row.at(profile)), "recipe": row.recipe}
        | {"changes": " ".join(row.changes)}
        for name, row in grid.rows.items()
    ]
    return report.behind_switch(pd.DataFrame(rows), ["changes"])


def _components(recipe: Recipe) -> dict[str, str]:
    matcher, regulator, constraints = recipe.matcher, recipe.regulator, recipe.constraints
    if not isinstance(matcher, AttendingSettings):
        pooling = f"{recipe.encoder.image_pooling} / {recipe.encoder.text_pooling}"
        return {"attend": "no", "align": matcher.measure, "aggregate": pooling, "plug-in": ""}
    gate = "" if matcher.gate == "none" else f", gate {matcher.gate}"
    by_rar = regulator.active and regulator.kind in ("rar", "rcar")
    vectors = by_rar or matcher.uses_nodes
    names = [f"{regulator.kind.upper()} x {regulator.steps}"] if regulator.active else []
    names += [name.upper() for name in ("ccr", "ccs") if getattr(constraints, name)]
    return {
        "attend": f"{matcher.attention}{gate}, {DIRECTION_NAMES[matcher.direction]}",
        "align": "similarity vectors" if vectors else "similarity",
        "aggregate": "pooled by RAR" if by_rar else matcher.aggregation,
        "plug-in": " + ".join(names),
    }


def qualities(runs: Mapping[str, Run], data: Dataset, direction: str = "t2i") -> dict[str, Quality]:
    """Return the attention quality of every run that attends in a direction."""
    of_runs = {}
    for name, run in runs.items():
        if f"{direction}_attention_f1" in run.metrics:
            features = run_features(run, data.test)
            tokens = encode(data.test, run.vocabulary)
            rows = word_rows(data.test.captions, run.vocabulary)
            quality = attention_quality(run.matcher(), data.test, tokens, features, word_rows=rows)
            of_runs[name] = quality[direction]
    return of_runs
