"""Comparisons: their numbers are the runs' own, and what they say follows from the numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from itm_core import retrieval
from itm_core.batch.grids import Grid, Row, Size
from itm_core.results import Result
from itm_core.tables import comparison

GRID = Grid(
    name="table",
    title="a table",
    sizes={"tiny": Size(dataset="fake", profile="smoke")},
    rows={
        "host": Row(recipe="scan-t2i-mean", group="SCAN"),
        "host + RCR": Row(recipe="scan-t2i-mean+rcr", host="host", group="SCAN"),
        "other": Row(recipe="scan-i2t-mean", host="host", group="SCAN"),
    },
)
WHERE = {
    "minutes": 0.5,
    "device": "cpu",
    "machine": "a machine",
    "torch": "2",
    "made": "2026-01-02",
}


def fake(seed: int, strength: float, f1: float | None = None, noise: int = 0) -> Result:
    scores = np.random.default_rng(seed + noise).normal(size=(60, 300))
    scores[np.arange(300) // 5, np.arange(300)] += strength
    metrics = retrieval.metrics(scores).flat()
    return Result(
        dataset="fake",
        recipe="a recipe",
        changes="",
        seed=seed,
        run=f"fake/a recipe/{seed}-abc",
        ranks=retrieval.ranks(scores),
        metrics=metrics if f1 is None else {**metrics, "t2i_attention_f1": f1},
        where=WHERE,
    )


def three(strength: float, f1: float | None = None, noise: int = 0) -> list[Result]:
    return [fake(seed, strength, f1, noise) for seed in range(3)]


def test_a_comparison_holds_means_intervals_and_spread() -> None:
    group = three(2.0, 0.5)
    row = comparison.compare({"host": group}, GRID).iloc[0]
    values = [result.metrics["rsum"] for result in group]
    assert row["rsum"] == pytest.approx(np.mean(values))
    assert row["rsum_sd"] == pytest.approx(np.std(values, ddof=1))
    assert row["rsum_low"] < row["rsum"] < row["rsum_high"]
    assert (row["seeds"], row["minutes"], row["group"]) == (3, 0.5, "SCAN")
    assert (row["t2i_attention_f1"], row["t2i_attention_f1_sd"]) == (50, 0)
    assert np.isnan(row["i2t_attention_f1"])


def test_a_readable_table_has_no_column_without_a_number() -> None:
    shown = comparison.readable(comparison.compare({"a": three(2.0, 0.5), "b": three(2.0)}))
    assert shown["attention F1 of words"].tolist() == ["50.0 ± 0.0", ""]
    assert "attention F1 of regions" not in shown
    single = comparison.readable(comparison.compare({"a": [fake(0, 2.0)]}))
    assert "±" not in single["rSum"][0]


def test_recall_curves_end_at_the_recalls_of_the_runs() -> None:
    group = three(1.5)
    curve = comparison.recall_curves({"a": group})["a"]
    for cut in (1, 5, 10):
        for side, name in enumerate(("i2t", "t2i")):
            mean = np.mean([result.metrics[f"{name}_r{cut}"] for result in group])
            assert curve[side, cut - 1] == pytest.approx(mean)


def test_a_gain_is_paired_by_seed_and_image() -> None:
    host, plugged = three(1.5, 0.4), three(2.2, 0.6)
    table = comparison.gains({"host": host, "host + RCR": plugged[::-1]}, GRID)
    assert table["name"].tolist() == ["host + RCR"]
    row = table.iloc[0]
    each = [a.metrics["rsum"] - b.metrics["rsum"] for a, b in zip(plugged, host, strict=True)]
    assert row["gain"] == pytest.approx(np.mean(each))
    assert row["spread"] == pytest.approx(np.std(each, ddof=1))
    assert (row["seeds"], row["says"]) == (3, "gain")
    assert row["words"] == pytest.approx(20)
    assert np.isnan(row["regions"])
    assert row["low"] < row["gain"] < row["high"]


def test_seeds_without_a_partner_and_rows_without_a_host_are_left_out() -> None:
    found = comparison.gains({"host": [fake(0, 1.5)], "host + RCR": three(2.2)}, GRID)
    assert found["seeds"].tolist() == [1]
    assert found["says"].tolist() == ["not told apart"]  # a single seed tells nothing
    assert comparison.gains({"host + RCR": three(2.2)}, GRID).empty


@pytest.mark.parametrize(
    ("gain", "low", "high", "spread", "seeds", "said"),
    [
        (10, 5, 15, 3, 3, "gain"),
        (-10, -15, -5, 3, 3, "loss"),
        (10, -1, 21, 3, 3, "not told apart"),  # images
        (10, 5, 15, 20, 3, "not told apart"),  # seeds
        (10, 5, 15, np.nan, 1, "not told apart"),
        (0, 0, 0, 0, 3, "not told apart"),
    ],
)
def test_a_difference_must_beat_images_and_seeds(
    gain: float, low: float, high: float, spread: float, seeds: int, said: str
) -> None:
    row = {"gain": gain, "low": low, "high": high, "spread": spread, "seeds": seeds}
    assert comparison.says(row) == said


def claims(strengths: Sequence[float], rows: Sequence[str]) -> str:
    groups = {"host": three(1.5), "host + RCR": three(strengths[0]), "other": three(strengths[1])}
    table = comparison.gains(groups, GRID)
    return comparison.claim(1, "it helps", table, rows)["verdict"]


def test_the_verdict_on_a_claim_follows_the_gains() -> None:
    both = ("host + RCR", "other")
    assert claims((2.5, 2.5), both) == "holds"
    assert claims((2.5, 1.5), both) == "partly"
    assert claims((1.5, 1.5), both) == "not seen"
    assert claims((0.7, 0.7), both) == "contradicted"
    assert claims((2.5, 2.5), ("absent",)) == "not run here"


def test_the_matrix_has_a_cell_for_every_gain() -> None:
    table = comparison.gains({"host": three(1.5), "host + RCR": three(2.2)}, GRID)
    wide = comparison.matrix(table, ["host", "absent"])
    assert wide.loc["host", "RCR"] == pytest.approx(table["gain"][0])
    assert list(wide.index) == ["host"]


def test_rows_made_here_stand_beside_the_recorded_ones() -> None:
    table = comparison.beside({"a": three(2.0), "new": three(2.0)}, {"a": three(2.0)})
    assert table["rSum, recorded"][0] == table["rSum"][0]
    assert table["rSum, recorded"][1] == ""


def test_the_verdict_on_a_table_follows_the_numbers() -> None:
    groups = {"strong": three(3.0), "as strong": three(3.0, noise=10), "weak": three(0.5)}
    said = comparison.verdict(comparison.compare(groups)).data
    assert "Clearly below: weak." in said
    commas = {"strong": three(3.0), "weak": three(0.5), "weak, too": three(0.4)}
    assert "Clearly below: weak; weak, too." in comparison.verdict(comparison.compare(commas)).data
    assert "Not told apart from it:" in said
    assert (
        "Clearly below: weak."
        in comparison.verdict(
            comparison.compare({name: group[:1] for name, group in groups.items()})
        ).data
    )
