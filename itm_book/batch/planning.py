"""What a batch would run: the cells of a grid, the folders of their runs, and what is left to do.

All input is checked here, before anything is run. A cell is finished when its run is finished and
its executed notebook exists; `engine` runs the others.

Page: "Batches".
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from itm_book.batch import experiment
from itm_book.batch.notebook_runner import check_parameters
from itm_book.batch.profiles import PROFILES, resources
from itm_book.records import grids
from itm_book.records.grids import Cell, Grid
from itm_book.scenes.opening import FOLDERS, make_if_missing
from itm_book.shipped import shipped
from itm_core.errors import InputError
from itm_core.experiments.run import Run
from itm_core.experiments.run_folder import COMPLETE, ERROR, IMPORT, RunState
from itm_core.experiments.runs import ROOT

NOTEBOOK_MINUTES = 0.2  # to start a kernel and draw the figures, besides the training
NO_NOTEBOOK = "no notebook"  # the run is finished, its notebook has not been executed
DAMAGED = "damaged"  # the run is finished, and one of its files cannot be read
SHOWN_STATES = (
    RunState.FINISHED,
    NO_NOTEBOOK,
    RunState.INTERRUPTED,
    RunState.FAILED,
    RunState.EMPTY,
    DAMAGED,
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cell of a batch.

    Attributes:
        folder: the folder of its run; None while the dataset has not been made.
        minutes: about how long it takes from its beginning.
    """

    cell: Cell
    folder: Path | None
    minutes: float

    @property
    def name(self) -> str:
        """The row and the seed."""
        return f"{self.cell.row}, seed {self.cell.spec.seed}"

    @property
    def state(self) -> str:
        """The present state of the run (`RunState`), or `NO_NOTEBOOK`.

        A run that is whole is finished, also where its notebook has failed while it was shown.
        """
        if self.folder is None:
            return RunState.EMPTY
        run = Run(self.folder)
        shown = (self.folder / experiment.NOTEBOOK).exists() or self.error
        return NO_NOTEBOOK if run.state == RunState.FINISHED and not shown else run.state

    @property
    def trace(self) -> Path:
        """The folder of its run."""
        assert self.folder is not None, "prepared without data"
        return self.folder

    def forget(self) -> None:
        """Remove an earlier error, and a notebook without its run.

        Such a notebook is left when someone has removed the run in order to train it again.
        """
        for name in (experiment.NOTEBOOK, ERROR):
            (self.trace / name).unlink(missing_ok=True)

    @property
    def error(self) -> str:
        """The last line of the traceback; empty when it has not failed."""
        return experiment.error_of(self.folder) if self.folder else ""

    @property
    def damage(self) -> str:
        """What is wrong with the files of a finished run; empty where nothing is."""
        run = Run(self.folder) if self.folder else None
        return run.damage if run and run.state == RunState.FINISHED else ""

    @property
    def minutes_left(self) -> float:
        """About how many minutes are left."""
        remaining = {RunState.FINISHED: 0.0, NO_NOTEBOOK: NOTEBOOK_MINUTES}
        return remaining.get(self.state, self.minutes + NOTEBOOK_MINUTES)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The cells of a grid at a size, and how they are run; see `prepare`."""

    grid: Grid
    size: str
    jobs: tuple[Job, ...]
    data: Path
    root: Path
    device: str = "auto"
    workers: int = 1
    gpus: int = 0
    profile: Path = PROFILES / "local"
    remote: bool = False
    notebook: Path = field(default_factory=lambda: shipped(experiment.NOTEBOOK))
    unit = "cell"

    def content(self, pending: Sequence[Job]) -> dict[str, Any]:
        """Return what `experiment` reads about the cells that are left."""
        return {
            "module": "itm_book.batch.experiment",
            "notebook": str(self.notebook),
            "root": str(self.root),
            "cells": {
                job.trace.relative_to(self.root).as_posix(): self.parameters(job.cell)
                for job in pending
            },
        }

    @property
    def dataset(self) -> Path:
        """The folder of the dataset."""
        return self.data / self.grid.size(self.size).dataset

    @property
    def home(self) -> Path:
        """The folder of Snakemake's state and log."""
        return self.data / "batches" / f"{self.grid.name}-{self.size}"

    def parameters(self, cell: Cell) -> dict[str, Any]:
        """Return the notebook's parameters for a cell, paths relative to the notebook."""
        folder = self.notebook.parent
        return {
            "dataset": os.path.relpath(self.dataset, folder),
            "recipe": cell.spec.recipe,
            "seed": cell.spec.seed,
            "device": self.device,
            "root": os.path.relpath(self.root, folder),
            "overrides": list(cell.spec.overrides),
        }

    def lines(self) -> list[str]:
        """Return the state of every cell, one line each, and a summary of what would be run."""
        states = {job.name: job.state for job in self.jobs}
        shown = {job.name: (DAMAGED if job.damage else states[job.name]) for job in self.jobs}
        lines = [
            f"{shown[job.name]:12}  {job.name}  {job.damage or job.error}".rstrip()
            for job in self.jobs
        ]
        counts = Counter(shown.values())
        pending = [job for job in self.jobs if states[job.name] != RunState.FINISHED]
        minutes = sum(job.minutes_left for job in pending)
        minutes /= max(1, min(self.workers, len(pending)))
        about = f"about {minutes:.0f} minutes" if minutes >= 1.5 else "about a minute"
        return [
            *lines,
            f"{self.grid.name}, size {self.size}, on {self.dataset}: "
            + ", ".join(f"{counts[state]} {state}" for state in SHOWN_STATES if counts[state]),
            f"to run: {len(pending)} of {len(self.jobs)}"
            + (f", {about} with {self.workers} at once" if pending else ""),
        ]


