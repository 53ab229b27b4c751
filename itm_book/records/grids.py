"""Grids: the runs behind a table, one YAML file for each in ``notebooks/grids/``.

A grid names rows (a recipe, with or without changes) and sizes (a dataset, a profile and seeds);
a row at a size with one seed is a *cell*: one run. All rows of a size share its budget, so a
method never gets more tuning than its host.

.. code-block:: yaml

    title: Regulators on SCAN
    sizes:
      smoke: {dataset: scenes-small, profile: smoke, seeds: [0, 1, 2], minutes: 1}
      full: {dataset: scenes, profile: scenes, seeds: [0, 1, 2], minutes: 30}
    rows:
      SCAN: {recipe: scan-t2i-mean}
      SCAN + RCR: {recipe: scan-t2i-mean+rcr, host: SCAN}
    ensembles:
      both: [SCAN, SCAN + RCR]
    fresh: [SCAN, SCAN + RCR]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from itm_book.shipped import shipped
from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.experiments.methods import DEFAULT_PROFILE
from itm_core.experiments.recipes import Recipe
from itm_core.experiments.runs import ROOT, Spec, configuration, folder_of, load_dataset
from itm_core.files import reading
from itm_core.settings import one_of, seed_of

FOLDER = shipped("grids")
SIZES = ("tiny", "smoke", "full", "photographs")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table.

    Attributes:
        recipe: its name without a profile.
        changes: settings that differ from it, each ``part.key=value``.
        host: the row that it is compared with; empty for a host itself.
        group: rows of one group stand and are coloured together.
    """

    recipe: str
    changes: tuple[str, ...] = ()
    host: str = ""
    group: str = ""

    def at(self, profile: str) -> Recipe:
        """Return the recipe of this row with a profile; raises `InputError` as recipes do."""
        return recipes.get(self.name_at(profile)).replace(*self.changes)

    def name_at(self, profile: str) -> str:
        """Return the name of the recipe with a profile; that of Scenes has no ending."""
        return self.recipe if profile == DEFAULT_PROFILE else f"{self.recipe}-{profile}"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a grid is run.

    Attributes:
        dataset: the name of a folder in the data folder.
        profile: ending of the recipes' names (`methods.PROFILES`).
        seeds: every row is run with each of them.
        minutes: about how long a run takes, for the estimate before it has been done once.
    """

    dataset: str
    profile: str
    seeds: tuple[int, ...] = (0, 1, 2)
    minutes: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", tuple(map(seed_of, self.seeds)))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a grid: a row with a seed."""

    row: str
    dataset: str
    spec: Spec


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The rows of one table, and the sizes at which they are run.

    Attributes:
        ensembles: rows whose scores are averaged, seed by seed, under a name of their own.
        fresh: the rows that a build of the book trains itself; the others it shows as recorded.
    """

    name: str
    title: str
    sizes: Mapping[str, Size]
    rows: Mapping[str, Row]
    ensembles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()

    def size(self, name: str) -> Size:
        """Return a size; raises `InputError` when the grid has none of that name."""
        one_of(f"size of grid {self.name}", name, self.sizes)
        return self.sizes[name]

    def chosen(self, rows: Iterable[str] | None) -> dict[str, Row]:
        """Return some rows, all for None; raises `InputError` for one that there is not."""
        names = list(self.rows if rows is None else rows)
        for name in names:
            one_of(f"row of grid {self.name}", name, self.rows)
        return {name: self.rows[name] for name in names}

    def cells(
        self,
        size: str,
        *,
        rows: Iterable[str] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> list[Cell]:
        """Return the runs of a size in the order of the rows; some rows or other seeds if asked."""
        at = self.size(size)
        return [
            Cell(
                row=name,
                dataset=at.dataset,
                spec=Spec(row.name_at(at.profile), seed, row.changes),
            )
            for name, row in self.chosen(rows).items()
            for seed in (at.seeds if seeds is None else seeds)
        ]

    def group(self, name: str) -> str:
        """Return the group of a row, of an ensemble that of its last member."""
        row = self.rows.get(self.ensembles.get(name, (name,))[-1])
        return row.group if row else ""

    def host(self, name: str) -> str:
        """Return the row that a row is compared with; empty where there is none."""
        return self.rows[name].host if name in self.rows else ""


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of all grids."""
    return sorted(path.stem for path in folder.glob("*.yml"))


