"""Orders of methods: correlations by hand, and chances by looking at every order."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from itm_book.tables import orderings


def table(values: dict[str, float]) -> pd.DataFrame:
    rows = [
        {"name": name, "group": name[0], "value": v, "low": v - 1, "high": v + 1}
        for name, v in values.items()
    ]
    return pd.DataFrame(rows)


def test_rows_that_both_tables_have_are_paired() -> None:
    pairs = orderings.paired(table({"a": 1, "b": 2, "x": 9}), table({"y": 5, "b": 7, "a": 6}))
    assert pairs.to_dict("records") == [
        {
            "name": "a",
            "x": 1,
            "x_low": 0,
            "x_high": 2,
            "y": 6,
            "y_low": 5,
            "y_high": 7,
            "group": "a",
        },
        {
            "name": "b",
            "x": 2,
            "x_low": 1,
            "x_high": 3,
            "y": 7,
            "y_low": 6,
            "y_high": 8,
            "group": "b",
        },
    ]


def test_the_chance_of_an_order_is_that_of_all_orders() -> None:
    across, up = [1.0, 2, 3, 4, 5], [10.0, 30, 20, 40, 5000]  # ranks count, not values
    pairs = orderings.paired(
        table(dict(zip("abcde", across, strict=True))), table(dict(zip("abcde", up, strict=True)))
    )
    found = orderings.agreement(pairs)
    assert found["spearman"] == pytest.approx(1 - 6 * 2 / (5 * 24))
    assert found["tau_b"] == pytest.approx(8 / 10)
    every = [np.corrcoef(across, order)[0, 1] for order in permutations(range(5))]
    share = np.mean(np.abs(every) >= found["spearman"] - 1e-9)
    assert found["p"] == pytest.approx(share)  # 120 orders: every one of them is looked at
    turned = pairs.assign(y=-pairs["y"])
    assert orderings.agreement(turned)["p"] == pytest.approx(found["p"])
    drawn = orderings.agreement(pairs, orders=100, seed=1)["p"]
    assert drawn == pytest.approx(share, abs=0.1)
    assert drawn * 101 == pytest.approx(round(drawn * 101))  # of 100, and the found order
    assert drawn != orderings.agreement(pairs, orders=100, seed=2)["p"]


def test_tied_values_count_as_equals() -> None:
    """Four methods, two of them equal: of 24 orders, 4 are as far from zero as the found one."""
    up = [1.0, 1, 2, 3]
    pairs = pd.DataFrame({"x": [1.0, 2, 3, 4], "y": up})
    every = [abs(stats.spearmanr(pairs["x"], order).statistic) for order in permutations(up)]
    found = orderings.agreement(pairs)
    assert found["spearman"] == pytest.approx(max(every))
    assert found["tau_b"] == pytest.approx(5 / np.sqrt(6 * 5))  # of six pairs one is tied
    assert found["p"] == pytest.approx(np.mean(np.array(every) >= max(every) - 1e-9)) == 4 / 24


def test_the_interval_is_that_of_drawn_methods() -> None:
    """Slow plain twin: scipy's tau of every resample, one at a time."""
    x, y = np.arange(1.0, 9), np.array([2.0, 1, 4, 3, 6, 5, 8, 7])
    agreed = orderings.agreement(pd.DataFrame({"x": x, "y": y}))
    draw = np.random.default_rng(0).integers(8, size=(orderings.RESAMPLES, 8))
    taus = [stats.kendalltau(x[row], y[row]).statistic for row in draw]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    assert agreed["tau_b"] == pytest.approx(20 / 28)  # 24 pairs alike, four turned
    assert (agreed["tau_low"], agreed["tau_high"]) == pytest.approx((low, high))
    assert low < 20 / 28 < high


def test_a_perfect_order_of_few_methods_has_no_interval() -> None:
    """Every resample of a perfect order is one, which says nothing of other methods."""
    for count, p in ((4, 2 / 24), (8, 2 / math.factorial(8))):
        x = np.arange(float(count))
        found = orderings.agreement(pd.DataFrame({"x": x, "y": x}), orders=50_000)
        assert (found["methods"], found["tau_b"]) == (count, pytest.approx(1))
        assert math.isnan(found["tau_low"])
        assert math.isnan(found["tau_high"])
        assert found["p"] == pytest.approx(p)
    seven = pd.DataFrame({"x": np.arange(7.0), "y": [1.0, 0, 2, 3, 4, 5, 6]})
    assert math.isnan(orderings.agreement(seven)["tau_low"])


@pytest.mark.parametrize(
    ("tau", "low", "p", "says"),
    [
        (0.6, 0.2, 0.01, "carries over in part"),
        (1.0, math.nan, 0.01, "carries over in part"),
        (1.0, math.nan, 2 / 24, "cannot be taken for that on photographs"),  # four methods
        (0.5, -0.4, 0.01, "cannot be taken for that on photographs"),
        (-0.9, math.nan, 0.01, "cannot be taken for that on photographs"),  # the reverse order
    ],
)
def test_an_order_carries_over_only_when_a_test_says_so(
    tau: float, low: float, p: float, says: str
) -> None:
    order = {"methods": 7, "tau_b": tau, "tau_low": low, "tau_high": 1.0, "p": p, "spearman": 0.3}
    text = orderings.on_photographs(order)
    assert text.startswith(f"Kendall's tau-b of 7 methods is {tau:.2f}")
    assert ("[" in text) == (not math.isnan(low))
    assert f", Spearman's rho 0.30 with p = {p:.3f} (1: the same order" in text
    assert text.endswith(says)


def test_a_table_has_a_row_for_each_pair_of_orders() -> None:
    up = dict(zip("abcdefgh", range(8), strict=True))
    same = orderings.paired(table(up), table(up))
    turned = same.assign(y=-same["y"])
    shown = orderings.agreement_table(
        {("here", "there"): same, ("there", "nowhere"): turned, ("a", "b"): same.iloc[:3]}
    )
    assert shown.to_dict("records")[0] == {
        "order": "here",
        "and order": "there",
        "methods": "8",
        "Kendall's tau-b": "1.00",
        "Spearman's rho": "1.00",
        "p": "< 0.001",
    }
    assert shown.loc[1, "Kendall's tau-b"] == "-1.00"
    assert shown.iloc[2].tolist() == ["a", "b", "3", "", "", ""]
