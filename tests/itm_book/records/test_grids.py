"""Grids: files that are checked before anything runs, cells that are runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from itm_book.records import grids
from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.experiments.runs import Spec
from tests.micro import write_dataset

GOOD = """
title: a table
sizes:
  tiny: {dataset: micro, profile: smoke, seeds: [0, 1]}
rows:
  SCAN: {recipe: scan-t2i-mean, group: SCAN}
  SCAN + RCR: {recipe: scan-t2i-mean+rcr, changes: [regulator.steps=1], host: SCAN, group: SCAN}
ensembles:
  both: [SCAN, SCAN + RCR]
fresh: [SCAN]
"""


def write(folder: Path, text: str) -> Path:
    (folder / "table.yml").write_text(text, encoding="utf-8")
    return folder / "table.yml"


def test_a_cell_is_a_row_with_a_seed(tmp_path: Path) -> None:
    grid = grids.load(write(tmp_path, GOOD))
    cells = grid.cells("tiny")
    assert [(c.row, c.spec.seed) for c in cells] == [
        ("SCAN", 0),
        ("SCAN + RCR", 0),
        ("SCAN", 1),
        ("SCAN + RCR", 1),
    ]
    assert cells[1].spec == Spec("scan-t2i-mean+rcr-smoke", 0, ("regulator.steps=1",))
    assert len(grid.cells("tiny", rows=grid.fresh, seeds=[7])) == 1
    assert (grid.host("SCAN + RCR"), grid.host("SCAN"), grid.host("both")) == ("SCAN", "", "")
    assert grid.group("both") == "SCAN"


def test_a_row_is_run_with_those_of_its_own_seeds_that_the_size_has(tmp_path: Path) -> None:
    text = GOOD.replace("group: SCAN}\n  SCAN +", "group: SCAN, seeds: [1, 2]}\n  SCAN +")
    grid = grids.load(write(tmp_path, text))
    runs = [(cell.row, cell.spec.seed) for cell in grid.cells("tiny")]
    assert runs == [("SCAN + RCR", 0), ("SCAN", 1), ("SCAN + RCR", 1)]
    asked = [(cell.row, cell.spec.seed) for cell in grid.cells("tiny", seeds=[7])]
    assert asked == [("SCAN", 7), ("SCAN + RCR", 7)]  # seeds of the caller are those of every row


def test_a_cell_knows_the_folder_of_its_run(tmp_path: Path) -> None:
    write_dataset(tmp_path / "micro")
    cells = grids.load(write(tmp_path, GOOD)).cells("tiny")
    places = grids.folders(cells, tmp_path, tmp_path / "runs")
    assert len(set(places)) == 4
    assert places[0].parent == tmp_path / "runs" / "micro" / "scan-t2i-mean-smoke"
    assert places[2].name.startswith("1-")


@pytest.mark.parametrize(
    ("was", "becomes", "message"),
    [
        ("title: a table\n", "", "missing title"),
        ("fresh:", "refresh:", "unknown key of Grid.*found refresh"),
        ("profile: smoke", "profile: smoked", "unknown recipe"),
        ("{recipe: scan-t2i-mean, ", "{recipe: scam-t2i-mean, ", "row SCAN has no valid recipe"),
        ("regulator.steps=1", "regulator.stairs=1", "row SCAN . RCR has no valid recipe.*stairs"),
        ("regulator.steps=1", "regulator.steps=one", "row SCAN . RCR.*steps"),
        ("host: SCAN,", "host: SCAM,", "row SCAN . RCR: host: no such row"),
        ("fresh: [SCAN]", "fresh: [BFAN]", "fresh: no such row"),
        ("both: [SCAN,", "both: [BFAN,", "ensemble both: no such row"),
        ("group: SCAN}\nens", "group: SCAN, seeds: [-1]}\nens", r"wrong value of rows\.SCAN . RCR"),
        ("seeds: [0, 1]", "seeds: 0", "wrong value of sizes.tiny.seeds.*found 0"),
        ("seeds: [0, 1]", "seeds: [0, -1]", "wrong value of sizes.tiny.seeds.1.*found -1"),
        ("seeds: [0, 1]", "seeds: [0.5]", "wrong value of sizes.tiny.seeds"),
        ("tiny: {", "tiny: {pages: 3, ", "unknown key of sizes.tiny.*found pages"),
        ("title: a table", "name: mine\ntitle: a table", "unknown key of Grid.*found name"),
        ("recipe: scan-t2i-mean, group: SCAN}", "group: SCAN}", r"missing rows\.SCAN\.recipe"),
        ("rows:\n", "rows: 3\nlines:\n", "wrong value of rows.*found 3"),
        ("title: a table", "title: [", "not readable as YAML"),
    ],
)
def test_a_file_with_a_mistake_is_refused(
    was: str, becomes: str, message: str, tmp_path: Path
) -> None:
    assert was in GOOD
    with pytest.raises(InputError, match=message) as caught:
        grids.load(write(tmp_path, GOOD.replace(was, becomes)))
    assert "table.yml" in str(caught.value)


def test_names_of_sizes_are_free(tmp_path: Path) -> None:
    grid = grids.load(write(tmp_path, GOOD.replace("tiny: {", "my laptop: {")))
    assert list(grid.sizes) == ["my laptop"]
    assert len(grid.cells("my laptop")) == 4


def test_what_does_not_exist_is_refused(tmp_path: Path) -> None:
    grid = grids.load(write(tmp_path, GOOD))
    with pytest.raises(InputError, match="expected one of tiny"):
        grid.cells("full")
    with pytest.raises(InputError, match="not a seed"):
        grid.cells("tiny", seeds=[-1])
    with pytest.raises(InputError, match="row of grid table"):
        grid.cells("tiny", rows=["BFAN"])
    with pytest.raises(InputError, match="grid not found"):
        grids.load("nothing")


def test_every_grid_of_the_book_can_be_run_at_every_size() -> None:
    assert {"methods", "rcar", "chan", "contrastive", "plugins", "scan"} <= set(grids.names())
    for name in grids.names():
        grid = grids.load(name)  # checks every row with every profile
        assert {"tiny", "smoke"} < set(grid.sizes)  # and one at least for a longer record
        # a build of the book makes Scenes, and no other data
        assert bool(grid.fresh) == ("full" in grid.sizes)


def test_every_row_has_the_budget_of_its_host() -> None:
    for name in set(grids.names()) - {"lower"}:  # which is about budgets
        grid = grids.load(name)
        for size in grid.sizes.values():
            for row in grid.rows.values():
                if row.host:
                    ours, theirs = row.at(size.profile), grid.rows[row.host].at(size.profile)
                    assert ours.training == theirs.training
                    assert ours.loss.warmup_epochs == theirs.loss.warmup_epochs


def test_every_method_is_a_row_of_the_table_of_methods() -> None:
    named = {row.recipe for row in grids.load("methods").rows.values()}
    families = {name.partition("-")[0] for name in recipes.METHODS}
    assert families <= {name.partition("-")[0] for name in named}
