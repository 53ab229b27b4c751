"""Figures of budgets: every seed is drawn, collapsed ones as crosses, missing ones said."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from itm_book.chapters import budget
from itm_book.chapters.budget import SETTINGS
from itm_book.figures import budget_curves
from itm_book.tables import collapse
from tests.itm_book.chapters.test_budget import GRID, PROFILE, made, result
from tests.itm_book.tables.test_collapse import curve

RUNS = made(base=1.5, RCAR=2.0, base_12=1.8, RCAR_12=2.6)


def rcar(runs: object = RUNS, collapsed: frozenset[str] = frozenset()) -> object:
    table = budget.gains_by_setting(runs, GRID, PROFILE, collapsed)
    return table[table["comparison"] == "RCAR t2i over base t2i"]


def texts(figure: Figure, panel: int) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].texts]


def test_a_panel_has_every_seed_and_names_what_was_not_run() -> None:
    table = rcar(collapsed=frozenset({"d/base t2i (12 epochs)/1-a"}))
    figure = budget_curves.gain_curves(table, title="t")
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
    ends = table.loc[table["trained"], ["seeds_low", "seeds_high"]].to_numpy()
    assert low < min(ends.min(), 0)
    assert max(ends.max(), 0) < high


def test_a_collapsed_run_is_a_cross_at_the_edge_and_does_not_set_the_axes() -> None:
    """The host collapses with 12 epochs in all seeds: a gain of hundreds, which is no gain."""
    name = "base t2i (12 epochs)"
    runs = RUNS | {name: [result(name, k, -9.0) for k in range(3)]}
    pinned = frozenset(run.run for run in runs[name])
    others = ("base t2i (3 epochs)", "RCAR t2i (3 epochs)", "base t2i (D 64)", "RCAR t2i (D 64)")
    runs |= {name: [result(name, k, 1.0) for k in range(3)] for name in others}
    table = rcar(runs, pinned)
    (epochs, *_) = budget_curves.gain_curves(table, title="t").axes
    crosses = [line for line in epochs.lines if line.get_marker() == "x"]
    _, high = epochs.get_ylim()
    assert [line.get_ydata()[0] for line in crosses] == [high] * 3
    assert max(table.loc[table["name"] == "RCAR t2i (12 epochs)", "gain"]) > high
    (axes,) = budget_curves.gain_against_host(table, title="t").axes
    (cross,) = [line for line in axes.lines if line.get_marker() == "x"]
    assert cross.get_xdata()[0] == axes.get_xlim()[0]
    assert cross.get_ydata()[0] == axes.get_ylim()[1]


def test_the_wide_intervals_of_two_seeds_do_not_flatten_the_curves() -> None:
    table = rcar()
    wide = table.index[table["seeds"] > 2][-1]
    of_two = table.assign(seeds=table["seeds"].where(table.index != wide, 2))
    of_two.loc[wide, ["seeds_low", "seeds_high"]] = [-4000.0, 4000.0]
    low, high = budget_curves.gain_curves(of_two, title="t").axes[0].get_ylim()
    assert -1000 < low < high < 1000
    of_two.loc[wide, "seeds"] = 3
    low, high = budget_curves.gain_curves(of_two, title="t").axes[0].get_ylim()
    assert low < -4000


def test_one_budget_is_a_sentence_with_its_numbers() -> None:
    table = rcar(made(base=1.5, RCAR=2.0))
    (row,) = budget.tested(table).to_dict("records")
    text = budget_curves.gain_curves(table, title="t").data
    interval = f"over 3 seeds {row['seeds_low']:+.1f} to {row['seeds_high']:+.1f}"
    expected = f"{row['gain']:+.1f} rSum (95 % interval {interval}; {row['effect']})"
    assert text.startswith(f"RCAR t2i over base t2i at the middle budget: {expected}. No chart")
    one = rcar({name: group[:1] for name, group in made(base=1.5, RCAR=2.0).items()})
    assert "one seed, no interval" in budget_curves.gain_curves(one, title="t").data


def test_an_empty_record_is_a_sentence() -> None:
    everything = budget.gains_by_setting({}, GRID, PROFILE)
    for shown in (
        budget_curves.gain_curves(rcar({}), title="t"),
        budget_curves.gain_against_host(everything, title="t"),
    ):
        assert shown.data.startswith("No budget is recorded yet. No chart")
    losses = budget_curves.pinned_losses(collapse.watched({}, {}), title="t")
    assert texts(losses, 0) == ["no curve is recorded yet"]


def test_a_budget_is_one_dot_with_its_change() -> None:
    names = ("base t2i (3 epochs)", "RCAR t2i (3 epochs)")
    runs = RUNS | {name: [result(name, k, 1.0) for k in range(3)] for name in names}
    everything = budget.gains_by_setting(runs, GRID, PROFILE)
    figure = budget_curves.gain_against_host(everything, title="t")
    (axes,) = figure.axes  # the other comparison has no dots
    labels = [text for text in axes.texts if text.get_text()]
    assert {text.get_text() for text in labels} == {"middle", "epochs 3", "epochs 12"}
    at = {tuple(text.xy) for text in labels}
    done = budget.tested(rcar(runs))
    assert at == set(zip(done["host_rsum"], done["gain"], strict=True))


def test_two_dots_are_no_scatter_plot() -> None:
    everything = budget.gains_by_setting(RUNS, GRID, PROFILE)
    text = budget_curves.gain_against_host(everything, title="t").data
    assert "at the middle budget" in text
    assert "at epochs 12" in text


def test_losses_leave_out_the_warm_up_and_say_its_length() -> None:
    lengths = {
        "RCAR t2i (no warm-up)": 0,
        "RCAR t2i (warm-up of 1 epoch)": 1,
        "RCAR t2i": 2,
        "RCAR t2i (warm-up of 4 epochs)": 4,
        "CHAN (warm-up of 3 epochs)": 3,
    }
    runs = {name: [result(name, 0, 1.0)] for name in lengths}
    pinned = collapse.pinned_loss(GRID.rows["RCAR t2i"].at(PROFILE))
    losses = curve(*[9 * pinned] * 4, pinned, 0.5 * pinned)
    watched = collapse.watched(runs, {f"d/{name}/0-a": losses for name in lengths})
    figure = budget_curves.pinned_losses(watched, title="t")
    assert [axes.get_title() for axes in figure.axes] == ["RCAR t2i", "CHAN"]
    dashed, *lines = figure.axes[0].lines
    assert dashed.get_ydata()[0] == 1  # equal scores
    assert [line.get_xdata()[0] for line in lines] == [1, 2, 3, 5]
    assert list(lines[-1].get_ydata()) == pytest.approx([1.0, 0.5])
    assert len({line.get_color() for line in lines}) == 4
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [f"warm-up {length}" for length in range(5)]
