"""Trainings that collapsed: by their loss, worked out by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from itm_book.tables import collapse
from itm_core.experiments import recipes
from tests.itm_book.chapters.test_budget import GRID, PROFILE, result


def curve(*losses: float) -> pd.DataFrame:
    return pd.DataFrame({"epoch": range(1, len(losses) + 1), "loss": losses, "rsum": 20.0})


def test_a_loss_is_pinned_only_where_the_hardest_negatives_count() -> None:
    recipe = recipes.get("rcar-t2i-f30k").replace(
        "training.batch=32", "loss.margin=0.2", "loss.warmup_epochs=1"
    )
    assert collapse.pinned_loss(recipe) == pytest.approx(12.8)
    found = collapse.against_pinned(curve(12.8, 12.9, 12.0, 12.79), recipe)
    assert found["hardest"].tolist() == [False, True, True, True]
    assert found["pinned"].tolist() == [False, True, False, True]
    assert found["ratio"].tolist() == pytest.approx([1.0, 12.9 / 12.8, 12 / 12.8, 12.79 / 12.8])


def test_runs_that_collapsed_and_runs_that_escaped_are_listed() -> None:
    name = "RCAR t2i (no warm-up)"
    runs = {name: [result(name, seed, 1.0) for seed in range(5)]}
    pinned = collapse.pinned_loss(GRID.rows[name].at(PROFILE))
    assert pinned == pytest.approx(2 * 0.2 * 32)
    curves = {
        f"d/{name}/0-a": curve(pinned, pinned, pinned),
        f"d/{name}/1-a": curve(pinned, pinned, 0.7 * pinned),
        f"d/{name}/2-a": curve(0.9 * pinned, 0.5 * pinned, 0.4 * pinned),
        f"d/{name}/3-a": curve(5 * pinned, 1.2 * pinned, 1.05 * pinned),
    }  # the fifth has no recorded curve
    watched = collapse.watched(runs, curves)
    assert watched["collapsed"].tolist() == [True, False, False, True]
    assert set(watched["method"]) == {"RCAR t2i"}
    assert set(watched["warmup"]) == {0}
    shown = collapse.collapsed_runs(watched)
    assert shown["end"].tolist() == ["collapsed", "escaped", "collapsed"]
    assert shown["pinned in epoch"].tolist() == ["1, 2, 3 of 3", "1, 2 of 3", "none of 3"]
    assert shown["2 x margin x batch"].tolist() == ["12.80"] * 3


def test_a_loss_above_that_of_equal_scores_is_no_better_than_theirs() -> None:
    """Without a warm-up CHAN ended at 1.04 times the loss of equal scores, with an rSum of 7."""
    name = "CHAN (no warm-up)"
    runs = {name: [result(name, seed, 1.0) for seed in range(4)]}
    pinned = collapse.pinned_loss(GRID.rows[name].at(PROFILE))
    ends = (1.04, 0.985, 0.97, 0.5)
    curves = {f"d/{name}/{seed}-a": curve(pinned, end * pinned) for seed, end in enumerate(ends)}
    assert collapse.watched(runs, curves)["collapsed"].tolist() == [True, True, False, False]
    warm = "CHAN (warm-up of 3 epochs)"
    still = {warm: [result(warm, 0, 1.0)]}
    losses = {f"d/{warm}/0-a": curve(9 * pinned, 5 * pinned)}  # all negatives: a larger sum
    assert collapse.watched(still, losses)["collapsed"].tolist() == [False]
