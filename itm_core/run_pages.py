"""The page of all runs: what the run store holds, as one table and one folded part for each run.

It is written as raw HTML into the staged book, because other pages lead to its rows. Whatever
stands in a run's folder is taken for text from a stranger: a damaged folder is shown as such, and
never stops a build.

Page: "All runs".
"""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from itm_core import recipes
from itm_core.comparison import ATTENTION, SHOWN
from itm_core.errors import InputError
from itm_core.files import read_json
from itm_core.runs import COMPLETE

PAGE = "../book/runs.html"  # as the other pages of the book see it
ERROR = "error.txt"
STATES = ("finished", "unfinished", "failed", "damaged")
RECALLS = {"rsum": SHOWN["rsum"]} | SHOWN  # rSum first
LONGEST = 100  # characters of a cell
LONG = 4000  # characters of any other text
FEW = 3  # changed settings that a cell names

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
        error: the last line of ``error.txt``, where a run has left one.
        problems: what is wrong with the files.
    """

    place: tuple[str, ...]
    finished: bool
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
        for change in _written(self.settings.changed):
            words += ["--set", change]
        return shlex.join(words)


def run_anchor(folder: Path | str) -> str:
    """Return the name of a run's row on the page of all runs.

    ``folder`` is the run's, or its last three parts as `results.Result.run` gives them.

    >>> run_anchor("data/runs/scenes-small/scan-t2i-mean+rcr-smoke/0-69202e34ea44")
    'run-scenes-small-scan-t2i-mean-rcr-smoke-0-69202e34ea44'
    """
    parts = "-".join(["run", *Path(folder).parts[-3:]])
    return re.sub(r"[^a-z0-9]+", "-", parts.lower()).strip("-")


def run_link(folder: Path | str) -> str:
    """Return the link from a page of the book to a run's row.

    >>> run_link("tiny/sgr/0-4c5ed5c8fed8")
    '../book/runs.html#run-tiny-sgr-0-4c5ed5c8fed8'
    """
    return f"{PAGE}#{run_anchor(folder)}"


# --- reading -----------------------------------------------------------------------------------


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
        missing = [name for name in RECALLS if _number(metrics.get(name)) is None]
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


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # JSON has no largest integer
        return None


# --- writing -----------------------------------------------------------------------------------


def write_runs_page(path: Path, root: Path) -> None:
    """Write the piece that ``book/runs.md`` includes: every run below ``root``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names and files may hold halves of characters, which UTF-8 has no place for.
    path.write_bytes(runs_page(run_folders(root)).encode("utf-8", "replace"))


def runs_page(runs: Sequence[RunFolder]) -> str:
    """Return Markdown with the table of all runs, and below it what each was made of."""
    if not runs:
        return "No run has been made for this copy of the book.\n"
    counts = Counter(run.state for run in runs)
    said = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    rows = [_row(run) for run in runs]
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = "\n".join(_line(run, row) for run, row in zip(runs, rows, strict=True))
    return (
        f'<figure class="all-runs"><figcaption>{len(runs)} runs: {said}</figcaption>'
        '<div class="table-scroll">'
        f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>\n{body}\n'
        "</tbody></table></div></figure>\n\n## What each run was made of\n\n"
        + "\n".join(map(_details, runs))
        + "\n"
    )


def _row(run: RunFolder) -> dict[str, str]:
    """Return the cells of a run's row by the names of their columns."""
    where, metrics = run.environment, run.metrics
    packages = where.get("packages")
    seconds = _number(where.get("seconds_training"))
    return {
        "dataset": run.place[0],
        "recipe": run.recipe,
        "changed": _few(run.settings),
        "seed": run.seed,
        **{title: _tenths(metrics.get(name)) for name, title in RECALLS.items()},
        **{title: _tenths(metrics.get(name), 100) for name, title in ATTENTION.items()},
        "minutes": _tenths(seconds, 1 / 60),
        "device": _said(where.get("device")),
        "torch": _said(packages.get("torch") if isinstance(packages, Mapping) else None),
        "commit": _said(where.get("commit")),
        "started": _said(where.get("started"))[:10],
        "state": ": ".join(filter(None, (run.state, run.reason()))),
    }


def _few(settings: Compared) -> str:
    if settings.unread:
        return "cannot be compared"
    changes = _written(settings.changed)
    more = [f"and {len(changes) - FEW} more"] if len(changes) > FEW else []
    return ", ".join([*changes[:FEW], *more])


def _written(settings: Settings) -> list[str]:
    """Return settings as `recipes.Recipe.replace` reads them."""
    plain = {None: "none", True: "true", False: "false"}
    return [
        f"{name}={plain[v] if v is None or isinstance(v, bool) else v}"
        for name, v in settings.items()
    ]


def _tenths(value: object, factor: float = 1) -> str:
    number = _number(value)
    return "" if number is None else f"{factor * number:.1f}"


def _said(value: object) -> str:
    return "" if value is None else str(value)


def _safe(text: str, longest: int = LONG) -> str:
    """Return text for HTML on one line: an empty one would end the block in Markdown."""
    line = " ".join(text.split())
    return escape(line if len(line) <= longest else f"{line[:longest]}…")


def _line(run: RunFolder, row: Mapping[str, str]) -> str:
    anchor, cells = run_anchor("/".join(run.place)), []
    for name, text in row.items():
        shown = _safe(text, LONGEST)
        if name == "recipe":
            shown = f'<a href="#{anchor}-made">{shown}</a>'
        words = name == "changed" or (name == "state" and run.reason())
        cells.append(f'<td class="words">{shown}</td>' if words else f"<td>{shown}</td>")
    return f'<tr id="{anchor}">{"".join(cells)}</tr>'


def _details(run: RunFolder) -> str:
    """Return the folded part of a run: command, settings, data and machine."""
    settings, anchor = run.settings, run_anchor("/".join(run.place))
    named = f"{run.recipe}, seed {run.seed}, {run.place[0]}, {run.state}"
    summary = "; ".join(filter(None, (named, _few(settings))))
    parts = [f"<p>{_safe(run.reason())}</p>"] if run.reason() else []
    if command := run.command():
        parts.append(f'<div class="highlight"><pre>{_safe(command)}</pre></div>')
    if settings.chosen:
        why = f" (not compared with a recipe: {_safe(settings.unread)})" if settings.unread else ""
        lines = "\n".join(map(_safe, _written(settings.chosen)))
        parts.append(f"<p>Settings that are not the defaults{why}:</p><pre>{lines}</pre>")
    parts.append(f'<p class="facts">{"; ".join(_safe(fact) for fact in _facts(run))}</p>')
    return (
        f'<details class="run"><summary>{_safe(summary, 2 * LONGEST)}</summary>'
        f'<div id="{anchor}-made">\n' + "\n".join(parts) + "\n</div></details>"
    )


def _facts(run: RunFolder) -> list[str]:
    """Return where the run lies, its data and its machine, each in a few words."""
    where, config = dict(run.environment), run.config
    packages = where.pop("packages", None)
    where |= packages if isinstance(packages, dict) else {}
    data = [name for name in ("region_count", "feature_width", "fingerprint") if name in config]
    facts = [f"data/runs/{'/'.join(run.place)}"]
    facts += [f"{name.replace('_', ' ')} {_said(config[name])}" for name in data]
    return facts + [f"{k.replace('_', ' ')} {_said(v)}" for k, v in where.items() if v is not None]
