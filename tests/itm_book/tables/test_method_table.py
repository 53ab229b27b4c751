"""The table of methods: how each fills in the sentence, and how well it looks."""

from __future__ import annotations

from pathlib import Path

from itm_book.records import grids
from itm_book.tables import method_table
from itm_core.data.dataset import load_dataset
from itm_core.experiments import runs
from tests.micro import SMALL, write_dataset


def test_every_row_fills_in_the_sentence() -> None:
    grid = grids.load("methods")
    table = method_table.components(grid)
    assert table["method"].tolist() == list(grid.rows)
    by_name = table.set_index("method")
    assert by_name.loc["BFAN", "attend"] == "soft, gate prob, both as queries"
    assert by_name.loc["CHAN", "attend"] == "hard, word queries"
    assert by_name.loc["RCAR t2i", "aggregate"] == "pooled by RAR"
    assert by_name.loc["SCAN t2i + CCR + CCS", "plug-in"] == "CCR + CCS"
    assert by_name.loc["VSE-GPO", "attend"] == "no"
    assert by_name.loc["CHAN, mean", ["recipe", "changes"]].tolist() == [
        "chan", "matcher.aggregation=mean",
    ]  # fmt: skip


def test_no_quality_where_nothing_is_known_of_the_words(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "micro")
    run = runs.train_or_load(
        dataset, "scan-t2i-mean", root=tmp_path, overrides=SMALL, device="cpu", progress=False
    )
    assert method_table.qualities({"SCAN": run}, load_dataset(dataset)) == {}
