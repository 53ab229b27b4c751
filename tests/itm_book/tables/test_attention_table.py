"""Tables of attention quality: the numbers of the runs, and gains that follow from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from itm_book.records import grids
from itm_book.tables import attention_table, comparison, verdicts
from itm_core.evaluation import statistics
from tests.itm_book.tables.test_comparison import GRID, fake


def looking(seed: int, precision: float, side: str = "t2i") -> object:
    base = fake(seed, 2.0)
    shares = {"precision": precision, "recall": 0.5, "f1": 0.4}
    named = {f"{side}_attention_{name}": share for name, share in shares.items()}
    return replace(base, metrics={**base.metrics, **named})


def three(precision: float, noise: float = 0.0, side: str = "t2i") -> list:
    return [looking(seed, precision + noise * seed, side) for seed in range(3)]


def test_a_row_holds_mean_and_spread_and_only_directions_that_attend() -> None:
    table = attention_table.quality({"a": three(0.3), "blind": [fake(0, 2.0)]})
    assert table["method"].tolist() == ["a"]
    assert table["precision, word queries"].tolist() == ["30.0 ± 0.0"]
    assert not [name for name in table if "region" in name]


def test_gains_are_paired_by_seed_and_judged_by_their_spread() -> None:
    results = {"host": three(0.30), "host + RCR": three(0.40, 0.01), "other": three(0.29, 0.02)}
    table = attention_table.gains(results, GRID).set_index("name")
    row = table.loc["host + RCR"]
    assert row["words_precision"] == pytest.approx(11)
    assert row["words_precision_spread"] == pytest.approx(1)
    assert row["words_precision_effect"] == "gain"
    assert row["words_precision_p"] == pytest.approx(stats.ttest_1samp([10, 11, 12], 0).pvalue)
    assert row["words_precision_detectable"] == pytest.approx(statistics.detectable(1.0, 3))
    assert table.loc["other", "words_precision_effect"] == "not significant"
    assert row["words_f1_effect"] == "not significant"  # no difference at all
    assert np.isnan(row["regions_f1"])
    assert row["regions_f1_effect"] == "not testable"


def test_hard_over_soft_attention_has_a_gain_in_precision_alone() -> None:
    """One region a word cannot have all of several relevant ones, whatever it is."""
    results = {"CHAN": three(0.5), "soft coding": three(0.3), "SCAN t2i": three(0.1)}
    grid = grids.load("flickr8k")
    over = {"CHAN": "soft coding", "SCAN t2i": "soft coding"}
    table = attention_table.gains(results, grid, over=over).set_index("name")
    assert table["words_precision"].to_dict() == pytest.approx({"CHAN": 20, "SCAN t2i": -20})
    assert np.isnan(table.loc["CHAN", ["words_f1", "words_recall"]].to_numpy(float)).all()
    assert table.loc["SCAN t2i", ["words_f1", "words_recall"]].tolist() == [0, 0]
    in_rsum = comparison.gains(results, grid, over=over).set_index("name")
    assert in_rsum["words"].isna().to_dict() == {"CHAN": True, "SCAN t2i": False}


def test_three_scattered_seeds_are_no_gain() -> None:
    """Gains of 2, 3 and 6 points: 3.1 standard errors, and 4.3 are needed."""
    better = [looking(seed, 0.30 + gain) for seed, gain in enumerate((0.02, 0.03, 0.06))]
    table = attention_table.gains({"host": three(0.30), "host + RCR": better}, GRID)
    assert table["words_precision_effect"].tolist() == ["not significant"]
    shown = attention_table.readable_gains(table)
    assert shown["precision, word queries"].tolist() == ["+3.7 ± 2.1"]


def test_a_claim_can_be_about_a_measure() -> None:
    table = attention_table.gains({"host": three(0.3), "host + RCR": three(0.5)}, GRID)
    judged = verdicts.judge(table, of="words_precision")
    assert judged.verdict == "holds"
    assert "+20.0" in judged.evidence


def test_rows_can_be_compared_with_another_and_missing_ones_are_skipped() -> None:
    over = {"host": "other", "other": "host + RCR"}
    table = attention_table.gains({"host": three(0.3), "other": three(0.2)}, GRID, over=over)
    assert table["name"].tolist() == ["host"]
    shown = attention_table.readable_gains(table)
    assert shown["precision, word queries"].tolist() == ["+10.0 ± 0.0, gain"]
    assert "precision, region queries" not in shown
    assert attention_table.readable_gains(attention_table.gains({}, GRID)).empty
