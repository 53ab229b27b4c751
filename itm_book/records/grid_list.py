"""The list of the grids, printed without importing torch where it was printed before."""

from __future__ import annotations

from pathlib import Path

from itm_book.records.grid_names import grid_names
from itm_book.shipped import shipped
from itm_core.cached_lines import cached_lines, modules_of

HEAD = f"{'grid':<14}{'rows':>4}  title"


def lines(folder: Path | None = None, cache: Path | None = None) -> list[str]:
    """Return a head and two lines for each grid: rows and title, and the runs at each size.

    Args:
        folder: of the grids; by default that of the book.
        cache: the folder that the lines are kept in; see `cached_lines`.
    """
    folder = folder or shipped("grids")
    sources = [*folder.glob("*.yml"), *modules_of("itm_core", "itm_book")]
    return cached_lines("grids", sources, lambda: _lines(folder), cache)


def _lines(folder: Path) -> list[str]:
    from itm_book.records import grids

    printed = [HEAD]
    for name in grid_names(folder):
        grid = grids.load(name, folder)
        sizes = ", ".join(f"{size} {len(grid.cells(size))}" for size in grid.sizes)
        printed.append(f"{name:<14}{len(grid.rows):>4}  {grid.title}")
        printed.append(f"{'':20}runs at size {sizes}")
    return [*printed, "", "itm grid GRID --size SIZE --dry-run says what would be run."]
