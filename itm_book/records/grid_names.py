"""The names of the grids, without importing torch."""

from __future__ import annotations

from pathlib import Path

from itm_book.shipped import shipped


def grid_names(folder: Path | None = None) -> list[str]:
    """Return the names of all grids in a folder, by default that of the book."""
    return sorted(path.stem for path in (folder or shipped("grids")).glob("*.yml"))
