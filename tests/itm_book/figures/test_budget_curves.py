"""Figures of budgets: every seed is drawn, collapsed ones as crosses, missing ones said."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from itm_book.chapters import budget
from itm_book.chapters.budget import SETTINGS
from itm_book.figures import budget_curves
from tests.itm_book.chapters.test_budget import GRID, PROFILE, curve, made, result

RUNS = made(base=1.5, RCAR=2.0, base_12=1.8, RCAR_12=2.6)


def rcar(runs: object = RUNS) -> object:
    table = budget.gains_by_setting(runs, GRID, PROFILE)
    return table[table["comparison"] == "RCAR over base"]


def texts(figure: Figure, panel: int) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].texts]


def test_a_panel_has_every_seed_and_names_what_was_not_run() -> None:
    table = rcar()
    figure = budget_curves.gain_curves(table, {"d/base (12 epochs)/1-a"}, title="t")
    assert [axes.get_title() for axes in figure.axes] == list(SETTINGS)
    epochs = figure.axes[0]
    assert [label.get_text() for label in epochs.get_xticklabels()] == ["3", "6", "12"]
    assert texts(figure, 0) == ["not run"]
    dots = {
        (line.get_xdata()[0], line.get_ydata()[0]): line.get_marker()
        for line in epochs.lines
        if line.get_marker() in ("o", "x") and line.get_markersize() == 4
    }
    rows = table[table["setting"] == "epochs"].set_index("value")
    wanted = {
        (place, difference): "x" if (place, seed) == (2, 1) else "o"
        for place, value in ((1, 6), (2, 12))
        for seed, difference in enumerate(rows.loc[value, "differences"])
    }
    assert dots == wanted
    low, high = epochs.get_ylim()
    assert all(low < difference < high for _, difference in wanted)


def test_an_empty_record_is_drawn_as_not_run() -> None:
    figure = budget_curves.gain_curves(rcar({}), set(), title="t")
    assert [set(texts(figure, k)) for k in range(6)] == [{"not run"}] * 6
    everything = budget.gains_by_setting({}, GRID, PROFILE)
    both = budget_curves.gain_against_host(everything, title="t")
    assert [texts(both, k) for k in (0, 1)] == [["not run"], ["not run"]]
    losses = budget_curves.pinned_losses(budget.watched({}, {}), title="t")
    assert texts(losses, 0) == ["no curve is recorded yet"]


def test_a_budget_is_one_dot_with_its_change() -> None:
    everything = budget.gains_by_setting(RUNS, GRID, PROFILE)
    figure = budget_curves.gain_against_host(everything, title="t")
    assert texts(figure, 0) == ["middle", "epochs 12"]
    at = {tuple(text.xy) for text in figure.axes[0].texts}
    done = budget.tested(rcar())
    assert at == set(zip(done["host_rsum"], done["gain"], strict=True))


def test_losses_leave_out_the_warm_up_and_say_its_length() -> None:
    lengths = {
        "RCAR (no warm-up)": 0,
        "RCAR (warm-up of 1 epoch)": 1,
        "RCAR": 2,
        "RCAR (warm-up of 4 epochs)": 4,
        "hard coding (warm-up of 3 epochs)": 3,
    }
    runs = {name: [result(name, 0, 1.0)] for name in lengths}
    pinned = budget.pinned_loss(GRID.rows["RCAR"].at(PROFILE))
    losses = curve(*[9 * pinned] * 4, pinned, 0.5 * pinned)
    watched = budget.watched(runs, {f"d/{name}/0-a": losses for name in lengths})
    figure = budget_curves.pinned_losses(watched, title="t")
    assert [axes.get_title() for axes in figure.axes] == ["RCAR", "hard coding"]
    dashed, *lines = figure.axes[0].lines
    assert dashed.get_ydata()[0] == 1  # equal scores
    assert [line.get_xdata()[0] for line in lines] == [1, 2, 3, 5]
    assert list(lines[-1].get_ydata()) == pytest.approx([1.0, 0.5])
    assert len({line.get_color() for line in lines}) == 4
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [f"warm-up {length}" for length in range(5)]
