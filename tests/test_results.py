"""Results: a record gives back what the run gave, and ensembles average scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itm_core import recipes, results, retrieval
from itm_core.batch import grids
from itm_core.batch.grids import Grid, Size
from itm_core.errors import InputError
from itm_core.results import Result
from itm_core.runs import folder_of
from itm_core.tables.comparison import compare
from tests.micro import write_dataset

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
def made(home: Path, grid: Grid) -> dict[str, list[Result]]:
    options = {"root": home / "runs", "device": "cpu", "workers": 1, "progress": False}
    return results.made(grid, "tiny", data=home, **options)


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
    assert results.export((r for group in made.values() for r in group), path) == 6
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
    results.export((r for group in made.values() for r in group), path)
    elsewhere = Grid(name="b", title="b", sizes={"tiny": OTHER}, rows=grid.rows)
    with pytest.raises(InputError, match="nothing of grid b is recorded on photographs"):
        results.recorded(elsewhere, "tiny", path=path)
    found = results.recorded(elsewhere, grid.size("tiny"), path=path)
    assert {name: len(group) for name, group in found.items()} == {"SCAN": 2, "SCAN, i2t": 2}


def test_no_rows_ask_for_no_data(grid: Grid, tmp_path: Path) -> None:
    assert results.made(grid, "tiny", data=tmp_path / "nowhere", rows=[]) == {}


def test_exporting_again_replaces_and_keeps_the_rest(
    made: dict[str, list[Result]], grid: Grid, tmp_path: Path
) -> None:
    path = tmp_path / "runs.csv"
    results.export(made["SCAN"], path)
    first = path.read_text(encoding="utf-8")
    results.export(made["SCAN"], path)
    assert path.read_text(encoding="utf-8") == first
    results.export(made["SCAN, i2t"], path)
    assert set(results.recorded(grid, "tiny", path=path)) == {"SCAN", "SCAN, i2t"}


def test_what_was_never_recorded_is_said(grid: Grid, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no record"):
        results.recorded(grid, "tiny", path=tmp_path / "absent.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="wrong columns"):
        results.recorded(grid, "tiny", path=tmp_path / "other.csv")
    results.export([], tmp_path / "empty.csv")
    with pytest.raises(InputError, match="nothing of grid two"):
        results.recorded(grid, "tiny", path=tmp_path / "empty.csv")


def test_the_record_that_ships_can_be_read_by_every_grid() -> None:
    for name in grids.names():
        found = results.recorded(grids.load(name), "smoke")
        for group in found.values():
            for result in group:
                recall = 100 * np.mean(result.ranks.i2t < 1)
                assert result.metrics["i2t_r1"] == pytest.approx(recall, abs=1e-2)
                assert result.metrics["rsum"] == pytest.approx(result.hits[:, 6].mean(), abs=1e-2)


def test_the_record_that_ships_is_of_today_s_recipes() -> None:
    # what a configuration takes from its dataset; another fingerprint makes the record old
    known = {"scenes-small": "47f1da52b3d2cdc3", "flickr8k-2500": "7aa157a78352ab68"}
    ones = [result for result in results.every_recorded() if " + " not in result.run]
    assert len(ones) > 50
    for result in ones:
        data = {"dataset": result.dataset, "fingerprint": known[result.dataset]}
        data |= {"feature_width": 256, "region_count": 36}
        recipe = recipes.get(result.recipe).replace(*result.changes.split())
        folder = folder_of({**data, "seed": result.seed, "recipe": recipe.to_dict()}, "")
        assert str(folder) == result.run


def test_a_run_that_is_not_there_is_named(made: dict[str, list[Result]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished run"):
        results.run_of(made["SCAN"][0], tmp_path)
