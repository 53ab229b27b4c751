"""Comparisons: their numbers are the runs' own, and what they say follows from the numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from itm_book.records import rounding
from itm_book.records.grids import Grid, Row, Size
from itm_book.records.results import Result
from itm_book.tables import comparison
from itm_core.errors import InputError
from itm_core.evaluation import retrieval, statistics

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
    assert shown["attention F1, word queries"].tolist() == ["50.0 ± 0.0", ""]
    assert "attention F1, region queries" not in shown
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
    assert (row["seeds"], row["effect"]) == (3, "gain")
    assert row["words"] == pytest.approx(20)
    assert np.isnan(row["regions"])
    assert row["regions_effect"] == "not testable"
    assert row["low"] < row["gain"] < row["high"]
    oracle = stats.ttest_1samp(each, 0.0)
    assert row["p_seeds"] == pytest.approx(oracle.pvalue)
    ends = oracle.confidence_interval(0.95)
    assert [row["seeds_low"], row["seeds_high"]] == pytest.approx(list(ends))
    error = statistics.image_error(row["low"], row["high"])
    assert row["deviation"] == row["spread"]
    assert row["detectable"] == pytest.approx(
        statistics.detectable(row["spread"], 3, over_images=error)
    )
    assert row["needed"] == statistics.seeds_needed(row["gain"], row["spread"], over_images=error)


def test_seeds_without_a_partner_and_rows_without_a_host_are_left_out() -> None:
    table = comparison.gains({"host": [fake(0, 1.5)], "host + RCR": three(2.2)}, GRID)
    assert table["seeds"].tolist() == [1]
    assert table["effect"].tolist() == ["not testable"]  # a single seed tells nothing
    assert comparison.gains({"host + RCR": three(2.2)}, GRID).empty
    with pytest.raises(InputError, match="row of grid table"):
        comparison.gains({"host": three(1.5)}, GRID, over={"host": "the hosts"})


def shifted(result: Result, rsum: float) -> Result:
    """The same ranks, hence the same images, with another number of the run."""
    return replace(result, metrics={**result.metrics, "rsum": result.metrics["rsum"] + rsum})


def level_by_images(group: list[Result], noise: int = 40) -> list[Result]:
    """Runs whose images differ by chance alone, and whose rSum is lower by 50 for every seed."""
    level = three(1.5, noise=noise)
    lower = [one.metrics["rsum"] - 50 - 0.1 * one.seed for one in group]
    return [
        shifted(one, wanted - one.metrics["rsum"]) for one, wanted in zip(level, lower, strict=True)
    ]


def gain_of(plugged: list[Result], host: list[Result], floor: float = 0.0) -> pd.Series:
    return comparison.gains({"host": host, "host + RCR": plugged}, GRID, floor=floor).iloc[0]


def test_the_larger_of_both_p_values_decides() -> None:
    host, better = three(1.5), three(2.2)
    row = gain_of(better, host)
    assert (row["p_images"], row["p"]) == (1 / statistics.RESAMPLES, row["p_seeds"])
    assert row["effect"] == "gain"
    apart = [shifted(one, change) for one, change in zip(better, (-90, 0, 90), strict=True)]
    row = gain_of(apart, host)  # images as sure as before, seeds are not
    assert row["p_images"] < 0.05 < row["p_seeds"] == row["p"]
    assert row["effect"] == "not significant"
    row = gain_of(level_by_images(host), host)  # seeds are sure, images are not
    assert row["p_seeds"] < 0.05 < row["p_images"] == row["p"]
    assert row["gain"] != 0
    assert row["effect"] == "not significant"


def test_twice_the_standard_error_is_no_gain_with_three_seeds() -> None:
    """t = 3.5 lies between two and the critical 4.30 of two degrees of freedom."""
    host, better = three(1.5), three(2.2)
    each = np.array([1.0, 0.0, -1.0]) + 3.5 / np.sqrt(3)  # mean 3.5 standard errors, sd 1
    plugged = [
        shifted(two, 20 * wanted - (two.metrics["rsum"] - one.metrics["rsum"]))
        for one, two, wanted in zip(host, better, each, strict=True)
    ]
    row = gain_of(plugged, host)
    assert row["p_images"] < 0.05
    assert row["spread"] == pytest.approx(20)
    assert row["effect"] == "not significant"
    assert row["p"] == pytest.approx(2 * stats.t.sf(3.5, 2))


def test_a_floor_under_the_spread_is_believed_instead_of_it() -> None:
    host, better = three(1.5), three(2.2)
    row, floored = gain_of(better, host), gain_of(better, host, floor=500.0)
    assert row["effect"] == "gain"
    assert floored["effect"] == "not significant"
    assert floored["spread"] == row["spread"]
    assert floored["deviation"] == 500
    assert floored["detectable"] == pytest.approx(statistics.detectable(500.0, 3), rel=1e-3)


def test_one_p_value_is_shown_and_it_is_the_one_that_decides() -> None:
    groups = {"host": three(1.5), "host + RCR": three(2.2), "other": three(1.5, noise=40)}
    table = comparison.gains(groups, GRID)
    shown = comparison.readable_gains(table)
    assert [c for c in shown if c.startswith("p")] == ["p"]
    assert shown["p"].tolist() == [comparison.p_value(p) for p in table["p"]]
    assert shown["effect"].tolist() == ["gain", "not significant"]
    assert shown["seeds needed"][0] == ""  # found already
    assert shown["seeds needed"][1] in (f"{table['needed'][1]:.0f}", "> 1000")
    alone = comparison.readable_gains(
        comparison.gains({name: group[:1] for name, group in groups.items()}, GRID)
    )
    assert not {"p", "minimum detectable gain", "seeds needed"} & set(alone)
    assert set(alone["effect"]) == {"not testable"}


def test_the_effect_is_the_second_column_and_what_it_rests_on_is_behind_the_switch() -> None:
    groups = {"host": three(1.5), "host + RCR": three(2.2), "other": three(1.5, noise=40)}
    table = comparison.gains(groups, GRID)
    shown = comparison.readable_gains(table)
    assert list(shown)[:3] == ["method", "effect", "gain in rSum"]
    tests = ["over", "seeds", "p", "minimum detectable gain", "seeds needed"]
    assert shown.attrs["more"] == tests
    twice = comparison.readable_gains(comparison.joined(table, table.assign(host="mean")))
    assert list(twice)[:3] == ["method", "over", "effect"]  # a name alone would not say which
    assert twice.attrs["more"] == tests[1:]


def test_more_seeds_than_anybody_trains_are_said_to_be_more() -> None:
    row = {"effect": "not significant", "needed": np.nan}
    assert comparison.needed(row) == "> 1000"
    assert comparison.needed(row | {"needed": 41.0}) == "41"
    assert comparison.needed({"effect": "loss", "needed": 2.0}) == ""


def test_the_matrix_has_a_cell_for_every_gain() -> None:
    table = comparison.gains({"host": three(1.5), "host + RCR": three(2.2)}, GRID)
    wide = comparison.matrix(table, ["host", "absent"])
    assert wide.loc["host", "RCR"] == pytest.approx(table["gain"][0])
    assert list(wide.index) == ["host"]


def test_rows_made_here_stand_beside_the_recorded_ones() -> None:
    table = comparison.trained_and_recorded({"a": three(2.0), "new": three(2.0)}, {"a": three(2.0)})
    assert table["rSum, recorded"][0] == table["rSum"][0]
    assert table["rSum, recorded"][1] == ""


def of_recipe(recipe: str, rsum: list[float]) -> list[Result]:
    return [
        replace(one, recipe=recipe, run=f"{value}", metrics={**one.metrics, "rsum": value})
        for one, value in zip(three(2.0), rsum, strict=False)
    ]


def test_seeds_are_believed_no_closer_than_rounding_lets_them_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = {"a-smoke": rounding.Spread(10.0, 8)}
    monkeypatch.setattr(rounding, "spread_of", known.get)
    host, row = of_recipe("a-smoke", [300, 310, 320]), of_recipe("a-smoke", [321, 330, 339])
    rows = {"host": host, "host + RCR": row}
    gain = comparison.gains(rows, GRID).iloc[0]
    assert gain["spread"] == pytest.approx(1.0)  # of 21, 20, 19, as measured
    t = 20 / (np.sqrt(2) * 10 / np.sqrt(3))
    assert gain["p_seeds"] == pytest.approx(2 * stats.t.sf(t, 2))
    assert gain["detectable"] == pytest.approx(statistics.detectable(np.sqrt(2) * 10, 3))
    unknown = {
        name: [replace(one, recipe="b-full") for one in group] for name, group in rows.items()
    }
    assert comparison.gains(unknown, GRID).iloc[0]["p_seeds"] == pytest.approx(
        stats.ttest_1samp([21, 20, 19], 0).pvalue
    )
    # a recall other than rSum has another unit
    one = comparison.gains(rows, GRID, "t2i_r1").iloc[0]
    assert one["p_seeds"] == pytest.approx(1.0)


def test_a_fresh_row_outside_what_is_expected_is_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"a-smoke": rounding.Spread(10.0, 8)}
    monkeypatch.setattr(rounding, "spread_of", known.get)
    recorded = {
        "three": of_recipe("a-smoke", [290, 300, 310]),  # reach 49.68
        "one": of_recipe("a-smoke", [300]),  # reach 32.61
        "unknown": of_recipe("b-full", [300]),
    }
    near = {name: of_recipe(group[0].recipe, [332.0]) for name, group in recorded.items()}
    assert comparison.trained_and_recorded(near, recorded)["as expected"].tolist() == [
        "yes",
        "yes",
        "unknown: one seed",
    ]
    far = {"three": of_recipe("a-smoke", [349.8]), "one": of_recipe("a-smoke", [300, 333, 267])}
    assert comparison.trained_and_recorded(far, recorded)["as expected"].tolist() == [
        "no",
        "no: 2 of 3 runs",
    ]
    several = {"three": of_recipe("a-smoke", [332.0, 310.0])}
    table = comparison.trained_and_recorded(several, recorded)
    assert table["as expected"].tolist() == ["yes: 2 runs"]
    assert comparison.trained_and_recorded({"new": near["one"]}, recorded)[
        "as expected"
    ].tolist() == [""]
