"""Compares this package with reference numbers of the authors' implementations.

A reference file is an ``.npz`` with ``weights/*``, ``inputs/*``, ``outputs/*`` and a JSON
``config``, without pickled objects. Each kind of file has a *checker*, which rebuilds the model
or function of the file and yields a `Difference` for every stored number. A number that no checker
compares is a failure, as is a file of an unknown kind: nothing is skipped silently.
"""

from __future__ import annotations

from pathlib import Path

from itm_book.parity.format import Difference, Report, Stored, read
from itm_book.parity.kinds import kind_of
from itm_book.parity.measures import other_kind, text_checker_of
from itm_core.errors import InputError
from itm_core.files import reading

DOCUMENTS = {".md", ".rst"}  # prose beside the numbers: nothing to compare
READ = ("weights/", "inputs/")  # everything else in a file is compared


def compare(folder_or_file: Path) -> list[Report]:
    """Return a report for every file below a folder (or for one file), sorted by name.

    Raises `InputError` when there is nothing to compare.
    """
    if not folder_or_file.exists():
        remedy = "name a folder of reference numbers, or one of its files"
        raise InputError("no such file or folder", file=folder_or_file, remedy=remedy)
    files = [folder_or_file]
    if folder_or_file.is_dir():
        with reading(folder_or_file):
            next(folder_or_file.iterdir(), None)  # a folder that may not be read seems empty below
        files = sorted(p for p in folder_or_file.rglob("*") if p.is_file())
    files = [p for p in files if p.suffix not in DOCUMENTS and not p.name.startswith(".")]
    reports = [compare_file(path) for path in files]
    if all(report.skipped for report in reports):
        raise InputError(
            "no reference files here",
            file=folder_or_file,
            found=", ".join(sorted({report.kind for report in reports})) or "nothing",
            expected="files with weights, inputs and outputs of an implementation",
        )
    return reports


def compare_file(path: Path) -> Report:
    """Return the report of one reference file.

    An error is reported as a failure of this file, so that the others are still compared.
    """
    try:
        if path.suffix == ".npz":
            return _compare_arrays(path)
        other = other_kind(path)
        if other is not None:
            return Report(path, other, skipped=True)
        checked = text_checker_of(path)
        return Report(path, checked[0], list(checked[1])) if checked else _unknown(path)
    except InputError as error:
        return Report(path, "reference", problem=str(error))
    except Exception as error:  # missing or misshapen arrays raise many types
        reason = f"{type(error).__name__}: {error}"
        return Report(path, "reference", problem=f"cannot be compared: {reason}")


def _compare_arrays(path: Path) -> Report:
    stored = read(path)
    recognised = kind_of(stored)
    if recognised is None:
        return _unknown(path)
    kind, checker = recognised
    return _complete(stored, kind, list(checker(stored)))


def _unknown(path: Path) -> Report:
    return Report(path, "unknown", problem="no module of this package knows it", known=False)


def _complete(stored: Stored, kind: str, differences: list[Difference]) -> Report:
    expected = {key.removeprefix("outputs/") for key in stored.arrays if not key.startswith(READ)}
    left = expected - {d.name for d in differences}
    problem = f"not compared: {', '.join(sorted(left))}" if left else None
    return Report(stored.path, kind, differences, problem)
