"""Results of runs: of the run store, or recorded in ``data/results/``.

A run in the store is *fresh*: its scores, weights and executed notebook exist. Runs that take
longer than a build of the book are *recorded*: ``itm results export`` writes one line for each to
``data/results/runs.csv``, with the rank of the best relevant item to every query of the test split
(at most ten), so that intervals and paired tests are computed from a record as from a run. Tables
say which of the two they show.

Page: "All runs", and every chapter with a table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from itm_book.records import commits
from itm_book.records.commits import is_committed
from itm_book.records.grids import Cell, Grid, Size, folders
from itm_book.records.record_files import record_text, write_record
from itm_book.records.run_rows import (
    ATTENTION,
    COLUMNS,
    FORM,
    KEY,
    NUMBERS,
    WHERE,
    clipped,
    ranks_of,
    ranks_text,
    where_of,
)
from itm_book.shipped import shipped
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.experiments import recipes
from itm_core.experiments.run import Run, load
from itm_core.experiments.run_folder import RunState
from itm_core.experiments.runs import load_trained, train_many

log = logging.getLogger(__name__)
RECORD = shipped("results") / "runs.csv"
RECORDED = "recorded"  # the state of a result that is read from the record


class Uncommitted(str):
    """The folder of a recorded run that was made by code in no commit; tables mark its numbers."""


@dataclass(frozen=True, eq=False)
class Result:
    """The result of one run, or of an ensemble of runs, on its test split.

    It has accessors of `Run`: `place`, `state`, `config`, `environment` and ``metrics``.

    Attributes:
        dataset, recipe, changes, seed: what was run; ``changes`` joined by spaces.
        run: the folder of the run below the store; of an ensemble several, joined by ``" + "``.
            `Uncommitted` where it is recorded and its code, or that of a member, is in no commit.
        ranks: of the best relevant item to every image and caption, from 0, at most `MAX_RANK`.
        metrics: recalls in percent, attention quality as fractions, as in ``metrics.json``.
        where: minutes of training, device, machine, versions, commit and date.
        recorded: read from `RECORD`, not from the store.
    """

    dataset: str
    recipe: str
    changes: str
    seed: int
    run: str
    ranks: retrieval.Ranks
    metrics: Mapping[str, float]
    where: Mapping[str, Any]
    recorded: bool = False

    def __post_init__(self) -> None:
        if self.recorded and not is_committed(self.where.get("commit")):
            object.__setattr__(self, "run", Uncommitted(self.run))

    @property
    def place(self) -> str:
        """The folder of the run below the store, as `Run.place`."""
        return self.run

    @property
    def state(self) -> str:
        """`RECORDED`, or `RunState.FINISHED` where the run is in the store."""
        return RECORDED if self.recorded else RunState.FINISHED

    @cached_property
    def config(self) -> dict[str, Any]:
        """Dataset, seed and recipe, as `Run.config`.

        Of a recipe that this version does not know, the name alone.
        """
        try:
            recipe = recipes.get(self.recipe).replace(*self.changes.split()).to_dict()
        except InputError:
            recipe = {"name": self.recipe}
        return {"dataset": self.dataset, "seed": self.seed, "recipe": recipe}

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, device, commit and seconds of training, as `Run.environment`."""
        where = self.where
        return {
            "started": where["made"],
            "device": where["device"],
            "device_name": where["machine"],
            "commit": where["commit"],
            "seconds_training": 60 * where["minutes"],
            "packages": {name: where[name] for name in ("torch", "python")},
        }

    @cached_property
    def hits(self) -> np.ndarray:
        """Hits in percent for each image, ``[I, 7]``, columns as `retrieval.NUMBERS`."""
        return retrieval.hits_of(self.ranks)

    @classmethod
    def of(cls, run: Run, changes: Sequence[str] = ()) -> Result:
        """Return the result of a run of the store; raises `InputError` for a damaged one."""
        run.require_whole()
        metrics = run.metrics
        return cls(
            dataset=run.config["dataset"],
            recipe=run.config["recipe"]["name"],
            changes=" ".join(changes),
            seed=run.seed,
            run=run.place,
            ranks=clipped(retrieval.ranks(run.scores, run.caption_image)),
            metrics={k: metrics[k] for k in (*NUMBERS, *ATTENTION) if k in metrics},
            where=where_of(run),
        )

    @classmethod
    def averaged(cls, runs: Sequence[Run], results: Sequence[Result]) -> Result:
        """Return the ensemble of runs of one dataset: their scores averaged, as papers do."""
        scores = retrieval.ensemble([run.scores for run in runs])
        first, images = results[0], runs[0].caption_image
        minutes = sum(result.where["minutes"] for result in results)
        commit = _joint_commit([result.where["commit"] for result in results])
        return cls(
            dataset=first.dataset,
            recipe=" + ".join(result.recipe for result in results),
            changes=" + ".join(result.changes for result in results),
            seed=first.seed,
            run=" + ".join(result.run for result in results),
            ranks=clipped(retrieval.ranks(scores, images)),
            metrics=retrieval.metrics(scores, images).flat(),
            where={**first.where, "minutes": minutes, "commit": commit},
        )

    def row(self) -> dict[str, Any]:
        """Return the line of the record."""
        line: dict[str, Any] = {name: getattr(self, name) for name in [*KEY, "run"]}
        line |= {name: self.metrics.get(name, np.nan) for name in (*NUMBERS, *ATTENTION)}
        return line | dict(self.where) | ranks_text(self.ranks)

    @classmethod
    def from_row(cls, line: Mapping[str, Any]) -> Result:
        """Return the result of a line of the record."""
        measured = {name: float(line[name]) for name in (*NUMBERS, *ATTENTION)}
        return cls(
            **{name: line[name] for name in ("dataset", "recipe", "changes", "run")},
            seed=int(line["seed"]),
            ranks=ranks_of(str(line["i2t_ranks"]), str(line["t2i_ranks"])),
            metrics={name: value for name, value in measured.items() if not np.isnan(value)},
            where={name: line[name] for name in WHERE},
            recorded=True,
        )


