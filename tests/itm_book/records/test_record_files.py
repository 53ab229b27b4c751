"""Files of the record: rows and checksums are noted, and what was changed is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest

from itm_book.bench import record
from itm_book.bench.scoring import ScoringSettings
from itm_book.chapters.photographs import tables
from itm_book.records import attention, record_files, replacing, rounding
from itm_book.records.record_files import CHECKSUMS, HEAD, Form, record_text, seal, write_record
from itm_core.cli import main
from itm_core.errors import InputError
from tests.attention_lines import lines_of
from tests.itm_book.bench.test_record import timing
from tests.itm_book.records.test_curves import finished
from tests.itm_book.records.test_rounding import row
from tests.itm_book.tables.test_published import ours

FORM = Form(
    columns=("run", "rsum", "f1"),
    key=("run",),
    ranges={"rsum": (0, 600), "f1": (0, 1)},
    gaps=("f1",),
    problem=lambda row: "a bad run" if row["run"] == "bad" else "",
)
ROWS = [("a", 300.5, 0.5), ("b", 2.0, None), ("c", 600.0, 1.0), ("d", 0.0, 0.0)]
TABLE = pd.DataFrame(ROWS, columns=[*FORM.columns])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A record of four rows."""
    path = tmp_path / "runs.csv"
    write_record(TABLE, path, FORM, digits=6)
    return path


def test_what_is_written_is_read(path: Path) -> None:
    assert record_text(path, FORM) == "run,rsum,f1\na,300.5,0.5\nb,2,\nc,600,1\nd,0,0\n"
    head, line = (path.parent / CHECKSUMS).read_text().splitlines()
    assert head == "file,rows,sha256"
    assert line.startswith("runs.csv,4,")


CHANGES: dict[str, tuple[Callable[[str], str], str]] = {
    "half": (lambda t: "".join(t.splitlines(True)[:3]), "expected 4 rows, .* found 2 rows"),
    "a number": (lambda t: t.replace("300.5", "310.5"), "cut, edited or merged"),
    "two rows exchanged": (lambda t: t.replace("a,", "x,").replace("b,", "a,"), "edited"),
    "a row twice": (lambda t: t + "d,0,0\n", r"row 6: two rows of the same run; found 'row 5'"),
    "inside a row": (lambda t: t[:-3], "row 5: not a whole row"),
    "inside a number": (lambda t: t[:-1], "row 5: the file ends inside a row"),
    "a conflict": (lambda t: t.replace("b,", "<<<<<<< HEAD\nb,"), "row 3: a merge that was not"),
    "an open quote": (lambda t: t.replace("b,", '"b,'), "not readable as CSV"),
    "nan": (lambda t: t.replace("300.5", "nan"), "row 2: rsum is not a finite number"),
    "inf": (lambda t: t.replace("300.5", "-inf"), "row 2: rsum is not a finite number"),
    "too large": (lambda t: t.replace("300.5", "600.1"), "row 2: rsum is out of range"),
    "negative": (lambda t: t.replace("300.5", "-1"), "row 2: rsum is out of range"),
    "text": (lambda t: t.replace("300.5", "x"), "row 2: rsum is out of range"),
    "a gap": (lambda t: t.replace("300.5", ""), "row 2: rsum is out of range"),
    "a bad row": (lambda t: t.replace("a,", "bad,"), "row 2: a bad run"),
    "without a column": (lambda t: t.replace(",f1", ""), "wrong columns"),
    "a column twice": (lambda t: t.replace("f1", "rsum"), "wrong columns"),
    "a cell more": (lambda t: t.replace("a,", "a,a,"), "row 2: not a whole row"),
    "empty": (lambda t: "", "wrong columns"),
}


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize("kind", CHANGES)
def test_what_was_changed_is_refused(kind: str, noted: bool, path: Path) -> None:
    change, message = CHANGES[kind]
    path.write_text(change(path.read_text()))
    if not noted:
        (path.parent / CHECKSUMS).unlink()
        if "edited" in message or "expected" in message:
            assert record_text(path, FORM)  # as former records are read: its rows are valid
            return
    with pytest.raises(InputError, match=message) as error:
        record_text(path, FORM)
    assert str(path) in str(error.value)
    assert "itm results seal" in str(error.value)


def test_bytes_that_are_no_text_are_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"a,", b"\xff,"))
    with pytest.raises(InputError, match=r"runs\.csv: not text; expected UTF-8"):
        record_text(path, FORM)


def test_rows_without_the_form_are_not_written(path: Path) -> None:
    before = path.read_bytes()
    for column, value in (("rsum", float("nan")), ("rsum", float("inf")), ("f1", 2), ("run", "b")):
        with pytest.raises(InputError, match=r"runs\.csv, row"):
            write_record(TABLE.assign(**{column: value}), path, FORM, digits=6)
    assert path.read_bytes() == before
    record_text(path, FORM)


