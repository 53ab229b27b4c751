"""The list of the grids."""

from __future__ import annotations

from pathlib import Path

from itm_book.records import grid_list, grids
from itm_book.records.grid_names import grid_names


def test_every_grid_is_listed_with_its_rows_and_runs(tmp_path: Path) -> None:
    lines = grid_list.lines(cache=tmp_path)
    assert max(map(len, lines)) <= 100
    grid = grids.load("rcar")
    first = next(k for k, line in enumerate(lines) if line.startswith("rcar "))
    assert lines[first].split(maxsplit=2) == ["rcar", str(len(grid.rows)), grid.title]
    for size in grid.sizes:
        assert f"{size} {len(grid.cells(size))}" in lines[first + 1]
    listed = [line.split()[0] for line in lines[1:-2:2]]
    assert listed == grid_names()
