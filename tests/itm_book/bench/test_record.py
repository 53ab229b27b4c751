"""The record of benchmarks, and what counts as a regression."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from itm_book.bench import growth, record, scoring, search, training
from itm_book.bench.growth import ScalingPoint
from itm_book.bench.scoring import ScoringSettings, ScoringTiming
from itm_book.search import search_curve
from itm_book.tables import report
from itm_book.tables.notes import note_of
from itm_book.tables.report import MARK
from itm_core import environment
from itm_core.cli import main
from itm_core.errors import InputError


def timing(ours: float = 1.0, method: str = "SCAN t2i") -> ScoringTiming:
    return ScoringTiming(
        method=method,
        ours=ours,
        reference=8,
        bare=0.5,
        flops=1e6,
        reached=1e9,
        pairs=100,
        products=0.5,
        error=1e-7,
        repeats=3,
    )


def test_a_record_keeps_the_newest_of_each(tmp_path: Path) -> None:
    settings = ScoringSettings()
    record.save("scoring", record.scoring_rows([timing(), timing(2, "CHAN")], settings), tmp_path)
    record.save("scoring", record.scoring_rows([timing(0.5)], settings), tmp_path)
    found = record.read("scoring", tmp_path).set_index("method")
    assert found.loc["SCAN t2i", "times_reference"] == 16
    assert found.loc["CHAN", "times_reference"] == 4
    assert found.loc["SCAN t2i", "times_bare"] == 1
    assert found.loc["SCAN t2i", "times_floor"] == pytest.approx(5)
    assert found["machine"].all()
    point = ScalingPoint(method="CHAN", images=5, captions=2, seconds=1, peak=9, before=4)
    record.save("growth", record.growth_rows([point], "cpu"), tmp_path)
    assert record.read("growth", tmp_path)["peak"].tolist() == [9]


def test_compiled_times_are_shown_where_they_were_measured(tmp_path: Path) -> None:
    timed = ScoringTiming(**{**timing(2.0).__dict__, "compiled": 1.6})
    rows = record.scoring_rows([timed, timing(1.0, "CHAN")], ScoringSettings(compile=True))
    record.save("scoring", rows, tmp_path)
    found = record.eager_and_compiled(record.read("scoring", tmp_path))
    assert found["method"].tolist() == ["SCAN t2i"]
    assert found["faster by"].tolist() == ["1.25 x"]


def test_precisions_stand_side_by_side_where_both_were_timing() -> None:
    plain = record.scoring_rows([timing(2.0), timing(1.0, "CHAN")], ScoringSettings())
    short = record.scoring_rows([timing(0.5)], ScoringSettings(precision="bfloat16"))
    other = record.scoring_rows([timing(0.1)], ScoringSettings(precision="bfloat16", images=7))
    found = record.by_precision(pd.concat([plain, short, other]), plain)
    assert found.to_numpy().tolist() == [["SCAN t2i", "16.0", "4.0"]]
    assert list(found)[1].startswith("bfloat16")


def test_a_worse_ratio_is_a_regression_and_seconds_are_not() -> None:
    settings = ScoringSettings()
    old = record.scoring_rows([timing(1.0)], settings)
    assert not record.regressions(record.scoring_rows([timing(1.2)], settings), old)
    slower = ScoringTiming(
        **{**timing().__dict__, "ours": 100.0, "reference": 800.0}
    )  # a slower machine
    assert not record.regressions(record.scoring_rows([slower], settings), old)
    (sentence,) = record.regressions(record.scoring_rows([timing(2.0)], settings), old)
    assert sentence == "SCAN t2i: 4.0 x the speed of its reference, recorded: 8.0 x"
    mixed = record.scoring_rows([timing(2.0), timing(9.0, "CHAN")], settings)
    assert record.regressions(mixed, old) == [sentence]  # of CHAN nothing is recorded
    other = record.scoring_rows([timing(2.0)], ScoringSettings(images=7))
    with pytest.raises(InputError, match="nothing was compared: .* found images 7, captions 500"):
        record.regressions(other, old)


def test_the_check_fails_where_one_is_slower_or_none_is_recorded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = record.scoring_rows([timing(1.0)], ScoringSettings())
    monkeypatch.setattr(record, "read", lambda _: old)
    check = ["bench", "scoring", "--threads", str(torch.get_num_threads()), "--check"]
    for ours, more, status in ((1.0, [], 0), (2.0, [], 1), (1.0, ["--images", "7"], 2)):
        monkeypatch.setattr(scoring, "time_scoring", lambda _, ours=ours: [timing(ours)])
        assert main([*check, *more]) == status
        told = capsys.readouterr()
        assert "" not in told.out.splitlines()
        assert (told.out.count("recorded: 8.0 x"), told.err.count("nothing was compared")) == (
            int(status == 1),
            int(status == 2),
        )


def test_records_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no record"):
        record.read("scoring", tmp_path)
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "bench_scoring.csv", index=False)
    with pytest.raises(InputError, match="columns are missing"):
        record.read("scoring", tmp_path)


OLD = "c0082a58b567+"


def marks(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return column and first cell of the row of every mark."""
    return [
        (name, table.iloc[k, 0])
        for name in table
        for k, note in enumerate(map(note_of, table[name]))
        if note is not None and note.uncommitted
    ]


