"""Results: what came out of runs, made here or recorded in ``data/results/``.

A run that exists in the store is *fresh*: its scores, weights and executed notebook are there.
Runs that take longer than a build of the book are *recorded*: ``itm results export`` writes one
line for each to ``data/results/runs.csv``, with the rank of every right answer of the test split
(cut off at ten), so that intervals and paired tests are computed from a record as from a run.
Tables say which of the two they show.

Page: "All runs", and every chapter with a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from itm_book.records.grids import Cell, Grid, Size, folders
from itm_book.shipped import shipped
from itm_core.environment import is_committed
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.experiments.runs import COMPLETE, Run, load, train_many
from itm_core.files import reading, whole_file

RECORD = shipped("results") / "runs.csv"
MAX_RANK = 10  # ranks are recorded up to here: no recall asks for more
DIGITS = "0123456789a"
KEY = ["dataset", "recipe", "changes", "seed"]
NUMBERS = [*retrieval.NUMBERS, "i2t_median", "t2i_median"]
ATTENTION = [
    f"{side}_attention_{what}" for side in ("t2i", "i2t") for what in ("precision", "recall", "f1")
]
WHERE = ["minutes", "device", "machine", "torch", "python", "commit", "made"]
COLUMNS = [*KEY, "run", *NUMBERS, *ATTENTION, *WHERE, "i2t_ranks", "t2i_ranks"]


class Uncommitted(str):
    """The folder of a recorded run that was made by code in no commit; tables mark its numbers."""


@dataclass(frozen=True, eq=False)
class Result:
    """What one run (or an ensemble of some) reached on its test split.

    Attributes:
        dataset, recipe, changes, seed: what was run; ``changes`` joined by spaces.
        run: the folder of the run below the store; of an ensemble several, joined by ``" + "``.
            `Uncommitted` where it is recorded and its code, or that of a member, is in no commit.
        ranks: of the best right answer of every image and caption, from 0, at most `MAX_RANK`.
        metrics: recalls and attention quality, in percent and in shares as in a run's record.
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

    @cached_property
    def hits(self) -> np.ndarray:
        """Hits in percent for each image, ``[I, 7]``, columns as `retrieval.NUMBERS`."""
        return retrieval.hits_of(self.ranks)

    @classmethod
    def of(cls, run: Run, changes: Sequence[str] = ()) -> Result:
        """Return the result of a run of the store."""
        known = [name for name in (*NUMBERS, *ATTENTION) if name in run.metrics]
        return cls(
            dataset=run.config["dataset"],
            recipe=run.config["recipe"]["name"],
            changes=" ".join(changes),
            seed=run.seed,
            run=run.place,
            ranks=_near(retrieval.ranks(run.scores)),
            metrics={name: run.metrics[name] for name in known},
            where=_where(run),
        )

    @classmethod
    def averaged(cls, runs: Sequence[Run], results: Sequence[Result]) -> Result:
        """Return the ensemble of runs of one dataset: their scores averaged, as papers do."""
        scores = retrieval.ensemble([run.scores for run in runs])
        first = results[0]
        minutes = sum(result.where["minutes"] for result in results)
        commit = _joint_commit([result.where["commit"] for result in results])
        return cls(
            dataset=first.dataset,
            recipe=" + ".join(result.recipe for result in results),
            changes=" + ".join(result.changes for result in results),
            seed=first.seed,
            run=" + ".join(result.run for result in results),
            ranks=_near(retrieval.ranks(scores)),
            metrics=retrieval.metrics(scores).flat(),
            where={**first.where, "minutes": minutes, "commit": commit},
        )

    def row(self) -> dict[str, Any]:
        """Return the line of the record."""
        line: dict[str, Any] = {name: getattr(self, name) for name in [*KEY, "run"]}
        line |= {name: self.metrics.get(name, np.nan) for name in (*NUMBERS, *ATTENTION)}
        ranks = {f"{side}_ranks": _coded(getattr(self.ranks, side)) for side in ("i2t", "t2i")}
        return line | dict(self.where) | ranks

    @classmethod
    def from_row(cls, line: Mapping[str, Any]) -> Result:
        """Return the result of a line of the record."""
        measured = {name: float(line[name]) for name in (*NUMBERS, *ATTENTION)}
        return cls(
            **{name: line[name] for name in ("dataset", "recipe", "changes", "run")},
            seed=int(line["seed"]),
            ranks=retrieval.Ranks(_decoded(line["i2t_ranks"]), _decoded(line["t2i_ranks"])),
            metrics={name: value for name, value in measured.items() if not np.isnan(value)},
            where={name: line[name] for name in WHERE},
            recorded=True,
        )


