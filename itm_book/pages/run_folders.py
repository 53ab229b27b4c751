"""What the folders of runs say, and the record of runs that are not here.

Whatever stands in a run's folder is taken for text from a stranger: what cannot be read is empty,
and the reason is kept.

Page: "All runs".
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itm_book.records.results import ATTENTION, NUMBERS, Result
from itm_book.tables.comparison import SHOWN
from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.experiments.runs import COMPLETE
from itm_core.files import read_json

ERROR = "error.txt"
STATES = ("finished", "recorded", "unfinished", "failed", "damaged")

Settings = Mapping[str, Any]  # "part.key": value


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A run's settings beside those of today's recipe of its name.

    Attributes:
        every: all settings of the run.
        chosen: those that are not the defaults of their parts.
        changed: those that the recipe of that name has otherwise.
        unread: why they cannot be compared, if they cannot.
    """

    every: Settings = field(default_factory=dict)
    chosen: Settings = field(default_factory=dict)
    changed: Settings = field(default_factory=dict)
    unread: str = ""


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """What the files of one run's folder say; what cannot be read is empty.

    Attributes:
        place: dataset, recipe and ``seed-hash``: the names of the folders.
        finished: the numbers of the test split are there.
        recorded: they are read from the record; the store does not have the run.
        error: the last line of ``error.txt``, where a run has left one.
        problems: what is wrong with the files.
    """

    place: tuple[str, ...]
    finished: bool
    recorded: bool = False
    error: str = ""
    problems: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    settings: Compared = field(default_factory=Compared)

    @property
    def state(self) -> str:
        """One of `STATES`."""
        if self.error and not self.finished:
            return "failed"
        if self.recorded:
            return "recorded"
        return "damaged" if self.problems else "finished" if self.finished else "unfinished"

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
        return "; ".join(filter(None, ("" if self.finished else self.error, *self.problems)))

    def command(self) -> str:
        """Return the command that makes this run, or nothing where none does."""
        own = "regulator_source" in self.config  # registered in a notebook of the reader's
        if not self.config or self.settings.unread or own:
            return ""
        words = ["itm", "train", "--dataset", f"data/{self.config['dataset']}"]
        words += ["--recipe", self.recipe, "--seed", self.seed]
        for change in written(self.settings.changed):
            words += ["--set", change]
        return shlex.join(words)


# --- the store -----------------------------------------------------------------------------------


def run_folders(root: Path) -> list[RunFolder]:
    """Return what every run folder below ``root`` says, sorted by folder."""
    names = ("config.json", COMPLETE, ERROR)
    folders = {path.parent for name in names for path in root.glob(f"*/*/*/{name}")}
    return [_folder(folder) for folder in sorted(folders)]


def _folder(folder: Path) -> RunFolder:
    problems: list[str] = []
    finished = (folder / COMPLETE).exists()
    config = _json(folder / "config.json", problems)
    metrics = _json(folder / COMPLETE, problems) if finished else None
    described = finished or (folder / "environment.json").exists()
    environment = _json(folder / "environment.json", problems) if described else None
    if config is not None and (misfits := _misfits(config)):
        problems, config = problems + misfits, None
    if metrics is not None:
        missing = [name for name in SHOWN if number(metrics.get(name)) is None]
        problems += [f"{COMPLETE}: {name} is no number" for name in missing]
    return RunFolder(
        place=folder.parts[-3:],
        finished=finished,
        error=_last_line(folder / ERROR),
        problems=tuple(problems),
        config=config or {},
        environment=environment or {},
        metrics=metrics or {},
        settings=_compared(config["recipe"]) if config else Compared(),
    )


def _json(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """Return a file's content; when it cannot be read, None, and add the reason."""
    try:
        return read_json(path)
    except InputError as error:  # its message would name folders of this machine
        problems.append(f"{path.name}: {error.problem}")
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path.name}: {type(error).__name__}")
    return None


def _misfits(config: Mapping[str, Any]) -> list[str]:
    recipe = config.get("recipe")
    name = recipe.get("name") if isinstance(recipe, dict) else None
    wanted = {"dataset": str, "seed": int, "recipe": dict}
    wrong = [key for key, kind in wanted.items() if not isinstance(config.get(key), kind)]
    wrong += ["recipe.name"] if isinstance(recipe, dict) and not isinstance(name, str) else []
    return [f"config.json: no {key}" for key in wrong]


def _last_line(path: Path) -> str:
    if not path.exists():
        return ""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        return type(error).__name__
    return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")


def _compared(content: Mapping[str, Any]) -> Compared:
    """Return a recipe's settings beside those of today's recipe of that name."""
    every = _flat(content)
    # An older version or a regulator of the reader's own; what a file holds may be anything.
    unreadable = (ValueError, TypeError, KeyError, AttributeError)
    try:
        recipe = recipes.from_dict(content)
        every = _flat(recipe.to_dict())
        chosen = _differing(every, _flat(recipes.defaults(recipe)))
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


def _differing(given: Settings, plain: Settings) -> Settings:
    return {name: v for name, v in given.items() if name not in plain or plain[name] != v}


def number(value: object) -> float | None:
    """Return a finite number, or nothing for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # JSON has no largest integer
        return None


def written(settings: Settings) -> list[str]:
    """Return settings as `recipes.Recipe.replace` reads them."""
    plain = {None: "none", True: "true", False: "false"}
    return [
        f"{name}={plain[v] if v is None or isinstance(v, bool) else v}"
        for name, v in settings.items()
    ]


# --- the record --------------------------------------------------------------------------------


def recorded_folders(record: Iterable[Result]) -> list[RunFolder]:
    """Return recorded results (no ensembles) as their folders would say it, sorted by folder."""
    found = [_recorded(result) for result in record if " + " not in result.run]
    return sorted(found, key=lambda run: run.place)


def _recorded(result: Result) -> RunFolder:
    recipe: dict[str, Any] = {"name": result.recipe}
    try:
        recipe = recipes.get(result.recipe).replace(*result.changes.split()).to_dict()
        settings = _compared(recipe)
    except InputError as error:  # recorded by an older version
        settings = Compared(unread=error.problem)
    known = [name for name in (*NUMBERS, *ATTENTION) if name in result.metrics]
    where = dict(result.where)
    return RunFolder(
        place=tuple(result.run.split("/")),
        finished=True,
        recorded=True,
        config={"dataset": result.dataset, "seed": result.seed, "recipe": recipe},
        environment={
            "started": where["made"],
            "device": where["device"],
            "device_name": where["machine"],
            "commit": where["commit"],
            "seconds_training": 60 * where["minutes"],
            "packages": {"torch": where["torch"], "python": where["python"]},
        },
        metrics={name: result.metrics[name] for name in known},
        settings=settings,
    )
