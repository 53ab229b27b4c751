"""Grids: files that are checked before anything runs, cells that are runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from itm_book.records import grids
from itm_book.records.grid_names import grid_names
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


def test_hosts_are_those_of_the_grid_or_others_that_it_has(tmp_path: Path) -> None:
    grid = grids.load(write(tmp_path, GOOD))
    assert grid.hosts() == {"SCAN + RCR": "SCAN"}
    assert grid.hosts({"SCAN": "both"}) == {"SCAN": "both"}
    for over in ({"SCAN": "SCAN + RAR"}, {"SCAN + RAR": "SCAN"}):
        with pytest.raises(InputError, match="row of grid table"):
            grid.hosts(over)


def test_results_of_one_group_are_next_to_each_other(tmp_path: Path) -> None:
    other = "  BFAN: {recipe: bfan-equal, group: BFAN}\n  SCAN + RCR:"
    grid = grids.load(str(write(tmp_path, GOOD.replace("  SCAN + RCR:", other))))
    assert list(grid.rows) == ["SCAN", "BFAN", "SCAN + RCR"]
    assert grid.by_group(["SCAN", "BFAN", "SCAN + RCR", "both"]) == [
        "SCAN", "SCAN + RCR", "both", "BFAN"
    ]  # fmt: skip
    assert grid.by_group(["both", "SCAN"]) == ["both", "SCAN"]  # inside a group nothing moves


def test_a_row_is_run_with_those_of_its_own_seeds_that_the_size_has(tmp_path: Path) -> None:
    text = GOOD.replace("group: SCAN}\n  SCAN +", "group: SCAN, seeds: [1, 2]}\n  SCAN +")
    grid = grids.load(write(tmp_path, text))
    runs = [(cell.row, cell.spec.seed) for cell in grid.cells("tiny")]
    assert runs == [("SCAN + RCR", 0), ("SCAN", 1), ("SCAN + RCR", 1)]
    asked = [(cell.row, cell.spec.seed) for cell in grid.cells("tiny", seeds=[7])]
    assert asked == [("SCAN", 7), ("SCAN + RCR", 7)]  # seeds of the caller are those of every row
    assert grid.result_count("tiny") == 4  # the ensemble has the seed that both rows have


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
        ("both: [SCAN, SCAN + RCR]", "both: []", r"ensemble both: two or more rows.*found \[\]"),
        ("both: [SCAN, SCAN + RCR]", "both: [SCAN, SCAN]", "ensemble both: two or more rows"),
        ("both: [SCAN, SCAN +", "both: [SCAN, SCAN, SCAN +", "both: two or more rows, each once"),
        ("both: [SCAN,", "SCAN: [SCAN,", "ensemble SCAN: .*found a row of this name"),
        ("host: SCAN,", "host: SCAN + RCR,", "row SCAN . RCR: host: the row itself"),
        ("group: SCAN}\nens", "group: SCAN, seeds: [-1]}\nens", r"wrong value of rows\.SCAN . RCR"),
        ("seeds: [0, 1]", "seeds: 0", "wrong value of sizes.tiny.seeds.*found 0"),
        ("seeds: [0, 1]", "seeds: [0, -1]", "wrong value of sizes.tiny.seeds.1.*found -1"),
        ("seeds: [0, 1]", "seeds: [0.5]", "wrong value of sizes.tiny.seeds"),
        ("tiny: {", "tiny: {pages: 3, ", "unknown key of sizes.tiny.*found pages"),
        ("title: a table", "name: mine\ntitle: a table", "unknown key of Grid.*found name"),
        ("recipe: scan-t2i-mean, group: SCAN}", "group: SCAN}", r"missing rows\.SCAN\.recipe"),
        ("rows:\n", "rows: 3\nlines:\n", "wrong value of rows.*found 3"),
        ("title: a table", "title: [", "row [0-9]+: not readable as YAML"),
        ("regulator.steps=1", "5", "wrong value of rows.SCAN . RCR.changes.0.*a valid string"),
        ("regulator.steps=1", "null", "wrong value of rows.SCAN . RCR.changes.0"),
        ("regulator.steps=1", "a", "row SCAN . RCR has no valid recipe.*PART.KEY=VALUE"),
        ("regulator.steps=1", "loss.temperature=1", "loss.temperature=1.0 has no effect"),
        ("scan-t2i-mean+rcr", "scan-t2i-mean+rcr+rcr", "rcr is given twice"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "size tiny: seeds: one or more, each once"),
        ("seeds: [0, 1]", "seeds: []", "size tiny: seeds: one or more"),
        ("title: a table", "title: a table\ntitle: b", "row 3: .*the key title is there twice"),
        ("rows:\n", "rows:\n  SCAN: {recipe: saf}\n", "the key SCAN is there twice"),
        ("rows:\n", "rows:\n  1: {recipe: saf}\n", "the key 1 is no text: put it in quotes"),
        ("title: a table", "title: &t a\nfresh: [*t]\nx: y", "an alias: write out"),
        ("title: a table", f"title: {'[' * 40}", "nested more than 20 deep"),
        ("title: a table", "title: !!python/object:os.system x", "could not determine a const"),
        ("title: a table", f"title: {'a' * 2**21}", "too large"),
        ("tiny: {", "../../tiny: {", "size: not the name of a folder.*found '../../tiny'"),
        ("dataset: micro", "dataset: ../../x", "size tiny: dataset: not the name of a folder"),
        ("dataset: micro", "dataset: /tmp", "size tiny: dataset: not the name of a folder"),
        *(
            ("seeds: [0, 1]", f"seeds: [{value}]", "wrong value of sizes.tiny.seeds.0")
            for value in ("-1", "1e22", "1.5", "1.0", "null", "true", "a", "'1'", ".nan", 2**32)
        ),
        *(
            ("seeds: [0, 1]", f"seeds: [0, 1], minutes: {value}", "wrong value of sizes.tiny.min")
            for value in (".inf", ".nan", "-1", "true", "a", "1e300", "null", "'3'")
        ),
    ],
)
def test_a_file_with_a_mistake_is_refused(
    was: str, becomes: str, message: str, tmp_path: Path
) -> None:
    assert was in GOOD
    with pytest.raises(InputError, match=message) as caught:
        grids.load(write(tmp_path, GOOD.replace(was, becomes)))
    assert "table.yml" in str(caught.value)


def test_a_row_is_the_run_of_its_recipe_s_one_name(tmp_path: Path) -> None:
    other = GOOD.replace("scan-t2i-mean+rcr,", "scan-t2i-mean+ccs+ccr+rcr,")
    cells = grids.load(write(tmp_path, other)).cells("tiny")
    assert cells[1].spec.recipe == "scan-t2i-mean+rcr+ccr+ccs-smoke"


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
    with pytest.raises(InputError, match="seeds: one or more, each once; found .1, 1."):
        grid.cells("tiny", seeds=[1, 1])
    with pytest.raises(InputError, match="row of grid table"):
        grid.cells("tiny", rows=["BFAN"])
    with pytest.raises(InputError, match="grid not found"):
        grids.load("nothing")


def test_every_grid_of_the_book_can_be_run_at_every_size() -> None:
    assert {"methods", "rcar", "chan", "contrastive", "plugins", "scan"} <= set(grid_names())
    for name in grid_names():
        grid = grids.load(name)  # checks every row with every profile
        assert {"tiny", "smoke"} < set(grid.sizes)  # and one at least for a longer record
        # a build of the book makes Scenes, and no other data
        assert bool(grid.fresh) == ("full" in grid.sizes)


def test_every_row_has_the_budget_of_its_host() -> None:
    for name in set(grid_names()) - {"lower"}:  # which is about budgets
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


def test_a_method_has_one_name_in_every_grid() -> None:
    """But for `lower` and `budget`, whose rows are named after what is changed."""
    methods: dict[str, tuple[str, ...]] = {}
    for grid in ("atlas", "chan", "contrastive", "flickr8k", "methods", "plugins", "rcar", "scan"):
        for name, row in grids.load(grid).rows.items():
            method = (row.recipe, *sorted(row.changes))
            assert methods.setdefault(name, method) == method, f"{name} of {grid}"
    assert len(set(methods.values())) == len(methods)
