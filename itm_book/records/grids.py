"""Grids: the runs behind a table, one YAML file for each in ``notebooks/grids/``.

A grid has rows (a recipe, with or without changes) and sizes (a dataset, a profile and seeds); the
names of both are free. A row at a size with one seed is a *cell*: one run. All rows of a size have
the same budget, so a method never gets more tuning than its host.

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
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from itm_book.folders import require_folder_name
from itm_book.records.grid_names import grid_names
from itm_book.records.yaml_files import read_yaml
from itm_book.shipped import shipped
from itm_core.data.dataset import load_dataset
from itm_core.errors import InputError, did_you_mean
from itm_core.experiments import recipes
from itm_core.experiments.methods import DEFAULT_PROFILE
from itm_core.experiments.recipes import Recipe
from itm_core.experiments.runs import ROOT, Spec, configuration, folder_of
from itm_core.settings import SEEDS, NotNegative, Settings, one_of

FOLDER = shipped("grids")
Name = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


class Row(Settings):
    """One row of a table.

    Attributes:
        recipe: the recipe's name without a profile.
        changes: settings that differ from the recipe, each ``part.key=value``.
        host: the row that it is compared with; empty for a host itself.
        group: results of one group are next to each other and have one colour.
        seeds: the only ones of a size's seeds that the row is run with; by default all of them.
    """

    recipe: Name
    changes: tuple[str, ...] = ()
    host: str = ""
    group: str = ""
    seeds: tuple[Seed, ...] | None = None

    def at(self, profile: str) -> Recipe:
        """Return the recipe of this row with a profile; raises `InputError` as recipes do."""
        return recipes.get(self.name_at(profile)).replace(*self.changes)

    def name_at(self, profile: str) -> str:
        """Return the name of the recipe with a profile; that of Scenes has no ending."""
        return recipes.canonical_name(
            self.recipe if profile == DEFAULT_PROFILE else f"{self.recipe}-{profile}"
        )


class Size(Settings):
    """One size at which a grid is run.

    Attributes:
        dataset: the name of a folder in the data folder.
        profile: ending of the recipes' names (`methods.PROFILES`).
        seeds: every row is run with each of them, unless the row names its own.
        minutes: about how long a run takes; for the estimate before the first run has finished.
    """

    dataset: Name
    profile: Name
    seeds: tuple[Seed, ...] = (0, 1, 2)
    minutes: NotNegative = 1.0


class Cell(Settings):
    """One run of a grid: a row with a seed."""

    row: str
    dataset: str
    spec: Spec


class Grid(Settings):
    """The rows of one table, and the sizes at which they are run.

    Attributes:
        name: the name of its file without ending.
        ensembles: names of ensembles and their rows, whose scores are averaged for each seed.
        fresh: the rows that a build of the book trains; of the others it shows the record.
    """

    name: Name
    title: str
    sizes: Annotated[Mapping[str, Size], Field(min_length=1)]
    rows: Annotated[Mapping[str, Row], Field(min_length=1)]
    ensembles: Mapping[str, tuple[str, ...]] = {}
    fresh: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Grid:
        """Raise `InputError` for a name that is no folder's, or of no row or of two things."""
        for name, size in self.sizes.items():
            require_folder_name(name, "size")
            require_folder_name(size.dataset, f"size {name}: dataset")
            _require_distinct(f"size {name}: seeds", size.seeds)
        for name, row in self.rows.items():
            _require_distinct(f"row {name}: seeds", row.seeds)
            if row.host == name:
                raise InputError(f"row {name}: host: the row itself", remedy="leave it out")
        named = [(f"row {name}: host", row.host) for name, row in self.rows.items() if row.host]
        for name, members in self.ensembles.items():
            if name in self.rows or not 1 < len(set(members)) == len(members):
                found = "a row of this name" if name in self.rows else list(members)
                wanted = "two or more rows, each once, under a name of its own"
                raise InputError(f"ensemble {name}: {wanted}", found=found)
            named += [(f"ensemble {name}", member) for member in members]
        named += [("fresh", name) for name in self.fresh]
        for key, name in named:
            if name not in self.rows:
                raise InputError(f"{key}: no such row", found=name, expected=list(self.rows))
        return self

    def size(self, name: str) -> Size:
        """Return a size; raises `InputError` when the grid has none of that name."""
        one_of(f"size of grid {self.name}", name, self.sizes)
        return self.sizes[name]

    def chosen(self, rows: Iterable[str] | None) -> dict[str, Row]:
        """Return some rows, all for None; raises `InputError` for an unknown name."""
        names = list(self.rows if rows is None else rows)
        for name in names:
            one_of(f"row of grid {self.name}", name, self.rows)
        return {name: self.rows[name] for name in names}

    def only(self, group: str) -> Grid:
        """Return the grid with the rows of one group alone, and without ensembles."""
        rows = {name: row for name, row in self.rows.items() if row.group == group}
        return Grid(name=self.name, title=self.title, sizes=self.sizes, rows=rows)

    def cells(
        self,
        size: str,
        *,
        rows: Iterable[str] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> list[Cell]:
        """Return the runs of a size: every row with the first seed, then with the second, ...

        So a batch that is stopped has every row once before it has one twice.

        Args:
            rows: some of the rows; None for all.
            seeds: of every row, in the place of those of the size and of the row.
        """
        at = self.size(size)
        _require_distinct("seeds", seeds)
        return [
            Cell(
                row=name,
                dataset=at.dataset,
                spec=Spec(row.name_at(at.profile), seed, row.changes),
            )
            for seed in (at.seeds if seeds is None else seeds)
            for name, row in self.chosen(rows).items()
            if seeds is not None or row.seeds is None or seed in row.seeds
        ]

    def result_count(self, size: str) -> int:
        """Return the number of runs of a size, and of ensembles, one a seed of all its members."""
        cells = self.cells(size)
        runs = {(cell.row, cell.spec.seed) for cell in cells}
        seeds = {seed for _, seed in runs}
        return len(cells) + sum(
            all((member, seed) in runs for member in members)
            for members in self.ensembles.values()
            for seed in seeds
        )

    def group(self, name: str) -> str:
        """Return the group of a row; of an ensemble, the group of its last member."""
        row = self.rows.get(self.ensembles.get(name, (name,))[-1])
        return row.group if row else ""

    def by_group(self, names: Iterable[str]) -> list[str]:
        """Return rows and ensembles with those of one group next to each other.

        Groups are in the order of their first rows; inside a group the order stays.
        """
        groups = list(dict.fromkeys(row.group for row in self.rows.values()))
        return sorted(names, key=lambda name: groups.index(self.group(name)))

    def host(self, name: str) -> str:
        """Return the row that a row is compared with; empty where there is none."""
        return self.rows[name].host if name in self.rows else ""

    def hosts(self, over: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """Return which row each is compared with: as the grid has it, or as ``over`` does.

        Raises `InputError` where ``over`` has a name that is no row and no ensemble.
        """
        if over is None:
            return {name: row.host for name, row in self.rows.items() if row.host}
        for name in (*over, *over.values()):
            one_of(f"row of grid {self.name}", name, [*self.rows, *self.ensembles])
        return over


def _require_distinct(name: str, seeds: Sequence[int] | None) -> None:
    """Raise `InputError` for no seed, or one that is repeated: its run would count twice."""
    if seeds is not None and not 0 < len(set(seeds)) == len(seeds):
        raise InputError(f"{name}: one or more, each once", found=list(seeds))


def load(name: str | Path, folder: Path = FOLDER) -> Grid:
    """Return the grid ``name``, or the one in a file.

    The whole file is checked: raises `InputError`, with the file and the key, for a file that
    cannot be read, a key, recipe, setting, profile or row that does not exist, and for settings
    that cannot be combined.
    """
    path = Path(name) if str(name).endswith((".yml", ".yaml")) else folder / f"{name}.yml"
    if not path.exists():
        known = grid_names(folder)
        raise InputError(
            "grid not found",
            file=path,
            expected=f"one of {', '.join(known) or 'none'}",
            remedy=did_you_mean(name, known)
            or "itm grid lists the grids; a grid of your own is named by its file (.yml)",
        )
    content = read_yaml(path)
    if "name" in content:
        raise InputError("unknown key of Grid", file=path, found="name", remedy="leave it out")
    try:
        grid = Grid.of_file({"name": path.stem, **content}, path)
        _check_recipes(grid)
    except InputError as error:
        if error.file is not None:
            raise
        raise InputError(
            error.problem,
            file=path,
            expected=error.expected,
            found=error.found,
            remedy=error.remedy,
        ) from None
    return grid


def _check_recipes(grid: Grid) -> None:
    """Raise `InputError` unless every row has a valid recipe at every size."""
    for size in grid.sizes.values():
        for name, row in grid.rows.items():
            try:
                row.at(size.profile)
            except InputError as error:
                raise InputError(f"row {name} has no valid recipe: {error}") from None


def folders(cells: Sequence[Cell], data: Path, root: Path = ROOT) -> list[Path]:
    """Return the folder of each cell's run.

    Args:
        data: the folder that holds the datasets' folders.
        root: the run store.

    Raises `InputError` when a dataset is missing.
    """
    datasets = {name: load_dataset(data / name) for name in {cell.dataset for cell in cells}}
    places = []
    for cell in cells:
        recipe = recipes.get(cell.spec.recipe).replace(*cell.spec.overrides)
        config = configuration(datasets[cell.dataset], recipe, cell.spec.seed)
        places.append(folder_of(config, root))
    return places
