"""Reads and writes the files of the record, with the number of rows and the checksum of each.

``checksums.csv``, in the folder of the files, has a line for each: name, rows, SHA-256.
`write_record` keeps it up to date, and `record_text` refuses a file that differs from its line:
one that was cut, edited or merged. ``itm results seal`` (`seal`) checks every row and writes the
lines anew, for an edit or a merge that was meant. A file without a line is read all the same, as
records were before they had one; its rows are checked too. `changing` holds the lock of the folder
while a file is read, merged and written, so that of two commands none loses the other's rows.

Page: "Batches".
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from itm_core.errors import InputError
from itm_core.files import locked, reading, whole_file
from itm_core.settings import SEEDS

CHECKSUMS = "checksums.csv"
HEAD = "file,rows,sha256"
CONFLICT = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")  # marks of git at the start of a line
NO_NUMBERS = ("nan", "inf", "-inf", "+inf", "infinity", "-infinity")
SEED, PERCENT, SHARE, RSUM = (0, SEEDS - 1), (0, 100), (0, 1), (0, 600)  # ranges
LONGEST_CELL = 2**30  # characters: a row has a rank of every caption in one
ANY = (0, 1e15)  # of a count or a time
Range = tuple[float, float]
Row = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the rows of a file of the record must be.

    Attributes:
        columns: its columns, in order; other columns may follow unless ``exact``.
        key: no two rows have the same values of these; without it no two rows are the same.
        ranges: columns of finite numbers, with the smallest and the largest of each.
        gaps: those of them that may be empty.
        problem: returns what else is wrong with a row, or an empty text.
    """

    columns: Sequence[str] = ()
    exact: bool = True
    key: Sequence[str] = ()
    ranges: Mapping[str, Range] = field(default_factory=dict)
    gaps: Sequence[str] = ()
    problem: Callable[[Row], str] = lambda _: ""


def record_text(path: Path, form: Form) -> str:
    """Return the text of a file of the record, checked.

    Raises `InputError`, with the row, when the file differs from its line in `CHECKSUMS`, cannot
    be parsed, or has a row that does not have the form.
    """
    with reading(path):
        content = path.read_bytes()
    listed = [line for name, line in _listed(path.parent) if name == path.name]
    found = _line(content)
    if listed and found not in listed:
        _rows(path, content, form)  # a conflict or a half row says more
        raise InputError(
            "not the file that was recorded: it was cut, edited or merged",
            file=path,
            expected=_said(listed[-1]),
            found=_said(found),
            remedy=f"get it back (git checkout -- {path}); after a change that was meant: itm "
            f"results seal {path.parent}",
        )
    return _rows(path, content, form)


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Let no other process or thread change the records beside ``path`` during the block."""
    with locked(path.parent / f".{CHECKSUMS}.lock"):
        yield


def write_record(table: pd.DataFrame, path: Path, form: Form, *, digits: int) -> None:
    """Write a file of the record and its line in `CHECKSUMS`, atomically; inside `changing`.

    Both the former and the new line are there while the file is replaced, so that an interrupted
    command leaves a file that can be read. Raises `InputError`, and writes nothing, for rows that
    do not have the form.
    """
    if not path.name.isprintable() or "," in path.name:
        raise InputError("not a name of a record", file=path, remedy="name it like runs.csv")
    text = table.to_csv(index=False, float_format=f"%.{digits}g", lineterminator="\n")
    content = text.encode()
    _rows(path, content, form)
    new = (path.name, _line(content))
    listed = _listed(path.parent)
    if path.exists():
        _write_lines(path.parent, [*listed, new])
    with whole_file(path) as partial:
        partial.write_bytes(content)
    _write_lines(path.parent, [*((n, line) for n, line in listed if n != path.name), new])


def seal(folder: Path, forms: Mapping[str, Form]) -> list[str]:
    """Return a line of text for every file of a record, after writing `CHECKSUMS` anew.

    ``forms`` are those of the known files by name. Raises `InputError`, and writes nothing, when
    a file cannot be parsed or a row does not have the form.
    """
    if not _records_in(folder):
        raise InputError("no record in this folder", file=folder, expected=", ".join(forms))
    lines = []
    with changing(folder / CHECKSUMS):
        for path in _records_in(folder):
            with reading(path):
                content = path.read_bytes()
            _rows(path, content, forms.get(path.name, Form(exact=False)))
            lines.append((path.name, _line(content)))
        _write_lines(folder, lines)
    return [f"{name}: {line[0]} rows" for name, line in lines]


def _records_in(folder: Path) -> list[Path]:
    with reading(folder):
        return sorted(p for p in folder.iterdir() if p.suffix == ".csv" and p.name != CHECKSUMS)


# --- checksums -----------------------------------------------------------------------------------

Line = tuple[int, str]  # rows and SHA-256


def _line(content: bytes) -> Line:
    return max(0, content.count(b"\n") - 1), hashlib.sha256(content).hexdigest()


def _said(line: Line) -> str:
    return f"{line[0]} rows, SHA-256 {line[1]}"


def _listed(folder: Path) -> list[tuple[str, Line]]:
    """Return the names and lines of `CHECKSUMS`; none without that file."""
    path = folder / CHECKSUMS
    if not path.exists():
        return []
    with reading(path):
        head, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    listed = []
    for number, text in enumerate(lines, 2):
        name, rows, digest = [*text.split(","), "", "", ""][:3]
        if head != HEAD or text.count(",") != 2 or not rows.isdecimal() or len(digest) != 64:
            raise InputError(
                "not the checksums of a record",
                file=path,
                row=number,
                expected=HEAD,
                found=repr(text[:60]),
                remedy=f"itm results seal {folder} checks every file and writes it anew, also "
                "after a merge",
            )
        listed.append((name, (int(rows), digest)))
    return listed


def _write_lines(folder: Path, lines: Iterable[tuple[str, Line]]) -> None:
    text = [f"{name},{rows},{digest}" for name, (rows, digest) in sorted(set(lines))]
    with whole_file(folder / CHECKSUMS) as partial:
        partial.write_text("\n".join([HEAD, *text, ""]), encoding="utf-8")


# --- rows ----------------------------------------------------------------------------------------


def _rows(path: Path, content: bytes, form: Form) -> str:
    """Return the text of a file whose rows have the form; raises `InputError` for others."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _wrong(path, None, "not text", "UTF-8", error.reason) from None
    keys: dict[tuple[str, ...], int] = {}
    for number, row in _parsed(path, text, form):
        _require_form(path, number, row, form)
        key = tuple(row[name] for name in form.key or row)
        if key in keys:
            named = ", ".join(form.key) or "values"
            raise _wrong(path, number, f"two rows of the same {named}", None, f"row {keys[key]}")
        keys[key] = number
    return text


