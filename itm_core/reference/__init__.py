"""Reference numbers of the authors' implementations, read into our modules and compared.

A reference file is an ``.npz`` with ``weights/*``, ``inputs/*``, ``outputs/*`` and a JSON
``config``; nothing in it is pickled. Each kind of file has one *checker*, which rebuilds what
the file describes and yields a `Difference` for every number stored in it. A number that no
checker compares is a failure, as is a file that no checker knows: nothing is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from itm_core.errors import InputError
from itm_core.reference.format import Difference, Report, Stored, read
from itm_core.reference.measures import (
    check_evaluation,
    check_loss,
    check_tokens,
    text_checker_of,
)
from itm_core.reference.scan import check_scan

DOCUMENTS = {".md", ".rst"}  # prose beside the numbers: nothing to compare
Checker = Callable[[Stored], Iterable[Difference]]


def compare(folder_or_file: Path) -> list[Report]:
    """Return a report for every file below a folder (or for one file), sorted by name.

    Raises `InputError` when there is nothing to compare.
    """
    if not folder_or_file.exists():
        raise InputError("no such file or folder", file=folder_or_file)
    files = [folder_or_file]
    if folder_or_file.is_dir():
        files = sorted(p for p in folder_or_file.rglob("*") if p.is_file())
    files = [p for p in files if p.suffix not in DOCUMENTS and not p.name.startswith(".")]
    if not files:
        raise InputError("no reference files here", file=folder_or_file)
    return [compare_file(path) for path in files]


def compare_file(path: Path) -> Report:
    """Return how our modules compare with one reference file."""
    try:
        if path.suffix == ".npz":
            stored = read(path)
            kind, checker = _checker_of(stored)
            return _complete(stored, kind, list(checker(stored))) if checker else _unknown(path)
        text_kind, found = text_checker_of(path)
        return Report(path, text_kind, list(found)) if text_kind else _unknown(path)
    except InputError as error:
        return Report(path, "reference", problem=str(error))


def _unknown(path: Path) -> Report:
    return Report(path, "unknown", problem="no module of this package knows it", known=False)


def _complete(stored: Stored, kind: str, found: list[Difference]) -> Report:
    left = set(stored.folder("outputs")) - {d.name for d in found}
    problem = f"not compared: {', '.join(sorted(left))}" if left else None
    return Report(stored.path, kind, found, problem)


def _checker_of(stored: Stored) -> tuple[str, Checker | None]:
    keys, repository = set(stored.arrays), str(stored.config.get("repo", ""))
    if "inputs/sims" in keys and "outputs/i2t_ranks" in {k.split("@")[0] for k in keys}:
        return "evaluation", check_evaluation
    if "vocab_subset" in stored.config:
        return "tokens", check_tokens
    if "inputs/scores" in keys:
        return "loss", check_loss
    if stored.folder("weights") and repository.endswith("/SCAN"):
        return "SCAN", check_scan
    return "unknown", None
