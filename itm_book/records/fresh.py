"""The runs that a build trains, from several grids, each once and under one name.

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
    """Return the runs of some rows of some grids by name; missing runs are trained.

    Args:
        rows: for each grid its rows; None for all that a build trains (``fresh``).
        data: the folder that holds the datasets' folders.
        options: those of `runs.train_many`.

    A run that belongs to several rows is returned once; its name is that of the row, the same in
    every grid. Raises `InputError` when the grids use different datasets, whose scores cannot be
    compared.
    """
    specs: dict[Spec, str] = {}
    datasets = set()
    for name, row_names in rows.items():
        grid = grids.load(name)
        row_names = grid.fresh if row_names is None else row_names
        for cell in grid.cells(size, rows=row_names, seeds=[seed]):
            specs.setdefault(cell.spec, cell.row)
            datasets.add(cell.dataset)
    if len(datasets) != 1:
        raise InputError(
            "rows of one dataset are needed", found=", ".join(sorted(datasets)) or "no rows"
        )
    runs = train_many(Path(data) / datasets.pop(), list(specs), **options)
    return dict(zip(specs.values(), runs, strict=True))
