"""Gains at two budgets of training: what is said of them, and that the records have them."""

from __future__ import annotations

from scipy import stats

from itm_book.tables import labels, two_budgets


def test_gains_at_two_budgets_are_told() -> None:
    few = {"gain": -3.16, "effect": labels.NO_EFFECT, "seeds": 2, "deviation": 2.0}
    more = {"gain": 25.0, "effect": labels.UNTESTABLE, "seeds": 1, "deviation": float("nan")}
    told = two_budgets.line({"RCAR over base": (few, more)})
    assert "Not known yet." in told
    assert "RCAR over base -3.2 (not significant, 2 seeds) and +25.0 (one seed)" in told
    told = two_budgets.line({"RCAR over base": (few, few)})
    assert "Not known" not in told
    assert (
        told.count("(not significant, 2 seeds), no significant difference over seeds (p = 1.000)")
        == 1
    )
    apart = {"gain": 27.2, "effect": labels.GAIN, "seeds": 3, "deviation": 3.7}
    told = two_budgets.line({"RCAR over base": (few | {"seeds": 3, "deviation": 5.67}, apart)})
    p = stats.ttest_ind_from_stats(-3.16, 5.67, 3, 27.2, 3.7, 3, equal_var=False).pvalue
    assert f"+27.2 (gain, 3 seeds), which differ over seeds (p = {p:.3f})" in told
    assert two_budgets.line({}) == ""
    assert two_budgets.shown({}).data == ""


def test_the_records_have_both_budgets() -> None:
    found = two_budgets.gains()
    assert "RCAR t2i over base t2i" in found
    assert "CHAN over soft coding" in found
    page = two_budgets.shown(found).data
    assert '<a href="budget.html">' in page
