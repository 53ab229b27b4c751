"""Verdicts: their words follow from numbers that are worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from itm_book.records.results import Result
from itm_book.tables import comparison, verdicts
from itm_core.evaluation import statistics
from tests.itm_book.tables.test_comparison import GRID, fake, level_by_images, shifted, three

TIMES = pd.DataFrame({"method": ["hard", "soft", "twin"], "milliseconds": [50.0, 200.0, 55.0]})
NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "than", "verdict"),
    [
        ("hard", "soft", "holds"),
        ("soft", "hard", "against"),
        ("hard", "twin", "no effect found"),
        ("twin", "hard", "no effect found"),
        ("hard", "unknown", "not testable"),
    ],
)
def test_a_time_is_only_a_difference_beyond_noise(name: str, than: str, verdict: str) -> None:
    said = verdicts.faster(3, "fast", TIMES, name, than)
    assert said["verdict"] == verdict
    evidence = said["evidence"]
    assert evidence.startswith("not run here" if verdict == "not testable" else "a timing")


# --- claims ---


def row(name: str, gain: float, p: float, seeds: int = 3, spread: float = 10.0) -> dict[str, Any]:
    """A row of `comparison.gains` with what a claim reads."""
    return {
        "name": name, "host": "host", "seeds": seeds, "gain": gain, "low": gain - 1,
        "high": gain + 1, "spread": spread, "p": p,
        "detectable": statistics.detectable(spread, seeds), "says": statistics.effect(gain, p),
        "needed": 7.0,
    }  # fmt: skip


def claim(*rows: dict[str, Any], **options: Any) -> dict[str, str]:
    names = [one["name"] for one in rows]
    return verdicts.claim(1, "it helps", pd.DataFrame(list(rows)), names, **options)


A, B = row("a", 5.0, 0.01), row("b", 4.0, 0.02)
LOST, OPEN = row("lost", -5.0, 0.001), row("open", 3.0, 0.6)
ONE_SEED = row("alone", 3.0, NAN, seeds=1, spread=NAN)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ((A, B), "holds"),
        ((LOST,), "against"),
        ((A, LOST), "mixed: 1 gain, 1 loss"),
        ((A, B, LOST, OPEN), "mixed: 2 gains, 1 loss, 1 not significant"),  # 0.01 * 3, 0.02 * 2
        ((A, OPEN), "mixed: 1 gain, 1 not significant"),
        (  # corrected 0.003, 0.06 and 0.06: the counts are of what the correction leaves
            (row("a", 5.0, 0.001), row("b", 5.0, 0.03), row("c", 5.0, 0.04)),
            "mixed: 1 gain, 2 not significant",
        ),
        ((LOST, OPEN, row("also open", 1.0, 0.9)), "mixed: 1 loss, 2 not significant"),
        ((row("a", 5.0, 0.03), row("b", 5.0, 0.04)), "no effect found"),  # 0.06 and 0.06
        ((ONE_SEED,), "not testable"),
        ((A, ONE_SEED), "holds, 1 not testable"),
        ((LOST, A, ONE_SEED), "mixed: 1 gain, 1 loss, 1 not testable"),
    ],
)
def test_verdicts_on_claims_by_hand(rows: tuple[dict[str, Any], ...], verdict: str) -> None:
    said = claim(*rows)
    assert said["verdict"].split(" (")[0] == verdict


def test_the_evidence_names_what_gains_and_what_loses() -> None:
    said = claim(A, LOST, ONE_SEED)["evidence"].split("; ")
    assert said[0] == "a over host: +5.0 [+4.0, +6.0] ± 10.0, gain, p = 0.010"
    assert said[1] == "lost over host: -5.0 [-6.0, -4.0] ± 10.0, loss, p = 0.002"  # twice 0.001
    assert said[2] == "alone over host: +3.0 [+2.0, +4.0], not testable, one seed"


def test_where_nothing_is_found_the_gain_that_could_have_been_is_named() -> None:
    one = claim(OPEN)["verdict"]
    assert one == f"no effect found (3 seeds could have shown {statistics.detectable(10.0, 3):.1f})"
    wide = row("wide", 1.0, 0.9, seeds=2, spread=20.0)
    low, high = (
        statistics.detectable(spread, n, alpha=0.025) for spread, n in ((10.0, 3), (20.0, 2))
    )
    assert claim(OPEN, wide)["verdict"] == (
        f"no effect found (2 to 3 seeds could have shown {low:.1f} to {high:.1f})"
    )
    assert low > statistics.detectable(10.0, 3)  # two rows are tested at half the level each


def test_what_was_not_run_is_said() -> None:
    table = pd.DataFrame([A])
    said = verdicts.claim(1, "it helps", table, ["a", "absent"])
    assert said["verdict"] == "holds, 1 not run here"
    assert said["evidence"].endswith("p = 0.010; not run here: absent")
    for empty in (table, pd.DataFrame()):
        said = verdicts.claim(1, "it helps", empty, ["absent"])
        assert (said["verdict"], said["evidence"]) == ("not testable", "not run here: absent")


def test_a_reconstruction_is_named_before_every_label() -> None:
    ours = "our reconstruction"
    assert claim(LOST, subject=ours)["verdict"] == "our reconstruction: against"
    said = verdicts.untested(5, "on photographs", "needs photographs", subject=ours)
    assert said["verdict"] == "our reconstruction: not testable"
    assert said["evidence"] == "needs photographs"


def test_a_claim_on_runs_follows_their_numbers() -> None:
    groups = {"host": three(1.5), "host + RCR": three(2.5), "other": three(0.7)}
    table = comparison.gains(groups, GRID)
    said = verdicts.claim(1, "it helps", table, ["host + RCR"])
    assert said["verdict"] == "holds"
    assert verdicts.claim(1, "it helps", table, ["other"])["verdict"] == "against"
    alone = comparison.gains({name: group[:1] for name, group in groups.items()}, GRID)
    assert verdicts.claim(1, "it helps", alone, ["other"])["verdict"] == "not testable"


# --- tables in words ---


def test_readings_say_how_far_they_lie_apart() -> None:
    table = pd.DataFrame(
        {
            "name": ["a", "b", "c"],
            "gain": [-4.0, 1.0, 6.0],
            "says": ["loss", "not significant", "gain"],
        }
    )
    said = verdicts.readings(table).data
    assert "10.0 apart" in said
    assert "*a*" in said
    assert "1 gain, 1 loss, 1 not significant" in said
    assert "up to 0.15 of 3 comparisons would look significant by chance" in said
    assert "One row" in verdicts.readings(table[:1]).data
    assert "None" in verdicts.readings(table[:0]).data


def test_comparisons_are_counted_beside_what_chance_gives() -> None:
    table = pd.DataFrame([A, LOST, OPEN, row("wide", 1.0, 0.9, spread=30.0) | {"needed": NAN}])
    said = verdicts.counted(table).data
    assert said.startswith("1 gain, 1 loss, 2 not significant. At 5 % each, up to 0.2 of 4 comp")
    low, high = statistics.detectable(10.0, 3), statistics.detectable(30.0, 3)
    assert f"3 seeds could have shown gains of {low:.0f} to {high:.0f} rSum" in said
    assert "would take more than 1000 seeds in the median" in said  # of 7 and of no number
    assert "would take 7 seeds" in verdicts.counted(table[:3]).data
    assert "seeds" not in verdicts.counted(table[:2]).data
    assert (
        verdicts.counted(pd.DataFrame([ONE_SEED])).data == "1 comparison, not testable: one seed."
    )
    assert "None" in verdicts.counted(table[:0]).data


# --- the best row ---


def test_rows_are_compared_with_the_best_one() -> None:
    groups = {"weak": three(0.5), "strong": three(3.0), "as strong": three(3.0, noise=10)}
    said = verdicts.best_row(groups).data
    top, level = sorted(
        ("strong", "as strong"), key=lambda n: -np.mean([r.metrics["rsum"] for r in groups[n]])
    )
    assert f"Best here is **{top}**" in said
    assert "Significantly below it: weak." in said
    assert f"Not significantly below it: {level}." in said
    assert "(2 comparisons over images and seeds, corrected by Holm's method.)" in said
    part = verdicts.best_row(groups, ["weak", level]).data
    assert f"Best here is **{level}**" in part
    assert top not in part.replace(level, "")
    commas = {"strong": three(3.0), "weak": three(0.5), "weak, too": three(0.4)}
    assert "below it: weak; weak, too." in verdicts.best_row(commas).data
    assert verdicts.best_row({"strong": groups["strong"]}).data.count(".") == 2


def test_seeds_that_scatter_leave_a_row_level_with_the_best() -> None:
    """Images are sure of it; the means lie apart by more than the spread, which is not enough."""
    best, below = three(3.0), three(1.0)
    gap = np.mean([a.metrics["rsum"] - b.metrics["rsum"] for a, b in zip(best, below, strict=True)])
    moves = np.array([-1.0, 0.0, 1.0]) * gap / 2.2  # the mean is 2.2 spreads: t = 3.8
    scattered = [shifted(one, float(move)) for one, move in zip(below, moves, strict=True)]
    assert stats.ttest_rel(
        [one.metrics["rsum"] for one in best], [one.metrics["rsum"] for one in scattered]
    ).pvalue == pytest.approx(0.06, abs=0.02)
    said = verdicts.best_row({"best": best, "below": scattered}).data
    assert "Not significantly below it: below." in said
    floored = verdicts.best_row({"best": best, "below": below}, floor=1000.0).data
    assert "Not significantly below it: below." in floored
    assert (
        "Significantly below it: below." in verdicts.best_row({"best": best, "below": below}).data
    )


def test_images_that_are_unsure_leave_a_row_level_with_the_best() -> None:
    best = three(1.5)
    said = verdicts.best_row({"best": best, "below": level_by_images(best, noise=41)}).data
    assert "Best here is **best**" in said
    assert "Not significantly below it: below." in said


def test_a_row_that_is_better_on_the_common_seeds_is_not_below() -> None:
    lucky = [*three(2.0), shifted(fake(3, 2.0), 900.0)]
    said = verdicts.best_row({"lucky": lucky, "row": three(2.8)}).data
    assert "Best here is **lucky**" in said
    assert "Not significantly below it: row." in said


def test_rows_below_the_best_are_corrected_for_their_number() -> None:
    """One row at p = 0.02 counts alone, and not among many."""
    best, below = three(3.0), three(1.0)
    gap = np.mean([a.metrics["rsum"] - b.metrics["rsum"] for a, b in zip(best, below, strict=True)])
    wanted = gap + np.array([-1.0, 0.0, 1.0]) * gap * np.sqrt(3) / stats.t.isf(0.01, 2)
    row = [
        shifted(b, float(a.metrics["rsum"] - b.metrics["rsum"] - w))
        for a, b, w in zip(best, below, wanted, strict=True)
    ]
    assert "Significantly below it: row" in verdicts.best_row({"best": best, "row": row}).data
    many = {"best": best, "row": row} | {f"row {k}": row for k in range(3)}
    said = verdicts.best_row(many).data
    assert "Not significantly below it: row, row 0, row 1, row 2." in said
    assert "Significantly below it" not in said


def test_with_one_seed_images_decide_and_nothing_is_said_of_methods() -> None:
    said = verdicts.best_row({"strong": [fake(0, 3.0)], "weak": [fake(0, 0.5)]}).data
    assert "With one seed each, nothing can be said of the methods" in said
    assert "Significantly below it: weak." in said
    assert "over images alone" in said
    mixed = verdicts.best_row(
        {"strong": three(3.0), "weak": three(0.5), "alone": [fake(0, 0.5)]}
    ).data
    assert "Not testable (one seed): alone." in mixed
    assert "With one seed each" not in mixed


def other_seeds(group: list[Result]) -> list[Result]:
    return [fake(one.seed + 10, 0.5) for one in group]


def test_rows_without_common_seeds_are_tested_by_welch() -> None:
    best = three(3.0)
    said = verdicts.best_row({"best": best, "weak": other_seeds(best)}).data
    assert "Significantly below it: weak." in said
    scattered = [
        shifted(one, move) for one, move in zip(other_seeds(best), (-900, 0, 900), strict=True)
    ]
    said = verdicts.best_row({"best": best, "weak": scattered}).data
    assert "Not significantly below it: weak." in said
