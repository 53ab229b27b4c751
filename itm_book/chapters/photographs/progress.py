"""How far the record on photographs goes, its budget, and whether the methods have converged.

Page: "Real photographs".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from itm_book.records.curves import RECORD, curves_of
from itm_book.records.grids import Grid
from itm_book.records.results import Results
from itm_core.experiments.recipes import Recipe
from itm_core.experiments.runs import ROOT

LAST_PART = 0.25  # of the epochs, over which a curve should be flat
BUDGET: Mapping[
    str, Callable[[Recipe], object]
] = {  # settings that are the same for every row are in the caption
    "epochs": lambda recipe: recipe.training.epochs,
    "rate x 0.1 after": lambda recipe: recipe.training.lr_decay_epochs,
    "rate": lambda recipe: f"{recipe.training.learning_rate:g}",
    "batch": lambda recipe: recipe.training.batch,
    "epochs with all negatives": lambda recipe: recipe.loss.warmup_epochs,
    "photographs that choose the epoch": lambda recipe: recipe.training.dev_images,
    "D": lambda recipe: recipe.encoder.embedding,
    "margin": lambda recipe: f"{recipe.loss.margin:g}",
    "optimiser": lambda recipe: recipe.training.optimiser,
    "words dropped": lambda recipe: f"{recipe.training.token_dropout:g}",
    "regions dropped": lambda recipe: f"{recipe.training.region_dropout:g}",
    "word dropout": lambda recipe: f"{recipe.encoder.word_dropout:g}",
}


def not_run(grid: Grid, size: str, recorded: Results) -> str:
    """Return which rows of a size have no run, or fewer seeds than planned, as a sentence each.

    An empty text where every run is recorded.
    """
    planned: dict[str, int] = {}
    for cell in grid.cells(size):
        planned[cell.row] = planned.get(cell.row, 0) + 1
    missing = [name for name in planned if name not in recorded]
    fewer = [
        f"{name} ({len(recorded[name])} of {seeds})"
        for name, seeds in planned.items()
        if name in recorded and len(recorded[name]) < seeds
    ]
    parts = []
    if missing:
        parts.append(f"**Not run** ({len(missing)} of {len(planned)} rows): {'; '.join(missing)}.")
    if fewer:
        parts.append(f"With fewer seeds than planned: {'; '.join(fewer)}.")
    return " ".join(parts)


def budget(grid: Grid, size: str) -> tuple[pd.DataFrame, str]:
    """Return the settings of training that differ between rows, and the others as a text.

    Rows with the same settings are one row of the table; plug-ins have those of their host.
    """
    profile = grid.size(size).profile
    settings = pd.DataFrame(
        [_settings(row.at(profile)) for row in grid.rows.values()], index=list(grid.rows)
    )
    same = [name for name in settings if settings[name].nunique() == 1]
    different = settings.drop(columns=same)
    rows = []
    for values, group in different.groupby(list(different), sort=False):
        names = [name for name in group.index if grid.host(name) not in group.index]
        shown = dict(zip(different, values, strict=True))
        rows.append({"methods": "; ".join(names)} | shown)
    table = pd.DataFrame(rows, dtype=object)
    return table, ", ".join(f"{name} {settings[name].iloc[0]}" for name in same)


def _settings(recipe: Recipe) -> dict[str, str]:
    return {name: str(value(recipe)) for name, value in BUDGET.items()}


def by_row(rows: Results, path: Path = RECORD) -> dict[str, pd.DataFrame]:
    """Return the recorded curves of some rows: ``seed``, ``epoch``, ``loss`` and ``rsum``.

    rSum is in percent, on the development split. Rows without a recorded curve, and ensembles,
    are left out.
    """
    curves = {}
    for name, group in rows.items():
        of_runs = curves_of(group, ROOT, path)
        parts = [
            of_runs[str(result.run)].assign(seed=result.seed)
            for result in group
            if str(result.run) in of_runs
        ]
        if parts:
            curves[name] = pd.concat(parts, ignore_index=True)
    return curves


def mean_curves(
    curves: Mapping[str, pd.DataFrame], names: Sequence[str] = ()
) -> dict[str, pd.DataFrame]:
    """Return loss and rSum of every epoch as the mean over seeds, by row.

    ``curves`` are those of `by_row`; ``names`` selects some rows.
    """
    return {
        name: curve.groupby("epoch", as_index=False)[["loss", "rsum"]].mean()
        for name, curve in curves.items()
        if name in names or not names
    }


def convergence(curves: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return for every row how its development rSum ended, as text.

    Columns: ``method``, ``seeds``, ``epochs``; ``best epoch``, the mean over seeds; ``rSum`` of
    the best epoch; and ``gained in the last quarter`` of the epochs: the best rSum of all epochs
    less the best before that quarter. Near zero for a method that has converged.
    """
    rows = []
    for name, curve in curves.items():
        epochs = int(curve["epoch"].max())
        late = curve["epoch"] > epochs - max(1, round(LAST_PART * epochs))
        best = curve.groupby("seed")["rsum"].max()
        before = curve[~late].groupby("seed")["rsum"].max()
        place = curve.loc[curve.groupby("seed")["rsum"].idxmax(), "epoch"]
        rows.append(
            {
                "method": name,
                "seeds": str(len(best)),
                "epochs": str(epochs),
                "best epoch": f"{place.mean():.1f}",
                "rSum": f"{best.mean():.1f}",
                "gained in the last quarter": f"{(best - before).mean():+.1f}",
            }
        )
    return pd.DataFrame(rows)
