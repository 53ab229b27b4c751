"""Files that come with the package: published and recorded numbers, models, grids, the registry.

In a clone they are in ``data/`` and ``notebooks/``; a wheel has copies of them, under the same
paths, in ``itm_book/shipped_files``.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CLONE = PACKAGE.parent
IN_NOTEBOOKS = ("experiment.ipynb", "grids")


def in_clone() -> bool:
    """Return whether the package is used from a clone of the project, with book and notebooks."""
    return (CLONE / "_config.yml").is_file() and (CLONE / "notebooks").is_dir()


def shipped(name: str) -> Path:
    """Return the path of a shipped file or folder.

    Args:
        name: ``models``, ``published``, ``results``, ``registry.toml``, ``grids`` or
            ``experiment.ipynb``.
    """
    root = CLONE if in_clone() else PACKAGE / "shipped_files"
    return root / ("notebooks" if name in IN_NOTEBOOKS else "data") / name
