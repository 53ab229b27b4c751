"""Trainings that collapsed: their loss is that of a batch of equal scores, or more.

Page: "How much training does a gain need?".
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from itm_book.records.results import Results
from itm_book.tables.run_links import linked
from itm_core.experiments import recipes
from itm_core.experiments.recipes import Recipe

PINNED = 0.02  # a loss this close to 2 * margin * batch is that of equal scores; above, no better


def method_of(name: str) -> str:
    """Return the method of a row of the grid.

    >>> method_of("RCAR t2i (12 epochs)")
    'RCAR t2i'
    """
    return name.partition(" (")[0]


def pinned_loss(recipe: Recipe) -> float:
    """Return the loss of a batch of equal scores with the hardest negatives: 2 margin batch.

    Where the last, smaller batch of an epoch is kept, the mean over its steps is a little less.
    """
    return 2 * recipe.loss.margin * recipe.training.batch


def against_pinned(curve: pd.DataFrame, recipe: Recipe) -> pd.DataFrame:
    """Return a curve with ``ratio`` (loss over `pinned_loss`), ``hardest`` and ``pinned``.

    ``hardest``: whether the hardest negatives counted in that epoch; only then the ratio means
    something. ``pinned``: the ratio is within `PINNED` of 1.
    """
    ratio = curve["loss"] / pinned_loss(recipe)
    hardest = recipe.loss.hardest & (curve["epoch"] > recipe.loss.warmup_epochs)
    return curve.assign(ratio=ratio, hardest=hardest, pinned=hardest & ((ratio - 1).abs() < PINNED))


def watched(runs: Results, curves: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row per run that has a curve: row of the grid, seed, folder, rSum and curve.

    ``curve`` is `against_pinned`; ``collapsed`` whether the last epoch, with the hardest negatives,
    costs as much as equal scores do (within `PINNED`) or more; ``warmup`` the number of epochs with
    all negatives.
    """
    columns = ["name", "method", "warmup", "seed", "run", "rsum", "pinned_loss", "curve"]
    rows = []
    for name, group in runs.items():
        for result in group:
            if str(result.run) not in curves:
                continue
            recipe = recipes.get(result.recipe).replace(*result.changes.split())
            curve = against_pinned(curves[str(result.run)], recipe)
            method, warmup = method_of(name), recipe.loss.warmup_epochs
            rsum, pinned = result.metrics["rsum"], pinned_loss(recipe)
            rows.append((name, method, warmup, result.seed, result.run, rsum, pinned, curve))
    table = pd.DataFrame(rows, columns=columns)
    last = [curve.iloc[-1] for curve in table["curve"]]
    return table.assign(collapsed=[bool(e["hardest"] and e["ratio"] >= 1 - PINNED) for e in last])


def collapsed_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of `watched` that were pinned in some epoch or collapsed, as text.

    *escaped*: pinned at first, and below it in the last epoch.
    """
    rows, places = [], []
    for row in runs.to_dict("records"):
        curve = row["curve"]
        epochs = [str(epoch) for epoch in curve.loc[curve["pinned"], "epoch"]]
        if epochs or row["collapsed"]:
            rows.append(
                {
                    "row": row["name"],
                    "seed": str(row["seed"]),
                    "2 x margin x batch": f"{row['pinned_loss']:.2f}",
                    "loss, last epoch": f"{curve['loss'].iloc[-1]:.2f}",
                    "pinned in epoch": f"{', '.join(epochs) or 'none'} of {len(curve)}",
                    "end": "collapsed" if row["collapsed"] else "escaped",
                    "rSum": f"{row['rsum']:.1f}",
                }
            )
            places.append([row["run"]])
    columns = ["row", "seed", "2 x margin x batch", "loss, last epoch", "pinned in epoch"]
    shown = pd.DataFrame(rows, columns=[*columns, "end", "rSum"])
    return linked(shown, {"rSum": places})