@pytest.mark.parametrize("commit", [OLD, ""])
def test_what_uncommitted_code_has_measured_is_not_recorded(tmp_path: Path, commit: str) -> None:
    rows = record.scoring_rows([timing(), timing(2, "CHAN")], ScoringSettings())
    with pytest.raises(InputError, match="a record needs code that is in a commit.*Remedy: commit"):
        record.save("scoring", rows.assign(commit=["c0082a58b567", commit]), tmp_path)
    assert not list(tmp_path.iterdir())
    table = pd.DataFrame({"recall": [0.5, 0.6], "commit": ["c0082a58b567", commit]})
    with pytest.raises(InputError, match="a record needs code that is in a commit"):
        search.record(table, tmp_path / "search.csv")
    assert not list(tmp_path.iterdir())
    search.record(table.assign(commit="c0082a58b567"), tmp_path / "search.csv")
    assert search_curve.recorded(tmp_path / "search.csv")["recall"].tolist() == [0.5, 0.6]


@pytest.mark.parametrize("part", ["scoring", "growth", "training"])
def test_nothing_is_measured_that_could_not_be_recorded(
    part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "current_commit", lambda: OLD)
    for module, name in (
        (scoring, "time_scoring"),
        (growth, "time_growth"),
        (training, "time_steps"),
    ):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("measured"))
    threads = ["--threads", str(torch.get_num_threads())]
    assert main(["bench", part, *threads, "--record"]) == 2
    assert "uncommitted changes since c0082a58b567. Remedy" in capsys.readouterr().err


def test_the_search_is_not_measured_where_it_could_not_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search, "current_commit", lambda: None)
    monkeypatch.setattr(search, "load_dataset", lambda _: pytest.fail("measured"))
    assert main(["bench", "search", "--folder", str(tmp_path / "search"), "--record"]) == 2
    assert "no commit of this package" in capsys.readouterr().err
    assert not (tmp_path / "search").exists()


def test_tables_mark_what_uncommitted_code_has_measured() -> None:
    timed = ScoringTiming(**{**timing(2.0).__dict__, "compiled": 1.6})
    rows = record.scoring_rows([timed, timing(1.0, "CHAN")], ScoringSettings(compile=True))
    rows["commit"] = [OLD, "c0082a58b567"]
    assert marks(record.readable(rows)) == [("ours, s", "SCAN t2i")]
    assert marks(record.eager_and_compiled(rows)) == [("as written, s", "SCAN t2i")]
    short = record.scoring_rows(
        [timing(0.5), timing(0.2, "CHAN")], ScoringSettings(precision="bfloat16")
    )
    every = pd.concat([rows, short.assign(commit=["", OLD])])
    assert marks(record.by_precision(every, rows)) == [
        ("bfloat16, x the loop's speed", "SCAN t2i"),
        ("bfloat16, x the loop's speed", "CHAN"),
        ("float32, x the loop's speed", "SCAN t2i"),
    ]


def test_the_record_that_ships_shows_its_marks() -> None:
    rows = record.read("scoring")
    old = rows["commit"].str.endswith("+").sum()
    assert len(marks(record.readable(rows))) == old
    if old:
        assert MARK in report.html(record.readable(rows), "").data
