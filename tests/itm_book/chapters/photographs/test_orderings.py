"""Orders of methods: correlations by hand, and chances by looking at every order."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from itm_book.chapters.photographs import orderings


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
    said = str(orderings.in_words(pairs, "here", "there").data)
    assert f"in {100 * share:.1f} % of cases, so the two are not significantly related" in said
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


def test_words_follow_the_numbers() -> None:
    up = dict(zip("abcdefgh", range(8), strict=True))
    same = orderings.paired(table(up), table(up))
    said = orderings.in_words(same, "here", "there").data
    assert "Over 8 methods" in said
    assert "**1.00**" in said
    assert "in less than 0.1 % of cases, so the two are significantly related" in said
    assert "Best by both is *h*" in said
    mixed = dict(zip("abcdefgh", [3, 7, 1, 5, 2, 6, 0, 4], strict=True))
    said = orderings.in_words(orderings.paired(table(up), table(mixed)), "here", "there").data
    assert "are not significantly related" in said
    assert "Best here is *h*, best there *b*" in said
    assert "too few" in orderings.in_words(same.iloc[:2], "here", "there").data