def prepare(
    grid: Grid,
    size: str = "smoke",
    *,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    data: Path = Path("data"),
    root: Path = ROOT,
    workers: int | None = None,
    device: str = "auto",
    profile: Path | str = "local",
    make_data: bool = True,
) -> Batch:
    """Return a batch whose every part has been checked; nothing is run.

    Args:
        rows, seeds: some of the grid's rows, other seeds than the size's; None for all.
        workers, device, profile: as for `profiles.resources`.
        make_data: make the Scenes dataset when it is missing; otherwise no run counts as started.

    Raises `InputError` for a size, row, device, profile or dataset that does not exist, and when
    the notebook lacks a parameter.
    """
    cells = grid.cells(size, rows=rows, seeds=seeds)
    batch = Batch(
        grid=grid,
        size=size,
        jobs=(),
        data=data.resolve(),
        root=root.resolve(),
        **resources(device, workers, profile),
    )
    _check_notebook(batch, cells)
    return replace(batch, jobs=_jobs(batch, cells, make_data))


def _check_notebook(batch: Batch, cells: Sequence[Cell]) -> None:
    for cell in cells[:1]:
        check_parameters(batch.notebook, batch.parameters(cell))


def _jobs(batch: Batch, cells: Sequence[Cell], make_data: bool) -> tuple[Job, ...]:
    """Return the cells with their folders; two rows that are the same run are one job."""
    name = batch.dataset.name
    if make_data:
        make_if_missing(batch.dataset)
    if not batch.dataset.exists() and name not in FOLDERS:
        raise InputError(
            "the dataset of this size does not exist",
            file=batch.dataset,
            remedy="put it there in the SCAN layout (page How to use it three ways), or name "
            "another folder of datasets with --data",
        )
    minutes = batch.grid.size(batch.size).minutes
    if not batch.dataset.exists():
        return tuple(Job(cell=cell, folder=None, minutes=minutes) for cell in cells)
    jobs: dict[Path, Job] = {}
    folders = grids.folders(cells, batch.data, batch.root)
    measured = {recipe: _mean_minutes(recipe) for recipe in {f.parent for f in folders}}
    for cell, folder in zip(cells, folders, strict=True):
        about = measured[folder.parent] or minutes
        jobs.setdefault(folder, Job(cell=cell, folder=folder, minutes=about))
    return tuple(jobs.values())


def _mean_minutes(recipe: Path) -> float | None:
    """Return the mean training time of a recipe's finished runs in minutes; None without any.

    Imported runs are left out: they were not trained here.
    """
    paths = recipe.glob(f"*/{COMPLETE}")
    runs = [Run(path.parent) for path in paths if not path.with_name(IMPORT).exists()]
    measured = []
    for run in runs:
        with suppress(InputError):  # a damaged run says nothing about the time
            seconds = run.environment.get("seconds_training")
            measured += [seconds] if isinstance(seconds, int | float) else []
    return sum(measured) / len(measured) / 60 if measured else None
