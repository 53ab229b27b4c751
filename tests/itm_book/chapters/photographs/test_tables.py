"""The record of judgements: the lines are those of the runs' scores, and tables read them back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from itm_book.chapters.photographs import tables
from itm_book.chapters.photographs.judgements import (
    agreement,
    between_people,
    judged_difference,
    read_expert,
)
from itm_book.records import grids, results
from itm_book.records.grids import Grid
from itm_book.records.record_files import seal
from itm_book.records.results import Result
from itm_book.tables.notes import note_of
from itm_core import environment
from itm_core.cli import main
from itm_core.data.dataset import load_dataset, load_split
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.experiments import recipes
from itm_core.experiments.runs import configuration
from itm_core.json_files import read_json, write_json
from tests.micro import write_dataset

GRID = """
title: photographs
sizes:
  tiny: {dataset: micro, profile: smoke, seeds: [0, 1]}
rows:
  SCAN: {recipe: scan-t2i-mean, group: hosts}
  regions: {recipe: scan-i2t-mean, group: hosts}
  regions + CCR: {recipe: scan-i2t-mean+ccr, host: regions, group: more}
ensembles:
  both: [SCAN, regions]
"""
FEW = 20  # resamples


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose images have names, three people's ratings, and a grid."""
    folder = tmp_path_factory.mktemp("judged")
    write_dataset(folder / "micro")
    names = {str(2000 + i): f"{2000 + i}_photo.jpg" for i in range(12)}
    (folder / "micro" / "id_mapping.json").write_text(json.dumps(names))
    draw, files = np.random.default_rng(1), list(names.values())
    lines = [
        f"{files[i]}\t{files[(i + step) % 12]}#{step % 5}\t" + "\t".join(map(str, message))
        for i in range(12)
        for step, message in enumerate(draw.integers(1, 5, (4, 3)).tolist())
    ]
    (folder / "ExpertAnnotations.txt").write_text("\n".join(lines) + "\n")
    (folder / "photographs.yml").write_text(GRID)
    return folder


@pytest.fixture(scope="module")
def grid(home: Path) -> Grid:
    return grids.load(home / "photographs.yml")


WHERE = {
    "seconds_training": 60,
    "device": "cpu",
    "device_name": "a machine",
    "packages": {"torch": "2"},
    "python": "3",
    "commit": "c0082a58b567",
    "started": "2026-01-02 00:00",
}


@pytest.fixture(scope="module")
def made(home: Path, grid: Grid) -> dict[str, list[Result]]:
    """Runs as a store has them, with random scores in the place of a training."""
    data, draw = load_dataset(home / "micro"), np.random.default_rng(0)
    cells = grid.cells("tiny")
    for cell, folder in zip(cells, grids.folders(cells, home, home / "runs"), strict=True):
        folder.mkdir(parents=True)
        recipe = recipes.get(cell.spec.recipe).replace(*cell.spec.overrides)
        scores = draw.normal(size=(12, 60)).astype(np.float32)
        np.save(folder / "test_scores.npy", scores)
        write_json(folder / "config.json", configuration(data, recipe, cell.spec.seed))
        write_json(folder / "environment.json", WHERE)
        write_json(folder / "metrics.json", retrieval.report(scores, np.repeat(np.arange(12), 5)))
    return results.present(grid, "tiny", data=home, root=home / "runs")


@pytest.fixture(scope="module")
def lines(home: Path, grid: Grid, made: dict[str, list[Result]]) -> pd.DataFrame:
    assert made
    annotations = home / "ExpertAnnotations.txt"
    options = {"data": home, "root": home / "runs", "resamples": FEW}
    return tables.judge(grid, "tiny", annotations, **options)


def test_lines_are_the_agreement_of_the_scores(
    home: Path, made: dict[str, list[Result]], lines: pd.DataFrame
) -> None:
    split = load_split(home / "micro", "test")
    judged = read_expert(home / "ExpertAnnotations.txt", split)
    assert (judged.own, set(lines["pairs"]), set(lines["images"])) == (12, {36}, {12})
    assert len(lines) == 3 * (1 + 8 + 6 + 2)  # people; 4 rows, 2 seeds; gaps to SCAN, to the host
    by_line = lines.set_index(["run", "against", "measure"])
    scan, plugged, host, both = (made[n][1] for n in ("SCAN", "regions + CCR", "regions", "both"))
    ours, theirs, mean = (results.scores_of(r, home / "runs") for r in (plugged, host, both))
    wanted = {
        (plugged.run, ""): agreement(ours, judged, resamples=FEW),
        (both.run, ""): agreement(mean, judged, resamples=FEW),
        (plugged.run, host.run): judged_difference(ours, theirs, judged, resamples=FEW),
        (both.run, scan.run): judged_difference(
            mean, results.scores_of(scan, home / "runs"), judged, resamples=FEW
        ),
        ("", ""): between_people(judged, resamples=FEW),
    }
    for (run, against), found in wanted.items():
        for measure, value in found.values.items():
            line = by_line.loc[(run, against, measure)]
            assert line["value"] == value
            assert (line["low"], line["high"]) == found.intervals[measure]


