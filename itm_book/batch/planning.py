"""What a batch would do: the cells of a grid, where their runs live, what is left of them.

Everything that can be wrong is found here, before anything is run. A cell is done when its run is
whole and its executed notebook there; `engine` runs the others.

Page: "Batches".
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import yaml

from itm_book.batch import experiment
from itm_book.batch.notebook_runner import check_parameters
from itm_book.records import grids
from itm_book.records.grids import Cell, Grid
from itm_book.scenes.making import make_scenes
from itm_core.environment import pick_device
from itm_core.errors import InputError
from itm_core.experiments.runs import COMPLETE, ROOT
from itm_core.files import read_json

SCENES = {"scenes": "full", "scenes-small": "small", "scenes-tiny": "tiny"}  # made when asked for
PROFILES = grids.FOLDER / "profiles"
NOTEBOOK_MINUTES = 0.2  # to start a kernel and draw the pictures, besides the training
STATES = ("done", "trained, no notebook", "half-done", "failed", "not begun")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cell of a batch.

    Attributes:
        folder: of its run; None while the dataset has not been made.
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
        """One of `STATES`, as the folder says now."""
        if self.folder is None:
            return "not begun"
        trained = (self.folder / COMPLETE).exists()
        if trained and (self.folder / experiment.NOTEBOOK).exists():
            return "done"
        if (self.folder / experiment.ERROR).exists():
            return "failed"
        if trained:
            return "trained, no notebook"
        return "half-done" if (self.folder / "config.json").exists() else "not begun"

    @property
    def trace(self) -> Path:
        """The folder of its run."""
        assert self.folder is not None, "prepared without data"
        return self.folder

    def forget(self) -> None:
        """Take away an earlier error, and a notebook without its run.

        The latter is stale: someone has removed the run to have it anew.
        """
        for name in (experiment.NOTEBOOK, experiment.ERROR):
            (self.trace / name).unlink(missing_ok=True)

    @property
    def error(self) -> str:
        """The last line of the traceback; empty when it has not failed."""
        return experiment.last_line(self.folder) if self.folder else ""

    @property
    def to_do(self) -> float:
        """Minutes that are left, about."""
        states = {"done": 0.0, "trained, no notebook": NOTEBOOK_MINUTES}
        return states.get(self.state, self.minutes + NOTEBOOK_MINUTES)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The cells of a grid at a size, and how they are to be run; see `prepare`."""

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
    notebook: Path = field(default_factory=lambda: grids.FOLDER.parent / experiment.NOTEBOOK)
    unit = "cell"

    def content(self, left: Sequence[Job]) -> dict[str, Any]:
        """Return what `experiment` needs to know of the cells that are left."""
        return {
            "module": "itm_book.batch.experiment",
            "notebook": str(self.notebook),
            "root": str(self.root),
            "cells": {
                job.trace.relative_to(self.root).as_posix(): self.parameters(job.cell)
                for job in left
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
        """Return the notebook's parameters of a cell, paths as seen from the notebook."""
        here = self.notebook.parent
        return {
            "dataset": os.path.relpath(self.dataset, here),
            "recipe": cell.spec.recipe,
            "seed": cell.spec.seed,
            "device": self.device,
            "root": os.path.relpath(self.root, here),
            "overrides": list(cell.spec.overrides),
        }

    def lines(self) -> list[str]:
        """Return what is there and what would be run, one line a cell, and the sum of it."""
        states = {job.name: job.state for job in self.jobs}
        told = [f"{states[j.name]:20}  {j.name}  {j.error}".rstrip() for j in self.jobs]
        counts = Counter(states.values())
        left = [job for job in self.jobs if states[job.name] != "done"]
        minutes = sum(job.to_do for job in left) / max(1, min(self.workers, len(left)))
        about = f"about {minutes:.0f} minutes" if minutes >= 1.5 else "about a minute"
        return [
            *told,
            f"{self.grid.name}, size {self.size}, on {self.dataset}: "
            + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]),
            f"to run: {len(left)} of {len(self.jobs)}"
            + (f", {about} with {self.workers} at once" if left else ""),
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
        workers: cells at once; by default one for each GPU that ``device`` means, without one
            for each core; on a cluster what the profile says.
        profile: a folder with Snakemake's ``config.yaml``, or the name of one in `PROFILES`.
        make_data: make Scenes where the grid asks for it; otherwise runs count as not begun.

    Raises `InputError` for a size, row, device, profile or dataset that there is not, and when
    the notebook lacks a parameter.
    """
    cells = grid.cells(size, rows=rows, seeds=seeds)
    batch = Batch(
        grid=grid,
        size=size,
        jobs=(),
        data=data.resolve(),
        root=root.resolve(),
        **means(device, workers, profile),
    )
    _check_notebook(batch, cells)
    return replace(batch, jobs=_jobs(batch, cells, make_data))


def means(device: str, workers: int | None, profile: Path | str) -> dict[str, Any]:
    """Return the fields of a plan that say how it is run; arguments as for `prepare`."""
    place, settings = find_profile(profile)
    remote = settings.get("executor", "local") != "local"
    if workers is not None and workers < 1:
        raise InputError("too few workers", expected="1 or more", found=workers)
    gpus = 0 if remote else gpu_count(device)
    if workers is None:
        where = "cpu" if remote else pick_device(device).type
        workers = settings.get("jobs", 1) if remote else _workers(where, gpus)
    return {
        "device": device,
        "workers": min(workers, gpus) if gpus else workers,
        "gpus": gpus,
        "profile": place,
        "remote": remote,
    }


def gpu_count(device: str) -> int:
    """Return how many GPUs of this machine cells share: none unless the device may be any.

    Raises `InputError` for a device that isn't there.
    """
    where = pick_device(device)
    return torch.cuda.device_count() if where.type == "cuda" and where.index is None else 0


def _workers(device: str, gpus: int) -> int:
    return (os.cpu_count() or 1) if device == "cpu" else max(1, gpus)


def find_profile(profile: Path | str) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a profile and its settings.

    Raises `InputError` when it is not there, no YAML, or needs a plugin that is not installed.
    """
    places = [Path(profile), PROFILES / profile]
    found = next((place for place in places if (place / "config.yaml").is_file()), None)
    if found is None:
        known = ", ".join(sorted(path.name for path in PROFILES.iterdir()))
        raise InputError(
            "no such profile", found=profile, expected=f"a folder with config.yaml, or {known}"
        )
    file = found / "config.yaml"
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("not readable as YAML", file=file, found=str(error)) from None
    if not isinstance(settings, dict):
        raise InputError("not a mapping", file=file, found=type(settings).__name__)
    executor = settings.get("executor", "local")
    if executor != "local" and not find_spec(f"snakemake_executor_plugin_{executor}"):
        raise InputError(
            f"Snakemake cannot speak to {executor} yet",
            file=file,
            remedy="pip install --constraint requirements.lock --editable '.[cluster]'",
        )
    return found.resolve(), settings


def _check_notebook(batch: Batch, cells: Sequence[Cell]) -> None:
    for cell in cells[:1]:
        check_parameters(batch.notebook, batch.parameters(cell))


def _jobs(batch: Batch, cells: Sequence[Cell], make_data: bool) -> tuple[Job, ...]:
    """Return the cells with their folders; two rows that are the same run are one job."""
    name = batch.dataset.name
    if name in SCENES and make_data:
        make_scenes(batch.dataset, preset=SCENES[name])
    elif not batch.dataset.exists() and name not in SCENES:
        raise InputError(
            "the dataset of this size is not there",
            file=batch.dataset,
            remedy="put it there in the SCAN layout (page How to use it three ways), or --data",
        )
    minutes = batch.grid.size(batch.size).minutes
    if not batch.dataset.exists():
        return tuple(Job(cell=cell, folder=None, minutes=minutes) for cell in cells)
    found: dict[Path, Job] = {}
    for cell, folder in zip(cells, grids.folders(cells, batch.data, batch.root), strict=True):
        known = _minutes_of(folder.parent)
        found.setdefault(folder, Job(cell=cell, folder=folder, minutes=known or minutes))
    return tuple(found.values())


def _minutes_of(recipe: Path) -> float | None:
    """Return how long the finished runs of a recipe took on average; None without any."""
    records = [read_json(f.with_name("environment.json")) for f in recipe.glob(f"*/{COMPLETE}")]
    seconds = [r["seconds_training"] for r in records if "seconds_training" in r]
    return sum(seconds) / len(seconds) / 60 if seconds else None


def listing(folder: Path = grids.FOLDER) -> list[str]:
    """Return one line for each grid: its name, its title, its rows, the runs of its sizes."""
    told = []
    for name in grids.names(folder):
        grid = grids.load(name, folder)
        sizes = ", ".join(f"{size} {len(grid.cells(size))}" for size in grid.sizes)
        told.append(f"{name:12} {grid.title} ({len(grid.rows)} rows); runs: {sizes}")
    return told
