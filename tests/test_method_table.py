"""The table of methods: rows, ensembles, and the record of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itm_core import method_table, retrieval, runs
from itm_core.errors import InputError
from itm_core.grids import METHOD_ROWS, every_method
from itm_core.runs import Run, Spec
from tests.micro import SMALL, write_dataset


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Run]]:
    folder = tmp_path_factory.mktemp("methods")
    dataset = write_dataset(folder / "data")
    small = (*SMALL, "regulator.width=4")
    return {
        name: [
            runs.train_or_load(
                dataset, name, seed=seed, overrides=small, root=folder, progress=False
            )
            for seed in (0, 1)
        ]
        for name in ("scan-t2i-mean", "rcar-t2i", "rcar-i2t")
    }


def test_every_method_is_a_row_and_every_row_a_recipe() -> None:
    specs = every_method("-smoke", [0, 1])
    named = {name for names in METHOD_ROWS.values() for name in names}
    assert named <= set(specs)
    table = method_table.sentences(specs)
    assert table["method"].tolist() == list(specs)
    by_name = table.set_index("method")
    assert by_name.loc["bfan-prob", "attend"] == "soft, gate prob, both ask"
    assert by_name.loc["chan", "attend"] == "hard, words ask"
    assert by_name.loc["rcar-t2i", "aggregate"] == "pooled by RAR"
    assert by_name.loc["scan-t2i-mean+ccr+ccs", "plug-in"] == "CCR + CCS"
    assert by_name.loc["vse-gpo", "attend"] == "no"
    assert all(method_table.group_of(name) for name in specs)


def test_numbers_are_the_runs_own_and_ensembles_are_averages(
    groups: dict[str, list[Run]],
) -> None:
    table = method_table.results(groups).set_index("name")
    assert list(table.index) == [*groups, "rcar, both directions"]
    for name, made in groups.items():
        assert table.loc[name, "rsum"] == pytest.approx(np.mean([r.metrics["rsum"] for r in made]))
    both = [
        retrieval.metrics((a.scores + b.scores) / 2).flat()["rsum"]
        for a, b in zip(groups["rcar-t2i"], groups["rcar-i2t"], strict=True)
    ]
    assert table.loc["rcar, both directions", "rsum"] == pytest.approx(np.mean(both))
    assert table["group"].tolist() == ["hosts", "regulators", "regulators", "regulators"]


def test_a_record_comes_back_as_it_was_written(
    groups: dict[str, list[Run]], tmp_path: Path
) -> None:
    made = method_table.record(groups, tmp_path / "results" / "table.csv")
    read = method_table.recorded(tmp_path / "results" / "table.csv")
    assert read["name"].tolist() == made["name"].tolist()
    np.testing.assert_allclose(read["rsum"], made["rsum"], atol=1e-3)
    assert "2 seeds" in method_table.caption(read)
    beside = method_table.beside(made.iloc[:1], read)
    assert beside.loc[0, "rSum"] in beside.loc[0, "rSum, recorded"]
    shown = method_table.readable(read)
    assert len(shown) == len(read)


def test_a_missing_record_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="itm methods --record"):
        method_table.recorded(tmp_path / "absent.csv")


def test_an_unknown_row_is_refused_before_anything_trains(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown value of row"):
        method_table.made(tmp_path, "-smoke", [0], rows=["scan-upwards"])


def test_specs_of_a_variant_carry_its_changes() -> None:
    specs = every_method("-smoke", [3])
    assert specs["pfan-t2i, no bonus"] == [
        Spec("pfan-t2i-smoke", 3, ("matcher.max_attention_bonus=false",))
    ]