def _parsed(path: Path, text: str, form: Form) -> Iterator[tuple[int, Row]]:
    """Yield the number of the line and the cells of each row; raises as `_rows` does."""
    marks = [k for k, line in enumerate(text.split("\n"), 1) if line.startswith(CONFLICT)]
    if marks:
        raise _wrong(
            path, marks[0], "a merge that was not finished", None, "a conflict mark of git"
        )
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = next(reader, [])
        fits = head == [*form.columns] if form.exact else not {*form.columns} - {*head}
        if not fits or len(set(head)) != len(head) or not head:
            problem = "wrong columns" if form.exact else "columns are missing"
            raise _wrong(path, 1, problem, ", ".join(form.columns), ", ".join(head))
        for cells in reader:
            if len(cells) != len(head):
                found = f"{len(cells)} cells"
                raise _wrong(path, reader.line_num, "not a whole row", f"{len(head)} cells", found)
            yield reader.line_num, dict(zip(head, cells, strict=True))
    except csv.Error as error:
        raise _wrong(path, reader.line_num, "not readable as CSV", None, error) from None
    if not text.endswith("\n"):
        raise _wrong(path, reader.line_num, "the file ends inside a row", "a line end", None)


def _require_form(path: Path, number: int, row: Row, form: Form) -> None:
    for name, cell in row.items():
        if cell.strip().casefold() in NO_NUMBERS:
            raise _wrong(path, number, f"{name} is not a finite number", None, cell)
    for name, (low, high) in form.ranges.items():
        if (row[name] or name not in form.gaps) and not _within(row[name], low, high):
            expected = f"a number from {low:g} to {high:g}"
            raise _wrong(path, number, f"{name} is out of range", expected, row[name])
    if problem := form.problem(row):
        raise _wrong(path, number, problem, None, None)


def _within(cell: str, low: float, high: float) -> bool:
    try:
        value = float(cell)
    except ValueError:
        return False
    return math.isfinite(value) and low <= value <= high


def _wrong(
    path: Path, row: int | None, problem: str, expected: object, found: object
) -> InputError:
    return InputError(
        problem,
        file=path,
        row=row,
        expected=expected,
        found=None if found is None else repr(str(found)[:60]),
        remedy=f"get the file back (git checkout -- {path}), or correct it and run: itm results "
        f"seal {path.parent}",
    )
