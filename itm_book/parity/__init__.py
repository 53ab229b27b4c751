"""Reference numbers of the authors' implementations, read into our modules and compared.

A reference file is an ``.npz`` with ``weights/*``, ``inputs/*``, ``outputs/*`` and a JSON
``config``; nothing in it is pickled. Each kind of file has one *checker*, which rebuilds what
the file describes and yields a `Difference` for every number stored in it. A number that no
checker compares is a failure, as is a file that no checker knows: nothing is passed over.
"""

from __future__ import annotations

from pathlib import Path

from itm_book.parity.format import Difference, Report, Stored, read
from itm_book.parity.kinds import kind_of
from itm_book.parity.measures import other_kind, text_checker_of
from itm_core.errors import InputError

DOCUMENTS = {".md", ".rst"}  # prose beside the numbers: nothing to compare
HELD = ("weights/", "inputs/")  # what is read; everything else in a file is to be compared


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
    """Return how our modules compare with one reference file.

    Whatever is wrong with a file is that file's failure: the others are compared all the same.
    """
    try:
        if path.suffix == ".npz":
            return _compare_arrays(path)
        other = other_kind(path)
        if other is not None:
            return Report(path, other, skipped=True)
        known = text_checker_of(path)
        return Report(path, known[0], list(known[1])) if known else _unknown(path)
    except InputError as error:
        return Report(path, "reference", problem=str(error))
    except Exception as error:  # whatever a missing or misshapen array makes a checker raise
        said = f"{type(error).__name__}: {error}"
        return Report(path, "reference", problem=f"cannot be compared: {said}")


def _compare_arrays(path: Path) -> Report:
    stored = read(path)
    known = kind_of(stored)
    if known is None:
        return _unknown(path)
    kind, checker = known
    return _complete(stored, kind, list(checker(stored)))


def _unknown(path: Path) -> Report:
    return Report(path, "unknown", problem="no module of this package knows it", known=False)


def _complete(stored: Stored, kind: str, found: list[Difference]) -> Report:
    held = {key.removeprefix("outputs/") for key in stored.arrays if not key.startswith(HELD)}
    left = held - {d.name for d in found}
    problem = f"not compared: {', '.join(sorted(left))}" if left else None
    return Report(stored.path, kind, found, problem)
