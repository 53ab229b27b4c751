"""The runs that a build trains, from several grids, each once and named alike.

Page: "Regulators in motion", "Similarity distributions".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itm_book.records import grids
from itm_core.errors import InputError
from itm_core.experiments.runs import Run, Spec, train_many


def fresh_runs(
    rows: Mapping[str, Sequence[str] | None],
    size: str,
    *,
    data: Path | str = "data",
    seed: int = 0,
    **options: Any,
) -> dict[str, Run]:
    """Return the runs of some rows of some grids by name, trained where they don't exist yet.

    Args:
        rows: for each grid the rows wanted; None for all that a build trains (``fresh``).
        data: the folder that holds the datasets' folders.
        options: those of `runs.train_many`.

    A run that several rows stand for comes once. Names are those of the recipes, without a
    profile; a row with changes brings its own name along. Raises `InputError` where the grids do
    not share one dataset: scores could not be compared.
    """
    specs: dict[Spec, str] = {}
    datasets = set()
    for name, wanted in rows.items():
        grid = grids.load(name)
        wanted = grid.fresh if wanted is None else wanted
        for cell in grid.cells(size, rows=wanted, seeds=[seed]):
            row = grid.rows[cell.row]
            specs.setdefault(cell.spec, _called(cell.row, row.recipe, bool(row.changes)))
            datasets.add(cell.dataset)
    if len(datasets) != 1:
        raise InputError(
            "runs of one dataset are needed", found=", ".join(sorted(datasets)) or "no rows"
        )
    made = train_many(Path(data) / datasets.pop(), list(specs), **options)
    return dict(zip(specs.values(), made, strict=True))


def _called(row: str, recipe: str, changed: bool) -> str:
    if not changed:
        return recipe
    return row if row.startswith(recipe) else f"{recipe}, {row}"
