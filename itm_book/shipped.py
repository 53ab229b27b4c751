"""Where the files are that come with the package: published numbers, records, grids, the registry.

In a clone they lie where people look for them, in ``data/`` and ``notebooks/grids/``; a wheel
carries copies inside the package.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CLONE = PACKAGE.parent
IN_CLONE = {"grids": "notebooks/grids"}


def in_clone() -> bool:
    """Return whether the package is used from a clone of the project, with book and notebooks."""
    return (CLONE / "_config.yml").is_file() and (CLONE / "notebooks").is_dir()


def shipped(name: str) -> Path:
    """Return a file or folder that comes with the package: ``published``, ``grids`` and so on."""
    if in_clone():
        return CLONE / IN_CLONE.get(name, f"data/{name}")
    return PACKAGE / "shipped_files" / name