def test_a_change_that_was_meant_is_sealed(path: Path) -> None:
    path.write_text(path.read_text().replace("300.5", "310.5"))
    (path.parent / "other.csv").write_text("a,b\n1,2\n")
    (path.parent / CHECKSUMS).write_text("<<<<<<< HEAD\n")  # a conflict here is no matter
    assert seal(path.parent, {"runs.csv": FORM}) == ["other.csv: 1 rows", "runs.csv: 4 rows"]
    assert "310.5" in record_text(path, FORM)
    path.write_text(path.read_text().replace("310.5", "601"))
    with pytest.raises(InputError, match=r"runs\.csv, row 2"):
        seal(path.parent, {"runs.csv": FORM})


@pytest.mark.parametrize("text", ["x\n", f"{HEAD}\nruns.csv,1\n", f"{HEAD}\na,b,c\n"])
def test_damaged_checksums_are_refused(text: str, path: Path) -> None:
    (path.parent / CHECKSUMS).write_text(text + ">>>>>>> other\n")
    with pytest.raises(InputError, match=rf"{CHECKSUMS}, row \d: not the checksums"):
        record_text(path, FORM)


def test_a_file_that_was_being_replaced_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before and after the rename: the lines of both contents are there."""
    whole = record_files._write_lines
    calls = []

    def once(folder: Path, lines: object) -> None:
        calls.append(folder)
        if len(calls) == 2:
            raise KeyboardInterrupt
        whole(folder, lines)

    former = path.read_bytes()
    monkeypatch.setattr(record_files, "_write_lines", once)
    with pytest.raises(KeyboardInterrupt):
        write_record(TABLE.iloc[:2], path, FORM, digits=6)
    assert record_text(path, FORM).count("\n") == 3
    path.write_bytes(former)
    assert record_text(path, FORM).count("\n") == 5


def judged(seed: int) -> pd.DataFrame:
    line = dict.fromkeys(tables.COLUMNS, "x") | dict.fromkeys(tables.NUMBERS[1:], 0.5)
    return pd.DataFrame([line | {"seed": seed, "pairs": 1, "images": 1}])


def exported(seed: int, path: Path) -> None:
    """Export a run and its curve; ``path`` is either of the two files."""
    run = finished(path.parent / "runs", f"d/r/{seed}-a", [1.0]).run
    replacing.export(
        [replace(ours(seed), run=run)], path.parent / "runs", path.with_name("runs.csv")
    )


WRITERS: dict[str, Callable[[int, Path], Any]] = {
    "runs.csv": exported,
    "curves.csv": exported,
    "attention.csv": lambda k, path: attention.export(lines_of("chan", k), path),
    "spread.csv": lambda k, path: rounding.save([row(k, "1 thread", 300.0)], path),
    "judgements.csv": lambda k, path: tables.export(judged(k), path),
    "bench_scoring.csv": lambda k, path: record.save(
        "scoring", record.scoring_rows([timing(method=f"{k}")], ScoringSettings()), path.parent
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_of_two_that_write_at_once_none_loses_the_rows_of_the_other(
    name: str, tmp_path: Path
) -> None:
    """Both begin while the lock is held: neither may have read before it is free."""
    path = tmp_path / name
    WRITERS[name](0, path)
    writers = [Thread(target=WRITERS[name], args=(k, path)) for k in (1, 2)]
    with record_files.changing(path):
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(0.5)
    for writer in writers:
        writer.join()
    key = {"curves.csv": "run", "bench_scoring.csv": "method"}.get(name, "seed")
    assert pd.read_csv(path)[key].nunique() == 3


def test_a_seal_is_of_the_rows_that_are_there_when_it_is_written(path: Path) -> None:
    sealing = Thread(target=seal, args=(path.parent, {"runs.csv": FORM}))
    with record_files.changing(path):
        sealing.start()
        sealing.join(0.5)
        write_record(TABLE.iloc[:2], path, FORM, digits=6)
    sealing.join()
    assert record_text(path, FORM).count("\n") == 3


def test_the_command_seals_a_folder(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.rename(tmp_path / "own.csv")
    assert main(["results", "seal", str(tmp_path)]) == 0
    assert "own.csv: 4 rows" in capsys.readouterr().out
    assert (tmp_path / CHECKSUMS).read_text().splitlines()[1].startswith("own.csv,4,")
    (tmp_path / "spread.csv").write_text("a\n")
    assert main(["results", "seal", str(tmp_path)]) == 2
    assert "spread.csv, row 1: columns are missing" in capsys.readouterr().err
