"""Results: a record gives back what the run gave, and ensembles average scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from itm_book.records import grids, results
from itm_book.records.grid_names import grid_names
from itm_book.records.grids import Grid, Size
from itm_book.records.record_files import seal
from itm_book.records.results import Result, Uncommitted
from itm_book.tables.comparison import compare
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.experiments import recipes
from itm_core.experiments.runs import folder_of
from itm_core.json_files import read_json, write_json
from tests.micro import write_dataset
from tests.rights import closed

SMALL = "training.epochs=1, training.batch=16, encoder.embedding=8, encoder.word_width=8"
GRID = f"""
title: two rows
sizes:
  tiny: {{dataset: micro, profile: smoke, seeds: [0, 1]}}
rows:
  SCAN: {{recipe: scan-t2i-mean, changes: [{SMALL}], group: hosts}}
  SCAN, i2t: {{recipe: scan-i2t-mean, changes: [{SMALL}], host: SCAN, group: hosts}}
ensembles:
  both: [SCAN, "SCAN, i2t"]
fresh: [SCAN]
"""

OTHER = Size(dataset="photographs", profile="smoke", seeds=(0, 1))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_dataset(folder / "micro")
    (folder / "two.yml").write_text(GRID.replace("SCAN, i2t:", '"SCAN, i2t":'), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def grid(home: Path) -> Grid:
    return grids.load(home / "two.yml")


@pytest.fixture(scope="module")
def made(home: Path, grid: Grid, committed: str) -> dict[str, list[Result]]:
    options = {"root": home / "runs", "device": "cpu", "workers": 1, "progress": False}
    results.trained(grid, "tiny", data=home, **options)
    for path in (home / "runs").glob("*/*/*/environment.json"):  # made in processes of their own
        write_json(path, read_json(path) | {"commit": committed})
    return results.trained(grid, "tiny", data=home, **options)


def test_rows_are_runs_and_ensembles_are_averages(
    made: dict[str, list[Result]], home: Path
) -> None:
    assert {name: len(group) for name, group in made.items()} == {
        "SCAN": 2,
        "SCAN, i2t": 2,
        "both": 2,
    }
    for seed in (0, 1):
        ones = [results.run_of(made[name][seed], home / "runs") for name in ("SCAN", "SCAN, i2t")]
        assert made["SCAN"][seed].metrics["rsum"] == ones[0].metrics["rsum"]
        mean = (ones[0].scores.astype(float) + ones[1].scores) / 2
        assert made["both"][seed].metrics["rsum"] == retrieval.metrics(mean).rsum
        np.testing.assert_array_equal(made["both"][seed].hits, retrieval.hits(mean))
        np.testing.assert_array_equal(results.scores_of(made["both"][seed], home / "runs"), mean)


def test_what_is_in_the_store_is_found_without_training(
    made: dict[str, list[Result]], grid: Grid, home: Path
) -> None:
    found = results.present(grid, "tiny", data=home, root=home / "runs")
    assert [r.run for r in found["both"]] == [r.run for r in made["both"]]
    assert results.present(grid, "tiny", data=home, root=home / "no runs") == {}


def test_a_record_gives_the_same_table_as_the_runs(
    made: dict[str, list[Result]], grid: Grid, tmp_path: Path
) -> None:
    path = tmp_path / "results" / "runs.csv"
    assert results.write((r for group in made.values() for r in group), path) == 6
    read = results.recorded(grid, "tiny", path=path)
    assert all(result.recorded for group in read.values() for result in group)
    numbers = ["rsum", "rsum_sd", "rsum_low", "rsum_high", "i2t_r1_low", "t2i_r1_high", "minutes"]
    ours, theirs = compare(made, grid)[numbers], compare(read, grid)[numbers]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert "recorded on" in results.status(read)
    assert "made here on" in results.status(made)
    assert "2 seeds" in results.status(read)


def test_a_grid_finds_its_rows_on_the_data_of_another(
    made: dict[str, list[Result]], grid: Grid, tmp_path: Path
) -> None:
    path = tmp_path / "runs.csv"
    results.write((r for group in made.values() for r in group), path)
    elsewhere = Grid(name="b", title="b", sizes={"tiny": OTHER}, rows=grid.rows)
    with pytest.raises(InputError, match="nothing of grid b is recorded on photographs"):
        results.recorded(elsewhere, "tiny", path=path)
    found = results.recorded(elsewhere, grid.size("tiny"), path=path)
    assert {name: len(group) for name, group in found.items()} == {"SCAN": 2, "SCAN, i2t": 2}


def test_no_rows_ask_for_no_data(grid: Grid, tmp_path: Path) -> None:
    assert results.trained(grid, "tiny", data=tmp_path / "nowhere", rows=[]) == {}


def test_exporting_again_replaces_and_keeps_the_rest(
    made: dict[str, list[Result]], grid: Grid, tmp_path: Path
) -> None:
    path = tmp_path / "runs.csv"
    results.write(made["SCAN"], path)
    first = path.read_text(encoding="utf-8")
    results.write(made["SCAN"], path)
    assert path.read_text(encoding="utf-8") == first
    results.write(made["SCAN, i2t"], path)
    assert set(results.recorded(grid, "tiny", path=path)) == {"SCAN", "SCAN, i2t"}


def by(commit: str, result: Result) -> Result:
    """Return a result as if code of another commit had made it."""
    return replace(result, where={**result.where, "commit": commit})


@pytest.mark.parametrize("commit", ["c0082a58b567+", ""])
def test_runs_of_uncommitted_code_are_not_recorded(
    commit: str, made: dict[str, list[Result]], tmp_path: Path
) -> None:
    path = tmp_path / "results" / "runs.csv"
    wrong = by(commit, made["SCAN"][1])
    with pytest.raises(InputError, match="in no commit cannot be recorded") as caught:
        results.write([*made["SCAN, i2t"], wrong], path)
    assert f"1 of 3: {wrong.run} ({commit or 'no commit'})" in str(caught.value)
    assert "commit the code, delete the folders of these runs" in str(caught.value)
    assert not path.parent.exists()
    results.write(made["SCAN, i2t"], path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="1 of 2"):
        results.write([made["SCAN"][0], wrong], path)
    assert path.read_bytes() == before


def test_an_ensemble_is_committed_when_all_its_members_are(
    made: dict[str, list[Result]], home: Path, tmp_path: Path
) -> None:
    pair = [made[name][0] for name in ("SCAN", "SCAN, i2t")]
    runs = [results.run_of(result, home / "runs") for result in pair]
    for members in ([by("a+", pair[0]), pair[1]], [pair[0], by("a+", pair[1])]):
        both = Result.averaged(runs, members)
        assert both.where["commit"] == "a+"
        with pytest.raises(InputError, match="1 of 1"):
            results.write([both], tmp_path / "runs.csv")
    assert Result.averaged(runs, pair).where["commit"] == pair[0].where["commit"]


def test_the_record_knows_what_uncommitted_code_has_made(
    made: dict[str, list[Result]], grid: Grid, tmp_path: Path
) -> None:
    path = tmp_path / "runs.csv"
    results.write((result for group in made.values() for result in group), path)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    old = table["run"] == made["SCAN, i2t"][1].run  # recorded before that was refused
    table.loc[old, "commit"] += "+"
    table.to_csv(path, index=False)
    with pytest.raises(InputError, match="edited"):
        results.recorded(grid, "tiny", path=path)
    seal(tmp_path, {path.name: results.FORM})
    found = results.recorded(grid, "tiny", path=path)
    marked = {n: [isinstance(r.run, Uncommitted) for r in group] for n, group in found.items()}
    assert marked == {"SCAN": [False] * 2, "SCAN, i2t": [False, True], "both": [False, True]}
    runs = [result.run for result in made["SCAN, i2t"]]
    again = results.as_recorded([*runs, "d/r/0-a"], path)
    assert again == [*runs, "d/r/0-a"]
    assert [isinstance(run, Uncommitted) for run in again] == [False, True, False]
    results.write(made["SCAN, i2t"], path)  # made again
    found = results.recorded(grid, "tiny", path=path)
    assert not any(isinstance(r.run, Uncommitted) for group in found.values() for r in group)


def test_a_record_that_may_not_be_read_is_named(
    made: dict[str, list[Result]], grid: Grid, tmp_path: Path
) -> None:
    path = tmp_path / "runs.csv"
    results.write(made["SCAN"], path)
    changed = path.stat().st_mtime_ns
    with closed(path), pytest.raises(InputError, match="may not be read"):
        results._record.__wrapped__(path, changed)


def test_what_was_never_recorded_is_said(grid: Grid, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no record"):
        results.recorded(grid, "tiny", path=tmp_path / "absent.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="wrong columns"):
        results.recorded(grid, "tiny", path=tmp_path / "other.csv")
    assert results.write([], tmp_path / "empty.csv") == 0
    assert not (tmp_path / "empty.csv").exists()
    pd.DataFrame(columns=results.COLUMNS).to_csv(tmp_path / "empty.csv", index=False)
    with pytest.raises(InputError, match="nothing of grid two"):
        results.recorded(grid, "tiny", path=tmp_path / "empty.csv")


def test_the_record_that_ships_can_be_read_by_every_grid() -> None:
    for name in grid_names():
        found = results.recorded(grids.load(name), "smoke")
        for group in found.values():
            for result in group:
                recall = 100 * np.mean(result.ranks.i2t < 1)
                assert result.metrics["i2t_r1"] == pytest.approx(recall, abs=1e-2)
                assert result.metrics["rsum"] == pytest.approx(result.hits[:, 6].mean(), abs=1e-2)


def test_the_record_that_ships_is_of_today_s_recipes() -> None:
    # what a configuration takes from its dataset; another fingerprint makes the record old
    known = {"scenes-small": "47f1da52b3d2cdc3"}
    ones = [result for result in results.every_recorded() if " + " not in result.run]
    assert len(ones) > 50
    for result in ones:
        if result.dataset not in known:  # features that a reader makes have their own
            continue
        data = {"dataset": result.dataset, "fingerprint": known[result.dataset]}
        data |= {"feature_width": 256, "region_count": 36}
        recipe = recipes.get(result.recipe).replace(*result.changes.split())
        folder = folder_of({**data, "seed": result.seed, "recipe": recipe.to_dict()}, "")
        assert str(folder) == result.run


def test_a_run_that_is_not_there_is_named(made: dict[str, list[Result]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished run"):
        results.run_of(made["SCAN"][0], tmp_path)
