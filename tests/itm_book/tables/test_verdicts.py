"""Verdicts: their words follow from numbers that are worked out by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from itm_book.tables import comparison, labels, verdicts
from itm_core.evaluation import statistics
from tests.itm_book.tables.test_comparison import GRID, three

TIMES = pd.DataFrame({"method": ["hard", "soft", "reference"], "milliseconds": [50.0, 200.0, 55.0]})
NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "than", "verdict"),
    [
        ("hard", "soft", "holds"),
        ("soft", "hard", "against"),
        ("hard", "reference", "no effect found"),
        ("reference", "hard", "no effect found"),
        ("hard", "unknown", "not testable"),
    ],
)
def test_a_time_is_only_a_difference_beyond_noise(name: str, than: str, verdict: str) -> None:
    judged = verdicts.faster(TIMES, name, than)
    assert judged.verdict == verdict
    assert judged.label.startswith("not" if verdict == "not testable" else verdicts.TIMING)
    evidence = judged.evidence
    assert evidence.startswith("not run here" if verdict == "not testable" else "a timing")


def row(name: str, gain: float, p: float, seeds: int = 3, spread: float = 10.0) -> dict[str, Any]:
    """A row of `comparison.gains` with what a claim reads."""
    return {
        "name": name, "host": "host", "seeds": seeds, "gain": gain, "low": gain - 1,
        "high": gain + 1, "spread": spread, "p": p,
        "deviation": spread, "detectable": statistics.detectable(spread, seeds),
        "effect": labels.effect(gain, p), "needed": 7.0,
    }  # fmt: skip


def judge(*rows: dict[str, Any]) -> verdicts.Judgement:
    return verdicts.judge(pd.DataFrame(list(rows)))


A, B = row("a", 5.0, 0.01), row("b", 4.0, 0.02)
LOST, OPEN = row("lost", -5.0, 0.001), row("open", 3.0, 0.6)
ONE_SEED = row("alone", 3.0, NAN, seeds=1, spread=NAN)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ((A, B), "holds"),
        ((LOST,), "against"),
        ((A, LOST), "mixed: helps a; hurts lost"),
        (  # 0.01 * 3, 0.02 * 2
            (A, B, LOST, OPEN),
            "mixed: helps a, b; hurts lost; no effect found on open",
        ),
        ((A, OPEN), "mixed: helps a; no effect found on open"),
        (  # corrected 0.003, 0.06 and 0.06: what the correction leaves
            (row("a", 5.0, 0.001), row("b", 5.0, 0.03), row("c", 5.0, 0.04)),
            "mixed: helps a; no effect found on b, c",
        ),
        (
            (LOST, OPEN, row("also open", 1.0, 0.9)),
            "mixed: hurts lost; no effect found on open, also open",
        ),
        ((row("a", 5.0, 0.03), row("b", 5.0, 0.04)), "no effect found"),  # 0.06 and 0.06
        ((ONE_SEED,), "not testable (one seed)"),
        ((A, ONE_SEED), "holds so far, 1 of 2 rows, 1 not testable"),
        (
            (LOST, A, ONE_SEED),
            "mixed so far: helps a; hurts lost; 2 of 3 rows, 1 not testable",
        ),
    ],
)
def test_verdicts_on_claims_by_hand(rows: tuple[dict[str, Any], ...], verdict: str) -> None:
    judged = judge(*rows)
    assert judged.label == verdict
    assert verdict.startswith(judged.verdict)


def test_the_evidence_names_what_gains_and_what_loses() -> None:
    message = judge(A, LOST, ONE_SEED).evidence.split("; ")
    assert message[0] == "a over host: +5.0 [+4.0, +6.0] ± 10.0, gain, p = 0.010"
    assert message[1] == "lost over host: -5.0 [-6.0, -4.0] ± 10.0, loss, p = 0.002"  # twice 0.001
    assert message[2] == "alone over host: +3.0 [+2.0, +4.0], not testable, one seed"


def test_the_gain_that_the_seeds_could_have_shown_is_named() -> None:
    for lone in (OPEN, A, LOST):
        judged = judge(lone)
        assert (judged.seeds, judged.detectable) == ("3", f"{statistics.detectable(10.0, 3):.1f}")
    wide = row("wide", 1.0, 0.9, seeds=2, spread=20.0)
    low, high = (
        statistics.detectable(spread, n, over_images=1 / 1.959964, alpha=0.025)
        for spread, n in ((10.0, 3), (20.0, 2))
    )
    judged = judge(OPEN, wide)
    assert (judged.seeds, judged.detectable) == ("2 to 3", f"{low:.1f} to {high:.1f}")
    assert low > statistics.detectable(10.0, 3)  # two rows are tested at half the level each
    judged = judge(ONE_SEED)
    assert (judged.seeds, judged.detectable) == ("1", "")  # the spread is unknown
    judged = judge(OPEN, ONE_SEED)  # the row that cannot be tested is no second test
    assert (judged.seeds, judged.detectable) == ("3", f"{statistics.detectable(10.0, 3):.1f}")
    close = row("close", 0.5, 0.6, spread=0.1) | {"low": -1.46, "high": 2.46}
    # 1.96 is the half of the interval over images: 2.8 standard errors of 1
    assert judge(close).detectable == "2.8"
    assert judge(close, OPEN).detectable.startswith("3.1 to ")  # at half the level


def test_the_gains_of_a_verdict_are_those_of_its_tested_rows() -> None:
    assert judge(A, LOST, ONE_SEED).gains == (5.0, -5.0)  # tested and untested ones do not mix
    assert judge(A, LOST, ONE_SEED).recorded == (
        (5.0, "gain"),
        (-5.0, "loss"),
        (3.0, "not testable"),
    )
    assert judge(ONE_SEED).gains == (3.0,)
    assert verdicts.untested("no run").gains == ()


def test_what_was_not_run_is_said() -> None:
    judged = verdicts.judge(pd.DataFrame([A]), ["absent", "gone"])
    assert judged.label == "holds so far, 1 of 3 rows, 2 not run here"
    assert judged.left_out == 2
    assert judged.evidence.endswith("p = 0.010; not run here: absent · gone")
    for empty in (pd.DataFrame([A])[:0], pd.DataFrame()):
        judged = verdicts.judge(empty, ["absent"])
        assert (judged.verdict, judged.evidence) == ("not testable", "not run here: absent")
    judged = verdicts.judge(pd.DataFrame([A | {"gain": NAN}]))
    reason = f"{verdicts.NOT_MEASURED}: a over host"
    assert (judged.verdict, judged.evidence) == ("not testable", reason)


def test_rows_without_the_measure_are_said() -> None:
    judged = verdicts.judge(pd.DataFrame([A, B | {"gain": NAN}]), ["gone"], unmeasured=["c over d"])
    assert judged.label == (
        "holds so far, 1 of 4 rows, 2 not measured on the same seeds, 1 not run here"
    )
    assert judged.left_out == 3
    left_out = "not measured on the same seeds: c over d · b over host; not run here: gone"
    assert judged.evidence.endswith(left_out)


def test_rows_of_one_name_over_several_hosts_are_told_apart() -> None:
    over = [A | {"host": "x"}, LOST | {"name": "a", "host": "y"}, OPEN]
    label = judge(*over).label
    assert label == "mixed: helps a over x; hurts a over y; no effect found on open"


def test_a_claim_is_a_row_with_the_rows_that_it_names() -> None:
    row = verdicts.claim(2, "it helps", pd.DataFrame([A, LOST]), ["a", "absent"])
    judged = verdicts.judge(pd.DataFrame([A]), ["absent"])
    assert row == {
        "": "2",
        "claim": "it helps",
        "verdict": "holds so far, 1 of 2 rows, 1 not run here",
        "seeds": "3",
        "minimum detectable gain": judged.detectable,
        "evidence": judged.evidence,
    }
    absent = verdicts.claim(2, "it helps", pd.DataFrame(), ["absent"])
    assert (absent["verdict"], absent["evidence"]) == ("not run here", "not run here: absent")
    assert judged.cells("ours")["verdict"] == "ours: holds so far, 1 of 2 rows, 1 not run here"


def test_a_claim_on_runs_follows_their_numbers() -> None:
    groups = {"host": three(1.5), "host + RCR": three(2.5), "other": three(0.7)}
    table = comparison.gains(groups, GRID)
    assert verdicts.judge(table[table["name"] == "host + RCR"]).verdict == "holds"
    assert verdicts.judge(table[table["name"] == "other"]).verdict == "against"
    alone = comparison.gains({name: group[:1] for name, group in groups.items()}, GRID)
    judged = verdicts.judge(alone[alone["name"] == "other"])
    assert judged.label == "not testable (one seed)"
    first = alone.set_index("name").loc["other"]
    assert f"[{first['low']:+.1f}, {first['high']:+.1f}]" in judged.evidence  # over images


def test_a_caption_has_the_number_of_comparisons_and_what_chance_gives() -> None:
    table = pd.DataFrame([A, LOST, OPEN, ONE_SEED])
    assert verdicts.chance_note(table) == (
        "3 comparisons, tested at 5 % each: up to 0.15 significant by chance alone."
    )
    assert verdicts.chance_note(table[:1]).startswith("1 comparison, tested")
    assert verdicts.chance_note(table[3:]) == verdicts.chance_note(table[:0]) == ""


def test_a_verdict_on_some_rows_is_corrected_for_all_rows_of_the_claim() -> None:
    """0.02 alone is significant; as one of three p values it is 0.04 or 0.06."""
    alone = verdicts.judge(pd.DataFrame([B]))
    between = verdicts.judge(pd.DataFrame([B]), others=[0.001, 0.9, NAN])
    last = verdicts.judge(pd.DataFrame([B]), others=[0.5, 0.9])
    assert [judged.verdict for judged in (alone, between, last)] == [
        "holds",
        "holds",
        "no effect found",
    ]
    assert "p = 0.040" in between.evidence
    assert "p = 0.060" in last.evidence
    assert float(last.detectable) > float(alone.detectable)