Results = Mapping[str, Sequence[Result]]  # rows of a table, one result a seed


def _joint_commit(commits: Sequence[str]) -> str:
    """Return the first of the commits that has uncommitted changes; without one, the first."""
    return next((commit for commit in commits if not is_committed(commit)), commits[0])


def trained(
    grid: Grid,
    size: str,
    *,
    data: Path | str = "data",
    rows: Iterable[str] | None = None,
    seeds: Sequence[int] | None = None,
    **options: Any,
) -> dict[str, list[Result]]:
    """Return the results of a grid by row and ensemble; missing runs are trained.

    Args:
        data: the folder that holds the datasets' folders; not read when there are no rows.
        rows: some of the rows; all by default.
        options: those of `runs.train_many`.
    """
    cells = grid.cells(size, rows=rows, seeds=seeds)
    if not cells:
        return {}
    folder = Path(data) / grid.size(size).dataset
    runs = train_many(folder, [cell.spec for cell in cells], **options)
    made = [(run, Result.of(run, c.spec.overrides)) for c, run in zip(cells, runs, strict=True)]
    return _grouped(grid, cells, dict(enumerate(made)))


def run_of(result: Result, root: Path | str) -> Run:
    """Return the run behind a result; raises `InputError` when the store does not have it."""
    return load(Path(root) / result.run)


def scores_of(result: Result, root: Path | str) -> np.ndarray:
    """Return the scores ``[I, C]`` behind a result, averaged for an ensemble."""
    return retrieval.ensemble([load(Path(root) / run).scores for run in result.run.split(" + ")])


def present(
    grid: Grid,
    size: str,
    *,
    data: Path | str,
    root: Path | str,
    damaged: Callable[[str], object] = log.warning,
) -> dict[str, list[Result]]:
    """Return the results of those rows of a grid whose runs are finished; nothing is trained.

    A damaged run is left out, and ``damaged`` is called with the reason.
    """
    cells = grid.cells(size)
    made = {}
    for k, run in enumerate(map(Run, folders(cells, Path(data), Path(root)))):
        if run.state == RunState.FINISHED:
            try:
                made[k] = (run, Result.of(load_trained(run.folder), cells[k].spec.overrides))
            except InputError as error:
                damaged(str(error))
    return _grouped(grid, cells, made)


def left_out(damages: Sequence[str]) -> InputError:
    """Return the error to raise once all runs but the damaged ones were recorded."""
    return InputError("damaged runs were left out; all others are recorded", found=damages[0])


def _grouped(
    grid: Grid, cells: Sequence[Cell], made: Mapping[int, tuple[Run, Result]]
) -> dict[str, list[Result]]:
    """Return results by row and ensemble (`Grid.by_group`), for the seeds that all members have."""
    by_row: dict[str, dict[int, tuple[Run, Result]]] = {cell.row: {} for cell in cells}
    for k, pair in made.items():
        by_row[cells[k].row][cells[k].spec.seed] = pair
    results = {row: [r for _, r in pairs.values()] for row, pairs in by_row.items() if pairs}
    for name, members in grid.ensembles.items():
        seeds = [set(by_row.get(member, ())) for member in members]
        for seed in sorted(set.intersection(*seeds)):
            pairs = [by_row[member][seed] for member in members]
            ensemble = Result.averaged([run for run, _ in pairs], [result for _, result in pairs])
            results.setdefault(name, []).append(ensemble)
    return {name: results[name] for name in grid.by_group(results)}


