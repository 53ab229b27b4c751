"""Effects of normalisations on runs: gains against plain numbers, and every number shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from itm_book.batch.normalised_scores import normalised, score_bank
from itm_book.chapters.similarity_distributions import hubs
from itm_core.data.dataset import Dataset, load_dataset
from itm_core.evaluation import retrieval
from itm_core.evaluation.hubness import hubness
from itm_core.experiments import runs
from tests.micro import SMALL, write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_dataset(write_dataset(tmp_path_factory.mktemp("hubs") / "micro"))


@pytest.fixture(scope="module")
def run(data: Dataset) -> runs.Run:
    given = {"overrides": SMALL, "root": data.test.folder.parent / "runs", "progress": False}
    return runs.train_or_load(data, "scan-t2i-mean", device="cpu", **given)


def test_effects_are_those_of_the_normalised_matrices(run: runs.Run, data: Dataset) -> None:
    effects = hubs.hub_effects({"SCAN": run}, data.test).set_index("normalisation")
    bank = score_bank([run], data.test, data.train)
    plain = retrieval.metrics(run.scores)
    for kind, row in effects.iterrows():
        after = normalised(run.scores, str(kind), bank)
        assert row["rsum"] == pytest.approx(plain.rsum)
        assert row["gain"] == pytest.approx(retrieval.metrics(after).rsum - plain.rsum)
        assert row["low"] <= row["gain"] <= row["high"]
        assert row["skewness"] == hubness(run.scores)["t2i"].skewness
        assert row["skewness_after"] == hubness(after)["t2i"].skewness
        assert row["never_after"] == hubness(after, 1)["t2i"].never
    assert effects["queries"].to_dict() == {
        "sinkhorn": "test",
        "querybank": "training",
        "csls": "test",
    }


def effects(*gains: float) -> pd.DataFrame:
    """Made-up effects of two methods: a gain for each normalisation, its interval one wide."""
    rows = [
        {"method": method, "normalisation": kind, "queries": "test", "rsum": 300.0, "gain": gain}
        | {"low": gain - 0.5, "high": gain + 0.5, "skewness": 2.0, "skewness_after": 0.5}
        | {"never": 10.0, "never_after": 1.0}
        for method, gain in zip(("a", "b"), gains, strict=True)
        for kind in hubs.NORMALISATIONS
    ]
    return pd.DataFrame(rows)


def test_table_and_summary_show_gains_intervals_and_hubness() -> None:
    table = hubs.hub_table(effects(3.0, -2.0))
    assert table["method"].tolist() == ["a", "b"]
    assert table["sinkhorn: gain in rSum"].tolist() == ["+3.0 [+2.5, +3.5]", "-2.0 [-2.5, -1.5]"]
    assert table.loc[0, "skewness"] == "2.00"
    assert table.loc[0, "csls: skewness"] == "0.50"
    summary = hubs.hub_summary(effects(3.0, -2.0)).set_index("normalisation")
    assert summary.loc["csls", "mean gain in rSum"] == "+0.5"
    assert summary.loc["csls", "interval above zero"] == "1 of 2 methods"
    assert summary.loc["csls", "interval below zero"] == "1 of 2 methods"
    assert summary.loc["csls", "mean skewness"] == "2.00 → 0.50"


def test_the_figure_draws_every_effect() -> None:
    left, right = hubs.hub_figure(effects(3.0, -2.0)).axes
    dots = [line.get_xdata()[0] for line in right.lines if len(line.get_xdata()) == 1]
    assert dots == [3.0, 3.0, 3.0, -2.0, -2.0, -2.0]
    arrows = [list(line.get_xdata()) for line in left.lines if len(line.get_xdata()) == 2]
    assert arrows == [[2.0, 0.5]] * 6
    np.testing.assert_array_equal([text.get_text() for text in left.get_yticklabels()], ["a", "b"])
