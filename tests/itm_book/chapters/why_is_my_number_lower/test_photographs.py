"""Causes on photographs: each against the middle of its method, missing ones said."""

from __future__ import annotations

import pandas as pd
import pytest

from itm_book.chapters.why_is_my_number_lower import photographs, tables
from itm_book.chapters.why_is_my_number_lower.photographs import CAUSES, METHODS
from itm_book.records import grids, results
from tests.itm_book.chapters.test_budget import GRID, result

SCENES = pd.DataFrame(
    {
        "name": list(CAUSES),
        "gain": [-200.0, -60.0, -20.0],
        "low": -300.0,
        "high": 10.0,
        "spread": 5.0,
        "effect": "loss",
        "seeds": 3,
        "runs": [["d/r/0-a"]] * 3,
    }
)


def runs_of(*names: str, strength: float = 1.0) -> dict[str, list[object]]:
    return {name: [result(name, seed, strength) for seed in range(3)] for name in names}


def test_causes_and_methods_are_rows_of_both_grids() -> None:
    assert set(CAUSES) <= set(grids.load("lower").rows)
    for row in METHODS:
        assert {row, *(f"{row} ({change})" for change in CAUSES.values())} <= set(GRID.rows)


def test_the_causes_are_the_largest_that_lie_in_the_training_on_scenes() -> None:
    grid = grids.load("lower")
    changed = tables.row_differences(results.recorded_so_far(grid, "smoke"), grid)
    training = changed[changed["group"].isin(["warm-up", "length", "batch size", "word vectors"])]
    largest = training.loc[training["gain"].abs().nlargest(len(CAUSES)).index, "name"]
    assert largest.tolist() == list(CAUSES)


def test_a_cause_is_compared_with_the_middle_of_its_method() -> None:
    runs = runs_of("base t2i", strength=2.0) | runs_of("base t2i (no warm-up)", strength=0.5)
    runs |= runs_of("CHAN (no warm-up)")  # whose middle is missing
    found = photographs.differences(runs, GRID)
    assert found["name"].tolist() == ["base t2i (no warm-up)"]
    each = [
        a.metrics["rsum"] - b.metrics["rsum"]
        for a, b in zip(runs["base t2i (no warm-up)"], runs["base t2i"], strict=True)
    ]
    assert found["gain"].iloc[0] == pytest.approx(sum(each) / 3)
    shown = photographs.beside(SCENES, found).set_index("cause")
    base, chan = (f"on photographs: {title}" for title in METHODS.values())
    assert shown.loc["no warm-up", base].startswith(f"{sum(each) / 3:+.1f} [")
    assert shown.loc["no warm-up", base].endswith("lower, 3 seeds")
    assert shown.loc["3 epochs", base] == "not run"
    assert set(shown[chan]) == {"not run"}
    scenes = shown.loc["batch 64", "on Scenes: SCAN t2i"]
    assert scenes == "-20.0 [-300.0, +10.0] ± 5.0, lower, 3 seeds"


def test_nothing_recorded_is_said() -> None:
    found = photographs.differences({}, GRID)
    shown = photographs.beside(SCENES[:0], found)
    assert len(shown) == len(CAUSES)
    assert set(shown.drop(columns="cause").to_numpy().flat) == {"not run"}
    assert photographs.status({}).startswith("nothing is recorded")
    assert photographs.order_kept(SCENES, found).data == "Not all of these rows are recorded yet."


@pytest.mark.parametrize(
    ("gains", "effects", "said"),
    [
        (
            [-90.0, -30.0, -5.0],
            ["loss", "loss", "loss"],
            "3 of 3 are significant on both datasets, 3 of them with the sign of Scenes, in the "
            "order of Scenes.",
        ),
        (
            [-5.0, -30.0, 90.0],
            ["loss", "loss", "gain"],
            "3 of 3 are significant on both datasets, 2 of them with the sign of Scenes, in "
            "another order than on Scenes.",
        ),
        (  # the last one has the sign of Scenes, and no test says so
            [-90.0, -30.0, -5.0],
            ["loss", "not significant", "not testable"],
            "1 of 3 is significant on both datasets, 1 of them with the sign of Scenes; 1 not "
            "tested (one seed).",
        ),
        ([-90.0, -30.0, -5.0], ["not testable"] * 3, "not tested (one seed)."),
        (
            [-90.0, -30.0, -5.0],
            ["not significant"] * 3,
            "0 of 3 are significant on both datasets.",
        ),
    ],
)
def test_signs_and_order_are_those_of_significant_differences(
    gains: list[float], effects: list[str], said: str
) -> None:
    names = [f"base t2i ({change})" for change in CAUSES.values()]
    table = pd.DataFrame({"name": names, "gain": gains, "effect": effects})
    text = photographs.order_kept(SCENES, table).data
    assert text == f"**{METHODS['base t2i']}:** {said}"