def load(name: str | Path, folder: Path = FOLDER) -> Grid:
    """Return the grid ``name``, or the one in a file.

    Everything is checked before anything is run: raises `InputError`, with the file and the row,
    for a file that cannot be read, a key, recipe, setting, profile or row that does not exist,
    and for a combination that cannot be.
    """
    path = Path(name) if str(name).endswith((".yml", ".yaml")) else folder / f"{name}.yml"
    if not path.exists():
        raise InputError(
            "grid not found", file=path, expected=f"one of {', '.join(names(folder)) or 'none'}"
        )
    try:
        with reading(path):
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("not readable as YAML", file=path, found=str(error)) from None
    grid = _read(path, content)
    for size in grid.sizes.values():
        for row in grid.rows:
            _checked(path, row, lambda row=row, size=size: grid.rows[row].at(size.profile))
    return grid


def _read(path: Path, content: Any) -> Grid:
    parts = _mapping(path, "the file", content, ("title", "sizes", "rows"), GRID_KEYS)
    sizes = {
        one: _made(path, f"size {one}", Size, values, ("dataset", "profile"))
        for one, values in _mapping(path, "sizes", parts["sizes"], (), SIZES).items()
    }
    rows = {
        str(one): _made(path, f"row {one}", Row, values, ("recipe",))
        for one, values in _mapping(path, "rows", parts["rows"]).items()
    }
    ensembles = {
        str(one): tuple(map(str, members))
        for one, members in _mapping(path, "ensembles", parts.get("ensembles") or {}).items()
    }
    named = [(f"row {one}", row.host) for one, row in rows.items() if row.host]
    named += [(f"ensemble {one}", member) for one, of in ensembles.items() for member in of]
    named += [("fresh", one) for one in parts.get("fresh") or ()]
    for place, one in named:
        if one not in rows:
            raise InputError(f"{place}: no such row", file=path, found=one, expected=list(rows))
    title, fresh = str(parts["title"]), tuple(parts.get("fresh") or ())
    return Grid(
        name=path.stem, title=title, sizes=sizes, rows=rows, ensembles=ensembles, fresh=fresh
    )


GRID_KEYS = ("title", "sizes", "rows", "ensembles", "fresh")


def _mapping(
    path: Path, place: str, found: Any, needed: Sequence[str] = (), known: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a mapping of the file; raises `InputError` where keys are missing or unknown."""
    if not isinstance(found, dict):
        raise InputError(f"{place}: not a mapping", file=path, found=type(found).__name__)
    unknown = [str(key) for key in found if known and key not in known]
    missing = [key for key in needed if key not in found]
    if unknown or missing:
        raise InputError(
            f"{place}: unknown keys" if unknown else f"{place}: keys are missing",
            file=path,
            found=", ".join(unknown or map(str, found)),
            expected=", ".join(known or needed),
        )
    return found


def _made(path: Path, place: str, kind: Any, values: Any, needed: Sequence[str]) -> Any:
    """Return a `Row` or a `Size` made of a mapping of the file, its lists as tuples."""
    known = tuple(kind.__dataclass_fields__)
    found = _mapping(path, place, values, needed, known)
    for key, value in found.items():
        if (key in ("seeds", "changes")) != isinstance(value, list):
            raise InputError(f"{place}: {key} has the wrong type", file=path, found=value)
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in found.items()})
    except InputError as error:
        raise InputError(
            f"{place}: {error.problem}", file=path, expected=error.expected, found=error.found
        ) from None


def _checked(path: Path, row: str, make: Any) -> None:
    try:
        make()
    except InputError as error:
        raise InputError(f"row {row} cannot be: {error}", file=path) from None


def folders(cells: Sequence[Cell], data: Path, root: Path = ROOT) -> list[Path]:
    """Return where the run of each cell lives; ``data`` holds the datasets' folders.

    Raises `InputError` when a dataset is not there.
    """
    known = {name: load_dataset(data / name) for name in {cell.dataset for cell in cells}}
    return [
        folder_of(
            configuration(
                known[c.dataset], recipes.get(c.spec.recipe).replace(*c.spec.overrides), c.spec.seed
            ),
            root,
        )
        for c in cells
    ]
