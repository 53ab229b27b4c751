"""Rows against the best one: tested over images and seeds, corrected for their number."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from itm_book.records.results import Result, Results
from itm_book.tables.best_row import against_best
from tests.itm_book.tables.test_comparison import fake, level_by_images, shifted, three

BELOW, LEVEL = "below the best", "not significant"


def found(groups: Results, *names: str, floor: float | None = None) -> dict[str, str]:
    """Return the result of every row, the best one first."""
    table = against_best(groups, list(names) or None, floor=floor)
    return dict(zip(table["method"], table["result"], strict=True))


def test_rows_are_compared_with_the_best_one() -> None:
    groups = {"weak": three(0.5), "strong": three(3.0), "as strong": three(3.0, noise=10)}
    means = {name: np.mean([r.metrics["rsum"] for r in group]) for name, group in groups.items()}
    top, level = sorted(("strong", "as strong"), key=lambda n: -means[n])
    table = against_best(groups)
    assert found(groups) == {top: "best", level: LEVEL, "weak": BELOW}
    assert table["rSum"].tolist() == [f"{means[name]:.1f}" for name in (top, level, "weak")]
    assert table["difference"].tolist()[2] == f"{means['weak'] - means[top]:+.1f}"
    assert table["tested over"].tolist() == ["", "images and seeds", "images and seeds"]
    assert next(iter(found(groups, "weak", level))) == level
    assert list(against_best({"strong": groups["strong"]})) == ["method", "result", "rSum"]


def test_seeds_that_scatter_leave_a_row_level_with_the_best() -> None:
    """Images are sure of it; the means lie apart by more than the spread, which is not enough."""
    best, below = three(3.0), three(1.0)
    gap = np.mean([a.metrics["rsum"] - b.metrics["rsum"] for a, b in zip(best, below, strict=True)])
    moves = np.array([-1.0, 0.0, 1.0]) * gap / 2.2  # the mean is 2.2 spreads: t = 3.8
    scattered = [shifted(one, float(move)) for one, move in zip(below, moves, strict=True)]
    assert stats.ttest_rel(
        [one.metrics["rsum"] for one in best], [one.metrics["rsum"] for one in scattered]
    ).pvalue == pytest.approx(0.06, abs=0.02)
    assert found({"best": best, "row": scattered})["row"] == LEVEL
    assert found({"best": best, "row": below}, floor=1000.0)["row"] == LEVEL
    assert found({"best": best, "row": below})["row"] == BELOW


def test_images_that_are_unsure_leave_a_row_level_with_the_best() -> None:
    best = three(1.5)
    groups = {"best": best, "row": level_by_images(best, noise=41)}
    assert found(groups) == {"best": "best", "row": LEVEL}


def test_a_row_that_is_better_on_the_common_seeds_is_not_below() -> None:
    lucky = [*three(2.0), shifted(fake(3, 2.0), 900.0)]
    assert found({"lucky": lucky, "row": three(2.8)}) == {"lucky": "best", "row": LEVEL}


def test_rows_below_the_best_are_corrected_for_their_number() -> None:
    """One row at p = 0.02 counts alone, and not among many."""
    best, below = three(3.0), three(1.0)
    gap = np.mean([a.metrics["rsum"] - b.metrics["rsum"] for a, b in zip(best, below, strict=True)])
    wanted = gap + np.array([-1.0, 0.0, 1.0]) * gap * np.sqrt(3) / stats.t.isf(0.01, 2)
    row = [
        shifted(b, float(a.metrics["rsum"] - b.metrics["rsum"] - w))
        for a, b, w in zip(best, below, wanted, strict=True)
    ]
    assert found({"best": best, "row": row})["row"] == BELOW
    many = {"best": best, "row": row} | {f"row {k}": row for k in range(3)}
    assert set(list(found(many).values())[1:]) == {LEVEL}


def test_with_one_seed_images_decide_for_these_models_only() -> None:
    groups = {"strong": [fake(0, 3.0)], "weak": [fake(0, 0.5)]}
    assert found(groups)["weak"] == BELOW
    assert against_best(groups)["tested over"].tolist() == ["", "images (these models only)"]
    mixed = {"strong": three(3.0), "weak": three(0.5), "alone": [fake(0, 0.5)]}
    assert found(mixed)["alone"] == "not testable"
    over = dict(zip(*against_best(mixed)[["method", "tested over"]].T.values, strict=True))
    assert over["weak"] == "images and seeds"
    assert over["alone"] == "nothing: too few seeds"


def test_one_seed_is_never_the_best_of_rows_with_several() -> None:
    """A single lucky run would switch the whole table to a test over images."""
    groups = {"lucky": [fake(0, 4.0)], "strong": three(3.0), "weak": three(0.5)}
    assert found(groups) == {"strong": "best", "lucky": "not testable", "weak": BELOW}
    table = against_best(groups)
    assert table["tested over"].tolist()[1:] == ["nothing: too few seeds", "images and seeds"]
    assert table["difference"].tolist()[1].startswith("+")
    alone = {"lucky": [fake(0, 4.0)], "strong": three(3.0), "also": [fake(1, 0.5)]}
    assert found(alone) == {"strong": "best", "lucky": "not testable", "also": "not testable"}


def other_seeds(group: list[Result]) -> list[Result]:
    return [fake(one.seed + 10, 0.5) for one in group]


def test_rows_without_common_seeds_are_tested_by_welch() -> None:
    best = three(3.0)
    assert found({"best": best, "weak": other_seeds(best)})["weak"] == BELOW
    scattered = [
        shifted(one, move) for one, move in zip(other_seeds(best), (-900, 0, 900), strict=True)
    ]
    assert found({"best": best, "weak": scattered})["weak"] == LEVEL
