"""Budgets: one setting at a time, gains by setting, and trainings that have collapsed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from itm_book.chapters import budget
from itm_book.chapters.budget import MIDDLE, SETTINGS
from itm_book.records import grids
from itm_book.records.results import Result
from itm_book.tables import collapse
from itm_book.tables.report import html
from itm_core.experiments import recipes
from tests.itm_book.tables.test_comparison import fake

GRID = grids.load("budget")
SIZE = GRID.size("record")
PROFILE = SIZE.profile


def result(name: str, seed: int, strength: float) -> Result:
    """Return a made-up result of a row of the grid."""
    row = GRID.rows[name]
    return replace(
        fake(seed, strength, noise=len(name)),
        recipe=row.name_at(PROFILE),
        changes=" ".join(row.changes),
        run=f"d/{name}/{seed}-a",
    )


def made(**strengths: float) -> dict[str, list[Result]]:
    """Return three seeds of rows t2i at the middle, or of the change of 12 epochs (``_12``)."""
    rows = {"base": "base t2i", "RCAR": "RCAR t2i"}
    names = {
        key: rows[key.removesuffix("_12")] + " (12 epochs)" * key.endswith("_12")
        for key in strengths
    }
    return {
        names[key]: [result(names[key], seed, strength) for seed in range(3)]
        for key, strength in strengths.items()
    }


# --- the grid ----------------------------------------------------------------------------------


def without(settings: dict[str, Any], setting: str) -> dict[str, Any]:
    """Return a recipe as a dictionary without one setting, and without the decay after epochs."""
    part, key = SETTINGS[setting]
    also = {"lr_decay_epochs"} if setting == "epochs" else set()
    kept = {k: v for k, v in settings[part].items() if k not in {key} | also}
    return {**settings, part: kept}


@pytest.mark.parametrize("name", [n for n, row in GRID.rows.items() if row.group != MIDDLE])
def test_a_row_differs_from_the_middle_in_its_setting_alone(name: str) -> None:
    row, middle = GRID.rows[name], GRID.rows[collapse.method_of(name)]
    changed, plain = (r.at(PROFILE) for r in (row, middle))
    assert budget.value_of(changed, row.group) != budget.value_of(plain, row.group)
    ours, theirs = (without(recipe.to_dict(), row.group) for recipe in (changed, plain))
    assert ours == theirs


def test_both_sides_of_a_comparison_have_the_same_budget() -> None:
    compared = {name: row for name, row in GRID.rows.items() if row.host}
    assert len(compared) == len(GRID.rows) / 2
    for name, row in compared.items():
        host = GRID.rows[row.host]
        assert row.group == host.group
        assert name.partition(" (")[2] == row.host.partition(" (")[2]
        for setting in SETTINGS:
            values = [budget.value_of(r.at(PROFILE), setting) for r in (row, host)]
            assert values[0] == values[1]


def test_the_first_rows_are_the_middle() -> None:
    assert [row.group for row in GRID.rows.values()][:4] == [MIDDLE] * 4
    assert {row.group for row in GRID.rows.values()} == {MIDDLE, *SETTINGS}


def test_the_steps_of_a_budget_are_captions_over_batch_times_epochs() -> None:
    table = budget.budgets(SIZE).set_index(["budget", "method"])
    # 29,000 photographs of five captions in batches of 128 make 1,132 whole batches
    assert table.loc[("published for Flickr30K", "RCAR"), "steps"] == 40 * 1132
    assert table.loc[("published for Flickr30K", "RCAR"), "D"] == 1024
    middle = table.loc[("middle of this page", "CHAN")]
    assert (middle["photographs"], middle["steps"]) == (2000, 6 * 312)


def test_the_middle_at_the_budget_of_a_record_is_read_from_the_record() -> None:
    small = GRID.size("smoke")
    rows = budget.at_profile(GRID, small, "smoke")
    assert {"base t2i", "RCAR t2i", "CHAN"} <= set(rows)
    assert {r.recipe for r in rows["RCAR t2i"]} == {"rcar-t2i-smoke"}
    assert len(rows["RCAR t2i"]) >= 3
    assert budget.at_profile(GRID, small, "coco") == {}


# --- gains -------------------------------------------------------------------------------------


def test_the_middle_is_a_point_of_every_curve_and_a_change_of_its_own() -> None:
    runs = made(base=1.5, RCAR=2.0, base_12=1.8, RCAR_12=2.6)
    table = budget.gains_by_setting(runs, GRID, PROFILE)
    rcar = table[table["comparison"] == "RCAR t2i over base t2i"]
    done = rcar[rcar["seeds"] > 0]
    assert done.loc[done["name"] == "RCAR t2i", "setting"].tolist() == list(SETTINGS)
    epochs = rcar[rcar["setting"] == "epochs"].set_index("value")
    assert sorted(epochs.index) == [3, 6, 12]
    assert epochs["seeds"].to_dict() == {6: 3, 12: 3, 3: 0}
    each = [
        a.metrics["rsum"] - b.metrics["rsum"]
        for a, b in zip(runs["RCAR t2i (12 epochs)"], runs["base t2i (12 epochs)"], strict=True)
    ]
    assert epochs.loc[12, "differences"] == pytest.approx(each)
    assert epochs.loc[12, "gain"] == pytest.approx(np.mean(each))
    assert epochs.loc[12, "seeds_low"] < np.mean(each) < epochs.loc[12, "seeds_high"]
    assert epochs.loc[12, "rsum"] - epochs.loc[12, "host_rsum"] == pytest.approx(np.mean(each))
    assert np.isnan(epochs.loc[3, "gain"])
    assert not len(table[(table["comparison"] != "RCAR t2i over base t2i") & (table["seeds"] > 0)])


def test_the_finding_names_the_budgets_of_the_largest_and_the_smallest_gain() -> None:
    runs = made(base=1.5, RCAR=2.0, base_12=1.8, RCAR_12=2.6)
    table = budget.gains_by_setting(runs, GRID, PROFILE)
    middle, longer = (
        table.loc[table["name"] == name, "gain"].iloc[0]
        for name in ("RCAR t2i", "RCAR t2i (12 epochs)")
    )
    ends = (
        ("12 epochs", "the middle budget")
        if longer > middle
        else ("the middle budget", "12 epochs")
    )
    expected = f", the largest gain with {ends[0]}, the smallest with {ends[1]}"
    assert expected in budget.finding(table).data
    alone = budget.gains_by_setting(made(base=1.5, RCAR=2.0), GRID, PROFILE)
    assert "largest" not in budget.finding(alone).data
    one = {name: group[:1] for name, group in runs.items()}
    untested = budget.finding(budget.gains_by_setting(one, GRID, PROFILE)).data
    assert "none of 2 budgets can be tested yet" in untested
    assert "largest" not in untested
    assert (
        "no budget is recorded" in budget.finding(budget.gains_by_setting({}, GRID, PROFILE)).data
    )


def test_a_budget_with_a_collapsed_run_is_left_out_of_what_is_said_of_gains() -> None:
    runs = made(base=1.5, RCAR=2.0, base_12=1.8, RCAR_12=2.6)
    pinned = {"d/base t2i (12 epochs)/1-a"}
    table = budget.gains_by_setting(runs, GRID, PROFILE, pinned)
    longer = table[table["name"] == "RCAR t2i (12 epochs)"].iloc[0]
    assert (longer["collapsed"], longer["trained"]) == ([False, True, False], False)
    assert table.loc[table["name"] == "RCAR t2i", "trained"].all()
    assert not table.loc[table["seeds"] == 0, "trained"].any()
    text = budget.finding(table).data
    assert "the only recorded gain is" in text
    assert "; 1 more with a collapsed run is left out" in text
    rcar = table[table["comparison"] == "RCAR t2i over base t2i"]
    claim = budget.at_every_budget(1, "it gains", rcar)
    assert "with a collapsed host: RCAR t2i (12 epochs);" in claim["evidence"]
    assert ", 1 with a collapsed host, " in claim["verdict"]


def test_a_budget_at_which_the_method_alone_collapsed_is_a_failure_of_the_method() -> None:
    runs = made(base=1.5, RCAR=2.0, base_12=1.8, RCAR_12=2.6)
    table = budget.gains_by_setting(runs, GRID, PROFILE, {"d/RCAR t2i (12 epochs)/1-a"})
    rcar = table[table["comparison"] == "RCAR t2i over base t2i"]
    longer = rcar[rcar["name"] == "RCAR t2i (12 epochs)"].iloc[0]
    assert (longer["trained"], longer["host_trained"]) == (False, True)
    claim = budget.at_every_budget(1, "it gains", rcar)
    assert "RCAR t2i (12 epochs) over base t2i (12 epochs): " in claim["evidence"]
    assert "collapsed" not in claim["verdict"]


def test_where_every_budget_collapsed_nothing_was_trained() -> None:
    runs = made(base=1.5, RCAR=2.0)
    table = budget.gains_by_setting(runs, GRID, PROFILE, {"d/base t2i/1-a"})
    assert "no budget was trained; 1 with a collapsed run is left out" in budget.finding(table).data
    rcar = table[table["comparison"] == "RCAR t2i over base t2i"]
    assert budget.at_every_budget(1, "it gains", rcar)["verdict"] == "with a collapsed host"


def test_the_middle_budget_is_named_in_a_verdict() -> None:
    """The same method gains with 12 epochs and loses at the middle."""
    runs = made(base=2.0, RCAR=1.0, base_12=1.0, RCAR_12=2.6)
    table = budget.gains_by_setting(runs, GRID, PROFILE)
    rcar = table[table["comparison"] == "RCAR t2i over base t2i"]
    claim = budget.at_every_budget(1, "it gains", rcar)
    assert claim["verdict"].startswith(
        "mixed so far: helps RCAR t2i (12 epochs); hurts RCAR t2i (middle); 2 of "
    )
    not_run = claim["evidence"].partition("not run here: ")[2].split(" · ")
    assert "RCAR t2i (3 epochs)" in not_run
    assert "RCAR t2i (middle)" not in not_run


def test_a_table_lists_what_was_not_run_and_what_cannot_be_tested() -> None:
    runs = made(base=1.5, RCAR=2.0, base_12=1.8, RCAR_12=2.6)
    runs["RCAR t2i (12 epochs)"] = runs["RCAR t2i (12 epochs)"][:1]
    table = budget.gains_by_setting(runs, GRID, PROFILE)
    rcar = table[table["comparison"] == "RCAR t2i over base t2i"]
    collapsed = {"d/RCAR t2i/1-a", "d/base t2i/0-a", "d/base t2i (12 epochs)/0-a"}
    shown = budget.readable(rcar, collapsed)
    assert len(shown) == rcar["name"].nunique()
    middle = shown.iloc[0]
    assert (middle["setting"], middle["seeds"]) == (MIDDLE, "3")
    assert middle["collapsed"] == "1 of 3, 1 of 3 (host)"
    assert middle[budget.OVER_SEEDS].startswith("[")
    longer = shown[(shown["setting"] == "epochs") & (shown["value"] == "12")].iloc[0]
    assert longer[["seeds", "effect", budget.OVER_SEEDS]].tolist() == ["1", "not testable", ""]
    assert longer["collapsed"] == "1 of 1 (host)"
    absent = shown[(shown["setting"] == "epochs") & (shown["value"] == "3")].iloc[0]
    assert (absent["effect"], absent["gain in rSum"]) == ("not run", "")
    assert "t2i/1-a" in html(shown, "table").data  # the runs behind a number


def test_without_a_record_every_budget_is_not_run() -> None:
    table = budget.gains_by_setting({}, GRID, PROFILE)
    assert not table["seeds"].any()
    assert set(budget.readable(table)["effect"]) == {"not run"}
    assert budget.trend(table).empty
    assert html(budget.trend(table), "Rank <i>.").data == "<p>Rank &lt;i&gt;: none.</p>"
    assert budget.tested(table).empty
    assert budget.status({}) == "no run of this grid is recorded yet"
    assert collapse.collapsed_runs(collapse.watched({}, {})).empty
    left = budget.cells_left(GRID, SIZE, {}).data
    assert left.startswith(f"0 of {3 * len(GRID.rows)} runs")
    changes = {name.partition(" (")[2].rstrip(")") for name in GRID.rows}
    assert all(change in left for change in changes)


def test_what_is_left_is_named() -> None:
    runs = made(base=1.5, RCAR=2.0)
    runs["RCAR t2i"] = runs["RCAR t2i"][:2]
    left = budget.cells_left(GRID, SIZE, runs).data
    assert left.startswith("5 of")
    assert "- **2 of 3 seeds:** middle (RCAR t2i)" in left.splitlines()
    lines = left.splitlines()
    assert "- **Not run, middle:** middle (soft coding and CHAN)" in lines
    assert any(line.startswith("- **Not run, epochs:** 12 epochs, 3 epochs") for line in lines)
    assert not any("warm-up of 4" in line for line in lines if "warm-up:" not in line)


def test_a_gain_that_grows_with_the_host_has_a_correlation_of_one() -> None:
    frame = pd.DataFrame(
        {
            "comparison": "a over b",
            "name": ["a", "a", "a (x)", "a (y)", "a (z)", "a (collapsed)"],
            "seeds": [3, 3, 1, 2, 0, 1],
            "trained": [True, True, True, True, False, False],
            "host_rsum": [100.0, 100.0, 50.0, 150.0, np.nan, 28.0],
            "gain": [2.0, 2.0, -7.0, 8.0, np.nan, 150.0],
        }
    )
    row = budget.trend(frame).iloc[0]
    assert (row["budgets"], row["Spearman's rho"]) == (3, "+1.00")
    assert (row["host's rSum"], row["gain"]) == ("50 to 150", "-7.0 to +8.0")


# --- equal scores ------------------------------------------------------------------------------


def test_equal_scores_cost_the_margin_a_row_and_a_column() -> None:
    loss = recipes.get("rcar-t2i-f30k").loss
    row = budget.equal_scores(loss, [8]).iloc[0]
    assert row["loss, hardest negatives"] == f"{2 * 0.2 * 8:.1f}"
    assert row["loss, all negatives"] == f"{2 * 0.2 * 8 * 7:.1f}"
    assert row["negatives that move, all"] == "56 of 56"
    moved = int(str(row["negatives that move, hardest"]).split()[0])
    assert 8 <= moved <= 2 * 8