def test_the_record_is_the_same_bytes_again_and_keeps_other_runs(
    home: Path, grid: Grid, lines: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "results" / "judgements.csv"
    assert tables.export(lines, path) == 8
    first = path.read_bytes()
    again = tables.judge(
        grid,
        "tiny",
        home / "ExpertAnnotations.txt",
        data=home,
        root=home / "runs",
        resamples=FEW,
    )
    assert tables.export(again, path) == 8
    assert path.read_bytes() == first
    other = lines[lines["recipe"].str.startswith("scan-t2i-mean-smoke")]
    tables.export(other.assign(dataset="elsewhere"), path)
    tables.export(lines.iloc[:0], path)
    kept = [row for row in path.read_bytes().splitlines() if row.startswith(b"micro,")]
    assert kept == first.splitlines()[1:]
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="wrong columns"):
        tables.export(lines, path)


def test_tables_are_means_over_seeds_of_the_record(
    grid: Grid, lines: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "judgements.csv"
    assert tables.recorded(grid, "tiny", path=path).empty
    tables.export(lines, path)
    found = tables.recorded(grid, "tiny", path=path)
    table = tables.compare(found, "spearman").set_index("name")
    assert list(table.index) == ["SCAN", "regions", "both", "regions + CCR"]  # by group
    plain = lines[(lines["against"] == "") & (lines["measure"] == "spearman")]
    values = plain[plain["recipe"] == "scan-i2t-mean-smoke"]
    assert table.loc["regions", "value"] == pytest.approx(values["value"].mean(), abs=1e-5)
    assert table.loc["regions", "low"] == pytest.approx(values["low"].mean(), abs=1e-5)
    assert table.loc["regions", "spread"] == pytest.approx(values["value"].std(), abs=1e-5)
    assert tables.people(found) == pytest.approx(plain_people(lines)["tau_c"], abs=1e-5)
    first = tables.differences(found, "SCAN").set_index("name")
    hosted = tables.differences(found).set_index("name")
    assert list(first.index) == ["regions", "both", "regions + CCR"]
    assert list(hosted.index) == ["regions + CCR"]
    means = tables.compare(found).set_index("name")["value"]
    for gaps, other in ((first, "SCAN"), (hosted, "regions")):
        for name, row in gaps.iterrows():
            assert row["value"] == pytest.approx(means[name] - means[other], abs=2e-5)
    assert "36 pairs of 12 test images of micro (ExpertAnnotations.txt), 2 seeds" in (
        tables.status(found)
    )


def plain_people(lines: pd.DataFrame) -> dict[str, float]:
    people = lines[lines["recipe"] == tables.PEOPLE]
    return dict(zip(people["measure"], people["value"], strict=True))


def test_a_page_shows_every_method_and_the_people(
    grid: Grid, lines: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "judgements.csv"
    tables.export(lines, path)
    shown = tables.readable(tables.recorded(grid, "tiny", path=path), "SCAN")
    assert list(shown["method"]) == [
        "SCAN", "regions", "both", "regions + CCR", "one person against the others"
    ]  # fmt: skip
    people = 100 * plain_people(lines)["tau_c"]
    assert shown["tau-c"].iloc[-1].startswith(f"{people:.1f} [")
    assert list(shown["tau-c over SCAN"] == "") == [True, False, False, False, True]
    assert list(shown["over its host"] == "") == [True, True, True, False, True]
    assert [note_of(cell) is None for cell in shown["tau-c"]] == [False] * 4 + [True]


def test_a_difference_has_the_means_of_the_seeds_that_both_have() -> None:
    """Over two seeds the row is better by 3; its mean over three is that of its host."""
    common = {"measure": "tau_c", "low": 0.0, "high": 0.0, "group": "g", "host": ""}
    host = [
        {"name": "base", "run": f"b{k}", "seed": k, "over": "", "against": "", "value": value}
        for k, value in ((0, 0.40), (2, 0.42))
    ]
    row = [
        {"name": "RCAR", "run": f"r{k}", "seed": k, "over": "", "against": "", "value": value}
        for k, value in ((0, 0.43), (1, 0.34), (2, 0.45))
    ]
    gaps = [
        {
            "name": "RCAR",
            "run": f"r{k}",
            "seed": k,
            "over": "base",
            "against": f"b{k}",
            "value": 0.03,
        }
        for k in (0, 2)
    ]
    lines = pd.DataFrame([common | line for line in (*host, *row, *gaps)])
    lines.loc[lines["name"] == "RCAR", "host"] = "base"
    (found,) = tables.differences(lines).to_dict("records")
    assert (found["seeds"], found["value"]) == (2, pytest.approx(0.03))
    assert (found["own"], found["other"]) == (pytest.approx(0.44), pytest.approx(0.41))
    people = [
        common | line | {"name": tables.PEOPLE, "measure": measure}
        for line in host[:1]
        for measure in tables.MEASURES
    ]
    every = [lines.assign(measure=measure) for measure in tables.MEASURES]
    shown = tables.readable(pd.concat([*every, pd.DataFrame(people)]), "base")
    assert shown["seeds"].tolist() == ["2", "3", ""]
    assert shown["tau-c"].tolist()[:2] == ["41.0 [0.0, 0.0] ± 1.4", "40.7 [0.0, 0.0] ± 5.9"]
    cell = shown["over its host"][1]
    assert cell == "+3.0 [+0.0, +0.0] ± 0.0 (44.0 and 41.0, 2 of 3 seeds)"
    assert note_of(cell).text == "no difference is recorded with seed 1"


def test_agreement_of_a_run_of_uncommitted_code_is_marked(
    grid: Grid,
    made: dict[str, list[Result]],
    lines: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judgements, record = tmp_path / "judgements.csv", tmp_path / "runs.csv"
    tables.export(lines, judgements)
    results.write((result for group in made.values() for result in group), record)
    table = pd.read_csv(record, dtype=str, keep_default_na=False)
    table.loc[table["run"] == made["regions"][1].run, "commit"] += "+"
    table.to_csv(record, index=False)
    seal(tmp_path, {})
    monkeypatch.setattr(
        results, "every_recorded", lambda _: list(results._record(record, 0).values())
    )
    shown = tables.readable(tables.recorded(grid, "tiny", path=judgements), "SCAN")
    notes = dict(zip(shown["method"], map(note_of, shown["tau-c"]), strict=True))
    marked = [name for name, note in notes.items() if note and note.uncommitted]
    assert marked == ["regions", "both"]


@pytest.mark.parametrize("commit", ["c0082a58b567+", None])
def test_runs_of_uncommitted_code_are_not_judged(
    commit: str | None, home: Path, grid: Grid, made: dict[str, list[Result]]
) -> None:
    path = home / "runs" / made["SCAN"][0].run / "environment.json"
    before = read_json(path)
    others = {name: value for name, value in before.items() if name != "commit"}
    write_json(path, others | ({"commit": commit} if commit else {}))
    with pytest.raises(InputError, match=f"cannot be recorded.*2 of 8: {made['SCAN'][0].run}"):
        tables.judge(
            grid,
            "tiny",
            home / "ExpertAnnotations.txt",
            data=home,
            root=home / "runs",
            resamples=FEW,
        )
    write_json(path, before)


def test_a_run_that_was_made_again_has_no_gap_to_what_it_was(
    grid: Grid, lines: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "judgements.csv"
    changed = lines.replace({"against": {run: f"{run}-old" for run in set(lines["run"]) - {""}}})
    tables.export(changed, path)
    table = tables.recorded(grid, "tiny", path=path)
    assert tables.differences(table, "SCAN").empty
    assert len(tables.compare(table)) == 4
    assert "tau-c over SCAN" not in tables.readable(table, "SCAN")


def test_the_command_records_and_mistakes_are_named(
    home: Path,
    made: dict[str, list[Result]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert made
    record = tmp_path / "judgements.csv"
    judge = ["results", "judge", str(home / "photographs.yml"), "--size", "tiny"]
    judge += ["--data", str(home), "--record", str(record), "--annotations"]
    annotations, root = str(home / "ExpertAnnotations.txt"), ["--root", str(home / "runs")]
    assert main([*judge, annotations, *root]) == 0
    assert "photographs: 8 runs and ensembles judged" in capsys.readouterr().out
    before = record.read_bytes()
    for arguments, message in (
        ([annotations, "--root", str(tmp_path)], "no run of this grid is finished"),
        ([str(tmp_path / "none.txt"), *root], "judgements not found"),
        ([annotations, *root, "--over", "BFAN"], "row of grid photographs"),
    ):
        assert main([*judge, *arguments]) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setattr(environment, "current_commit", lambda: "c0082a58b567+")
    assert main([*judge, annotations, *root]) == 2
    assert "uncommitted changes since c0082a58b567. Remedy: commit" in capsys.readouterr().err
    assert record.read_bytes() == before


def test_the_record_that_ships_is_of_recorded_runs() -> None:
    known = {result.run for result in results.every_recorded()}
    grid = grids.load("flickr8k")
    table = tables.recorded(grid, "record")
    methods = table[table["name"] != tables.PEOPLE]
    assert set(methods["run"]) <= known
    assert set(methods["against"]) - {""} <= known
    assert set(table["over"]) - {""} <= set(grid.rows)
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
