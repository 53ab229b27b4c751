"""Runs of several grids: each once, under one kind of name."""

from __future__ import annotations

from pathlib import Path

import pytest

from itm_book.records import fresh
from itm_book.records.fresh import fresh_runs
from itm_core.errors import InputError
from itm_core.experiments.runs import Spec


def test_a_run_that_two_grids_name_comes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, list[Spec]]] = []

    def train(dataset: Path, specs: list[Spec], **options: object) -> list[str]:
        asked.append((dataset, specs))
        assert options == {"device": "cpu"}
        return [f"run of {spec.recipe}" for spec in specs]

    monkeypatch.setattr(fresh, "train_many", train)
    rows = {
        "methods": ["SCAN t2i", "CHAN, mean"],
        "chan": ["CHAN, mean", "soft coding, mean"],
        "plugins": None,
    }
    found = fresh_runs(rows, "tiny", data="somewhere", seed=3, device="cpu")
    assert list(found) == ["SCAN t2i", "CHAN, mean", "soft coding, mean", "SCAN t2i + CCS"]
    ((dataset, specs),) = asked
    assert dataset == Path("somewhere", "scenes-tiny")
    assert {spec.seed for spec in specs} == {3}
    assert found["soft coding, mean"] == "run of chan-smoke"


def test_runs_of_two_datasets_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "other.yml").write_text(
        "title: other data\n"
        "sizes:\n  smoke: {dataset: photographs, profile: smoke}\n"
        "rows:\n  SAF: {recipe: saf}\n"
    )
    with pytest.raises(InputError, match="one dataset are needed.*photographs, scenes-small"):
        fresh_runs({str(tmp_path / "other.yml"): ["SAF"], "scan": None}, "smoke")
    with pytest.raises(InputError, match="found no rows"):
        fresh_runs({}, "tiny")
