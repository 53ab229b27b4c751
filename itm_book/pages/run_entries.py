"""The rows of the page of all runs: runs of the store and recorded results, read alike.

The folder of a run may hold anything. What cannot be read is left empty, and the reason is kept.

Page: "All runs".
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itm_book.batch.experiment import error_of
from itm_book.records.results import RECORDED, Result
from itm_book.tables.comparison import SHOWN
from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.experiments.run import Run
from itm_core.experiments.run_folder import COMPLETE, CONFIGURATION, ERROR, RunState

DAMAGED = "damaged"  # one of the run's files cannot be read
SHOWN_STATES = (
    RunState.FINISHED,
    RECORDED,
    RunState.INTERRUPTED,
    RunState.FAILED,
    RunState.IMPORTED,
    RunState.EMPTY,
    DAMAGED,
)
UNREADABLE = (OSError, ValueError, RecursionError)  # an `InputError` is a ValueError

Settings = Mapping[str, Any]  # "part.key": value


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A run's settings, compared with the present recipe of its name.

    Attributes:
        every: all settings of the run.
        chosen: those that differ from the defaults of their parts.
        changed: those that differ from the recipe of that name.
        unread: why they cannot be compared; empty when they can.
    """

    every: Settings = field(default_factory=dict)
    chosen: Settings = field(default_factory=dict)
    changed: Settings = field(default_factory=dict)
    unread: str = ""


@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """One row of the page; what cannot be read is empty.

    Attributes:
        place: dataset, recipe and ``seed-hash``: the names of the run's folders.
        run_state: the state of the run (`RunState`), or `RECORDED`.
        error: the last line of ``error.txt``, where there is one.
        problems: what is wrong with the files.
    """

    place: tuple[str, ...]
    run_state: str
    error: str = ""
    problems: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    settings: Compared = field(default_factory=Compared)

    @property
    def state(self) -> str:
        """One of `SHOWN_STATES`."""
        return DAMAGED if self.problems and self.run_state != RunState.FAILED else self.run_state

    @property
    def recipe(self) -> str:
        """The recipe's name, from that of the folder where there is no configuration."""
        return self.config["recipe"]["name"] if self.config else self.place[1]

    @property
    def seed(self) -> str:
        """The seed, from the folder's name where there is no configuration."""
        return str(self.config["seed"]) if self.config else self.place[2].partition("-")[0]

    def reason(self) -> str:
        """Return why it failed or what is damaged."""
        error = self.error if self.run_state == RunState.FAILED else ""
        return "; ".join(filter(None, (error, *self.problems)))

    def command(self) -> str:
        """Return the command that makes this run; empty where there is none."""
        # a regulator defined in a notebook, and weights that were not trained here
        elsewhere = "regulator_source" in self.config or self.config.get("imported")
        if not self.config or self.settings.unread or elsewhere:
            return ""
        words = ["itm", "train", "--dataset", f"data/{self.config['dataset']}"]
        words += ["--recipe", self.recipe, "--seed", self.seed]
        for change in written(self.settings.changed):
            words += ["--set", change]
        return shlex.join(words)


def run_entries(root: Path) -> list[RunEntry]:
    """Return an entry for every run folder below ``root``, sorted by folder."""
    names = (CONFIGURATION, COMPLETE, ERROR)
    folders = {path.parent for name in names for path in root.glob(f"*/*/*/{name}")}
    return [entry_of(Run(folder)) for folder in sorted(folders)]


def recorded_entries(record: Iterable[Result]) -> list[RunEntry]:
    """Return an entry for every recorded result, without ensembles, sorted by folder."""
    entries = [entry_of(result) for result in record if " + " not in result.run]
    return sorted(entries, key=lambda entry: entry.place)


def entry_of(run: Run | Result) -> RunEntry:
    """Return the entry of a run, or of a recorded result."""
    problems: list[str] = []
    finished = run.state in (RunState.FINISHED, RECORDED)
    config = _readable(run, "config", problems)
    metrics = _readable(run, "metrics", problems) if finished else None
    described = finished or (isinstance(run, Run) and (run.folder / "environment.json").exists())
    environment = _readable(run, "environment", problems) if described else None
    if config is not None and (misfits := _misfits(config)):
        problems, config = problems + misfits, None
    if metrics is not None and run.state == RunState.FINISHED:
        missing = [name for name in SHOWN if number(metrics.get(name)) is None]
        problems += [f"{COMPLETE}: {name} is not a number" for name in missing]
    return RunEntry(
        place=tuple(run.place.split("/")),
        run_state=run.state,
        error=error_of(run.folder) if isinstance(run, Run) else "",
        problems=tuple(problems),
        config=config or {},
        environment=environment or {},
        metrics=metrics or {},
        settings=_compared(config["recipe"]) if config else Compared(),
    )


def _readable(run: Run | Result, part: str, problems: list[str]) -> Mapping[str, Any] | None:
    """Return a part of a run; when it cannot be read, None, and add the reason."""
    file = COMPLETE if part == "metrics" else f"{part}.json"
    try:
        return getattr(run, part)
    except UNREADABLE as error:
        # The full message of an `InputError` would name folders of this machine.
        reason = error.problem if isinstance(error, InputError) else type(error).__name__
        problems.append(f"{file}: {reason}")
        return None


def _misfits(config: Mapping[str, Any]) -> list[str]:
    recipe = config.get("recipe")
    name = recipe.get("name") if isinstance(recipe, dict) else None
    types = {"dataset": str, "seed": int, "recipe": dict}
    wrong = [key for key, kind in types.items() if not isinstance(config.get(key), kind)]
    wrong += ["recipe.name"] if isinstance(recipe, dict) and not isinstance(name, str) else []
    return [f"config.json: no {key}" for key in wrong]


def _compared(content: Mapping[str, Any]) -> Compared:
    """Return a recipe's settings, compared with the present recipe of its name."""
    if set(content) == {"name"}:
        return Compared(unread="this version does not know its recipe")
    every = _flat(content)
    # An older version or a regulator defined in a notebook; the file may hold anything.
    unreadable = (ValueError, TypeError, KeyError, AttributeError)
    try:
        recipe = recipes.from_dict(content)
        every = _flat(recipe.to_dict())
        defaults = {part: type(settings)().model_dump() for part, settings in recipe.parts.items()}
        chosen = _differing(every, _flat(defaults))
    except unreadable as error:
        return Compared(every=every, chosen=every, unread=str(error))
    try:
        named = _flat(recipes.get(recipe.name).to_dict())
    except unreadable as error:
        return Compared(every=every, chosen=chosen, unread=str(error))
    return Compared(every=every, chosen=chosen, changed=_differing(every, named))


def _flat(recipe: Mapping[str, Any]) -> Settings:
    parts = {part: values for part, values in recipe.items() if isinstance(values, Mapping)}
    return {f"{part}.{key}": v for part, values in parts.items() for key, v in values.items()}


def _differing(settings: Settings, others: Settings) -> Settings:
    return {k: v for k, v in settings.items() if k not in others or others[k] != v}


def number(value: object) -> float | None:
    """Return a finite number; None for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # JSON has no largest integer
        return None


def written(settings: Settings) -> list[str]:
    """Return settings as `recipes.Recipe.replace` reads them."""
    words = {None: "none", True: "true", False: "false"}
    return [
        f"{name}={words[v] if v is None or isinstance(v, bool) else v}"
        for name, v in settings.items()
    ]