Results = Mapping[str, Sequence[Result]]  # rows of a table, one result a seed


def _where(run: Run) -> dict[str, Any]:
    said = run.environment
    return {
        "minutes": said["seconds_training"] / 60,
        "device": said["device"],
        "machine": said["device_name"],
        "torch": said["packages"]["torch"],
        "python": said["python"],
        "commit": said.get("commit") or "",
        "made": said["started"][:10],
    }


def _joint_commit(commits: Sequence[str]) -> str:
    """Return the first commit, unless one of the others is none without changes."""
    return next((commit for commit in commits if not is_committed(commit)), commits[0])


def _near(ranks: retrieval.Ranks) -> retrieval.Ranks:
    return retrieval.Ranks(np.minimum(ranks.i2t, MAX_RANK), np.minimum(ranks.t2i, MAX_RANK))


def _coded(ranks: np.ndarray) -> str:
    return "".join(DIGITS[rank] for rank in ranks)


def _decoded(text: str) -> np.ndarray:
    return np.array([DIGITS.index(digit) for digit in str(text)])


def made(
    grid: Grid,
    size: str,
    *,
    data: Path | str = "data",
    rows: Iterable[str] | None = None,
    seeds: Sequence[int] | None = None,
    **options: Any,
) -> dict[str, list[Result]]:
    """Return the rows of a grid, trained where they don't exist yet, ensembles included.

    Args:
        data: the folder that holds the datasets' folders; not looked into for no rows at all.
        rows: some of them; all by default.
        options: those of `runs.train_many`.
    """
    cells = grid.cells(size, rows=rows, seeds=seeds)
    if not cells:
        return {}
    folder = Path(data) / grid.size(size).dataset
    runs = train_many(folder, [cell.spec for cell in cells], **options)
    return _grouped(grid, cells, dict(enumerate(runs)))


def run_of(result: Result, root: Path | str) -> Run:
    """Return the run behind a result; raises `InputError` when the store does not have it."""
    return load(Path(root) / result.run)


def scores_of(result: Result, root: Path | str) -> np.ndarray:
    """Return the scores ``[I, C]`` behind a result, averaged where it is an ensemble."""
    return retrieval.ensemble([load(Path(root) / one).scores for one in result.run.split(" + ")])


def present(
    grid: Grid, size: str, *, data: Path | str, root: Path | str
) -> dict[str, list[Result]]:
    """Return those rows of a grid whose runs are in the store; nothing is trained."""
    cells = grid.cells(size)
    places = folders(cells, Path(data), Path(root))
    runs = {k: Run(place) for k, place in enumerate(places) if (place / COMPLETE).exists()}
    return _grouped(grid, cells, runs)


def _grouped(grid: Grid, cells: Sequence[Cell], runs: Mapping[int, Run]) -> dict[str, list[Result]]:
    """Return results by row, and behind them the ensembles of seeds that all members have."""
    by_row: dict[str, dict[int, tuple[Run, Result]]] = {}
    for k, run in runs.items():
        cell = cells[k]
        pair = (run, Result.of(run, cell.spec.overrides))
        by_row.setdefault(cell.row, {})[cell.spec.seed] = pair
    found = {row: [result for _, result in pairs.values()] for row, pairs in by_row.items()}
    for name, members in grid.ensembles.items():
        seeds = [set(by_row.get(member, ())) for member in members]
        for seed in sorted(set.intersection(*seeds)):
            pairs = [by_row[member][seed] for member in members]
            ensemble = Result.averaged([run for run, _ in pairs], [one for _, one in pairs])
            found.setdefault(name, []).append(ensemble)
    return found


def export(results: Iterable[Result], path: Path = RECORD) -> int:
    """Write results to the record, in the place of older ones of the same run; return how many.

    What the record holds of other runs stays. One file, sorted, written whole or not at all.
    Raises `InputError` where code in no commit made one of the runs (`require_committed_runs`).
    """
    results = list(results)
    if not results:
        return 0
    require_committed_runs(results)
    new = pd.DataFrame([result.row() for result in results], columns=COLUMNS)
    old = _lines(path) if path.exists() else new.iloc[:0]
    table = pd.concat([part for part in (old, new) if len(part)] or [new], ignore_index=True)
    table = table.drop_duplicates(KEY, keep="last").sort_values(KEY)
    with whole_file(path) as partial:
        table.to_csv(partial, index=False, float_format="%.7g")
    _known.cache_clear()
    return len(new)


