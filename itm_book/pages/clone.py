"""The clone of the project that a book is built from, and where its parts are."""

from __future__ import annotations

from pathlib import Path

from itm_book import shipped
from itm_core.errors import InputError

PARTS = ("_config.yml", "book", "notebooks")


def find_root(root: Path | str | None = None) -> Path:
    """Return the folder of the clone, by default the one that this package is used from.

    Raises `InputError` when there is no book in it.
    """
    folder = Path(root) if root is not None else shipped.CLONE
    missing = [name for name in PARTS if not (folder / name).exists()]
    if missing:
        raise InputError(
            "the book is built from a clone of the project",
            file=folder,
            expected="_config.yml, book/ and notebooks/",
            found=f"no {', no '.join(missing)}",
            remedy="clone the repository and run `make book` there",
        )
    return folder


def sources_of(root: Path) -> Path:
    """Return the folder of the notebooks' sources."""
    return root / "notebooks"


def home_of(root: Path) -> Path:
    """Return the folder of everything that building the book writes."""
    return root / "data" / "book"


def executed_of(root: Path) -> Path:
    """Return the folder of the executed notebooks."""
    return home_of(root) / "notebooks"