def write(results: Iterable[Result], path: Path = RECORD) -> int:
    """Return the number of results written to the record, where they replace older ones.

    Inside `changing`; `replacing.export` is what writes them with their curves. Lines of other
    runs are kept. The file is sorted and written atomically. Raises `InputError` when one of the
    runs was made by code in no commit (`require_committed_runs`).
    """
    results = list(results)
    if not results:
        return 0
    require_committed_runs(results)
    new = pd.DataFrame([result.row() for result in results], columns=COLUMNS)
    old = _lines(path) if path.exists() else new.iloc[:0]
    table = pd.concat([part for part in (old, new) if len(part)] or [new], ignore_index=True)
    table = table.drop_duplicates(KEY, keep="last").sort_values(KEY)
    write_record(table, path, FORM, digits=7)
    _record.cache_clear()
    return len(new)


def require_committed_runs(results: Iterable[Result]) -> None:
    """Raise `InputError` when one of the runs was made by code that is in no commit."""
    commits.require_committed_runs((r.run, r.where.get("commit")) for r in results)


def _lines(path: Path) -> pd.DataFrame:
    text = ["changes", "i2t_ranks", "t2i_ranks", "commit", "recipe", "run"]
    return pd.read_csv(
        StringIO(record_text(path, FORM)),
        dtype=dict.fromkeys(text, str),
        keep_default_na=False,
        na_values={c: [""] for c in ATTENTION},
    )


@lru_cache(maxsize=4)
def _record(path: Path, changed: int) -> dict[tuple[str, str, str, int], Result]:
    """Return the results of a record by their key; ``changed`` is the file's time of change."""
    results = {}
    table = _lines(path)
    commits = dict(zip(table["run"], table["commit"], strict=True))
    for line in table.to_dict("records"):
        members = [commits[run] for run in line["run"].split(" + ") if run in commits]
        joint = {"commit": _joint_commit([line["commit"], *members])}
        result = Result.from_row({str(name): value for name, value in line.items()} | joint)
        results[result.dataset, result.recipe, result.changes, result.seed] = result
    return results


def every_recorded(path: Path = RECORD) -> list[Result]:
    """Return the results of the record; none where there is no record."""
    return list(_record(path, path.stat().st_mtime_ns).values()) if path.exists() else []


def as_recorded(runs: Iterable[str], path: Path = RECORD) -> list[str]:
    """Return folders of runs, those that the record marks as `Uncommitted` marked."""
    recorded_runs = {result.run: result.run for result in every_recorded(path)}
    return [recorded_runs.get(run, run) for run in runs]


def recorded(grid: Grid, size: str | Size, *, path: Path = RECORD) -> dict[str, list[Result]]:
    """Return the recorded results of a grid at a size, by row and ensemble.

    ``size`` may be one of another grid: the same rows on its dataset, with its budget.
    Raises `InputError` when there is no record, or none of this grid at this size.
    """
    if not path.exists():
        raise InputError("no record", file=path, remedy="itm grid NAME, then itm results export")
    if results := recorded_so_far(grid, size, path=path):
        return results
    at = size if isinstance(size, Size) else grid.size(size)
    remedy = f"itm grid {grid.name} --size SIZE, then itm results export {grid.name}"
    raise InputError(
        f"nothing of grid {grid.name} is recorded on {at.dataset}", file=path, remedy=remedy
    )


def recorded_so_far(
    grid: Grid, size: str | Size, *, path: Path = RECORD
) -> dict[str, list[Result]]:
    """Return `recorded`, or nothing where no run of this grid is recorded at this size."""
    record = {(r.dataset, r.recipe, r.changes, r.seed): r for r in every_recorded(path)}
    at = size if isinstance(size, Size) else grid.size(size)
    results: dict[str, list[Result]] = {}
    for name, (recipe, changes) in keys_of(grid, at).items():
        keys = [(at.dataset, recipe, changes, seed) for seed in at.seeds]
        of_seeds = [record[key] for key in keys if key in record]
        if of_seeds:
            results[name] = of_seeds
    return results


def keys_of(grid: Grid, at: Size) -> dict[str, tuple[str, str]]:
    """Return the recipe and changes of rows and ensembles (`Grid.by_group`), as in the record."""
    members_of = {name: (name,) for name in grid.rows} | dict(grid.ensembles)
    rows = {
        name: [grid.rows[member] for member in members_of[name]]
        for name in grid.by_group(members_of)
    }
    return {
        name: (
            " + ".join(row.name_at(at.profile) for row in members),
            " + ".join(" ".join(row.changes) for row in members),
        )
        for name, members in rows.items()
    }


def status(results: Results) -> str:
    """Return the origin of a table's rows for its caption: dataset, seeds, date, machine."""
    every = [result for group in results.values() for result in group]
    first = every[0]
    counts = sorted({len(group) for group in results.values()})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    kind = "recorded" if first.recorded else "made here"
    days = sorted({result.where["made"] for result in every})
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    machines, devices, versions = (
        ", ".join(sorted({str(result.where[name]) for result in every}))
        for name in ("machine", "device", "torch")
    )
    return (
        f"{first.dataset}, test split, {seeds} seed{'s' if counts[-1] > 1 else ''}; {kind} on "
        f"{span}, {machines} ({devices}), torch {versions}"
    )