def require_committed_runs(results: Iterable[Result]) -> None:
    """Raise `InputError` when one of the runs was made by code that is in no commit.

    What made it is the ``commit`` of its ``environment.json``: with ``+`` after uncommitted
    changes, none outside a git checkout. Nobody could make such a run again.
    """
    results = list(results)
    wrong = [result for result in results if not is_committed(result.where.get("commit"))]
    if not wrong:
        return
    named = [f"{r.run} ({r.where.get('commit') or 'no commit'})" for r in wrong[:3]]
    more = [f"and {len(wrong) - 3} more"] if len(wrong) > 3 else []
    raise InputError(
        "a run made by code that is in no commit is no record",
        expected="runs of a commit without uncommitted changes of code",
        found=f"{len(wrong)} of {len(results)}: {', '.join([*named, *more])}",
        remedy="commit the code, delete the folders of these runs below the run store, and make "
        "them again (itm grid NAME)",
    )


def _lines(path: Path) -> pd.DataFrame:
    text = ["changes", "i2t_ranks", "t2i_ranks", "commit", "recipe", "run"]
    with reading(path):
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(text, str),
            keep_default_na=False,
            na_values={c: [""] for c in ATTENTION},
        )
    if list(table.columns) != COLUMNS:
        raise InputError("wrong columns", file=path, expected=COLUMNS, found=list(table.columns))
    return table


@lru_cache(maxsize=4)
def _known(path: Path, changed: int) -> dict[tuple[str, str, str, int], Result]:
    known = {}
    table = _lines(path)
    commits = dict(zip(table["run"], table["commit"], strict=True))
    for line in table.to_dict("records"):
        members = [commits[run] for run in line["run"].split(" + ") if run in commits]
        joint = {"commit": _joint_commit([line["commit"], *members])}
        result = Result.from_row({str(name): value for name, value in line.items()} | joint)
        known[result.dataset, result.recipe, result.changes, result.seed] = result
    return known


def every_recorded(path: Path = RECORD) -> list[Result]:
    """Return the result of every run of the record; none where there is no record."""
    return list(_known(path, path.stat().st_mtime_ns).values()) if path.exists() else []


def as_recorded(runs: Iterable[str], path: Path = RECORD) -> list[str]:
    """Return folders of runs as results of the record name them: `Uncommitted` where they are."""
    known = {result.run: result.run for result in every_recorded(path)}
    return [known.get(run, run) for run in runs]


def recorded(grid: Grid, size: str | Size, *, path: Path = RECORD) -> dict[str, list[Result]]:
    """Return those rows and ensembles of a grid that the record has, at a size.

    ``size`` may be that of another grid: the same rows on its dataset, under its budget.
    Raises `InputError` when there is no record, or none of this grid at this size.
    """
    if not path.exists():
        raise InputError("no record", file=path, remedy="itm grid NAME, then itm results export")
    known = _known(path, path.stat().st_mtime_ns)
    at = size if isinstance(size, Size) else grid.size(size)
    found: dict[str, list[Result]] = {}
    for name, said in keys_of(grid, at).items():
        keys = [(at.dataset, *said, seed) for seed in at.seeds]
        here = [known[key] for key in keys if key in known]
        if here:
            found[name] = here
    if not found:
        raise InputError(
            f"nothing of grid {grid.name} is recorded on {at.dataset}",
            file=path,
            remedy=f"itm grid {grid.name} --size SIZE, then itm results export {grid.name}",
        )
    return found


def keys_of(grid: Grid, at: Size) -> dict[str, tuple[str, str]]:
    """Return for every row and ensemble of a grid its recipe and changes as a record has them."""
    named = {name: (name,) for name in grid.rows} | dict(grid.ensembles)
    rows = {name: [grid.rows[member] for member in members] for name, members in named.items()}
    return {
        name: (
            " + ".join(row.name_at(at.profile) for row in members),
            " + ".join(" ".join(row.changes) for row in members),
        )
        for name, members in rows.items()
    }


def status(results: Results) -> str:
    """Return what a table's caption says of its rows: where, when, how often, from what."""
    every = [result for group in results.values() for result in group]
    first = every[0]
    counts = sorted({len(group) for group in results.values()})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    kind = "recorded" if first.recorded else "made here"
    days = sorted({result.where["made"] for result in every})
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return (
        f"{first.dataset}, test split, {seeds} seed{'s' if counts[-1] > 1 else ''}; {kind} on "
        f"{span}, {first.where['machine']} ({first.where['device']}), torch {first.where['torch']}"
    )
