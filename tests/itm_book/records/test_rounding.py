"""The spread by rounding: hand-worked components, the record, and when a fresh row is outside."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from itm_book.records import rounding
from itm_book.records.rounding import Spread, components, outside, pooled, rounding_spread
from itm_core.errors import InputError
from tests.places import PROJECT


def row(seed: int, variant: str, rsum: float, **other: Any) -> dict[str, Any]:
    return {
        "dataset": "scenes-small",
        "recipe": "scan-t2i-mean-smoke",
        "changes": "",
        "seed": seed,
        "variant": variant,
        "rsum": rsum,
        "i2t_r1": 20.0,
        "t2i_r1": 15.0,
        "threads": 1,
        "dtype": "float32",
        "minutes": 1.0,
        "machine": "a processor",
        "torch": "2.13.0+cpu",
        "commit": "0123456789ab",
        "made": "2026-11-28",
    } | other


# within a seed: (300, 304) and (310, 318): variances 8 and 32, pooled 20;
# between seeds: (300, 310) and (304, 318): variances 50 and 98, pooled 74
TWO_BY_TWO = pd.DataFrame(
    [row(0, "1 thread", 300), row(0, "avx2", 304), row(1, "1 thread", 310), row(1, "avx2", 318)]
)


def test_components_of_two_seeds_and_two_variants() -> None:
    found = components(TWO_BY_TWO)
    assert found.mean == 308
    assert found.rounding == Spread(pytest.approx(math.sqrt(20)), 2)
    assert found.seeds == Spread(pytest.approx(math.sqrt(74)), 2)
    # means 302 and 314: mean square between seeds 2 * 72 = 144; (144 - 20) / 2 = 62
    assert found.seed_alone == pytest.approx(math.sqrt(62))


def test_seeds_that_differ_no_more_than_rounding_add_nothing() -> None:
    flat = TWO_BY_TWO.assign(rsum=[300, 310, 309, 301])
    assert components(flat).seed_alone == 0
    assert math.isnan(components(flat[flat["seed"] == 0]).seed_alone)


def test_seeds_of_unequal_size_count_as_in_the_analysis_of_variance() -> None:
    values = {0: [300.0, 304.0, 308.0], 1: [320.0, 330.0], 2: [310.0]}
    rows = pd.DataFrame([row(s, f"v{k}", x) for s, xs in values.items() for k, x in enumerate(xs)])
    f = stats.f_oneway(values[0], values[1], values[2]).statistic
    within = (16 + 16 + 50) / 3
    size = (6 - (9 + 4 + 1) / 6) / 2
    assert components(rows).seed_alone == pytest.approx(math.sqrt((f - 1) * within / size))


def test_trainings_are_pooled_but_never_mixed() -> None:
    # another recipe, 100 lower: its level must not enter; its variances are 2 and 0
    other = TWO_BY_TWO.assign(recipe="chan-smoke", rsum=[200, 202, 210, 210])
    both = pd.concat([TWO_BY_TWO, other])
    assert rounding.within_seeds(both) == Spread(pytest.approx(math.sqrt(42 / 4)), 4)
    assert rounding.between_seeds(both) == Spread(pytest.approx(math.sqrt((148 + 82) / 4)), 4)


@given(st.lists(st.lists(st.floats(0, 600), min_size=2, max_size=5), min_size=1, max_size=4))
def test_pooled_is_the_root_of_the_weighted_variances(groups: list[list[float]]) -> None:
    df = [len(group) - 1 for group in groups]
    variance = np.average([np.var(group, ddof=1) for group in groups], weights=df)
    found = pooled(groups)
    assert found.df == sum(df)
    assert found.sd == pytest.approx(math.sqrt(variance), abs=1e-6)


def test_the_spread_of_a_profile_leaves_others_and_changes_out() -> None:
    changed = TWO_BY_TWO.assign(changes="training.epochs=12", rsum=[0, 100, 0, 100])
    scenes = TWO_BY_TWO.assign(recipe="scan-t2i-mean", rsum=[400, 402, 400, 402])
    rows = pd.concat([TWO_BY_TWO, changed, scenes])
    assert rounding_spread("smoke", rows) == Spread(pytest.approx(math.sqrt(20)), 2)
    assert rounding_spread("scenes", rows) == Spread(pytest.approx(math.sqrt(2)), 2)
    assert rounding_spread("f30k", rows) is None
    assert rounding_spread("smoke", TWO_BY_TWO[TWO_BY_TWO["variant"] == "avx2"]) is None


def test_what_is_recorded_of_the_smoke_profile_has_a_spread() -> None:
    found = rounding_spread("smoke")
    assert found is not None
    assert found.df >= 6
    assert 1 < found.sd < 60
    page = PROJECT / "book" / "task.md"
    assert f"standard deviation of about {found.sd:.0f} at" in " ".join(page.read_text().split())
    table = rounding.read()
    assert not table["commit"].str.endswith("+").any()
    assert (table["commit"].str.len() == 12).all()
    assert not table.duplicated(rounding.KEY).any()


# three seeds: mean 300, sd 10, t(0.975, 2) = 4.3027, root of 4/3 = 1.1547: reach 49.68
SEEDS = [290.0, 300.0, 310.0]


@pytest.mark.parametrize(
    ("fresh", "recorded", "floor", "expected"),
    [
        (349.6, SEEDS, None, False),
        (349.8, SEEDS, None, True),
        (250.2, SEEDS, None, True),
        (349.8, SEEDS, Spread(5.0, 8), True),  # the seeds' own sd is larger
        (349.8, SEEDS, Spread(20.0, 8), False),  # reach 99.37
        (399.3, SEEDS, Spread(20.0, 8), False),
        (399.5, SEEDS, Spread(20.0, 8), True),
        # one seed: t(0.975, 8) = 2.3060, root of 2 = 1.4142: reach 32.61
        (332.6, [300.0], Spread(10.0, 8), False),
        (332.7, [300.0], Spread(10.0, 8), True),
        (500.0, [300.0], None, False),
        # two seeds without any spread: rounding's, t(0.975, 1) = 12.706, root of 3/2: reach 155.6
        (455.5, [300.0, 300.0], Spread(10.0, 8), False),
        (455.7, [300.0, 300.0], Spread(10.0, 8), True),
    ],
)
def test_outside(fresh: float, recorded: list[float], floor: Spread | None, expected: bool) -> None:
    assert outside(fresh, recorded, floor) is expected


def test_outside_needs_a_record() -> None:
    with pytest.raises(ValueError, match="nothing is recorded"):
        outside(300.0, [], Spread(10.0, 8))


def test_the_record_keeps_one_row_a_key(tmp_path: Path) -> None:
    path = tmp_path / "spread.csv"
    with pytest.raises(InputError, match="no record"):
        rounding.read(path)
    rounding.save([row(0, "1 thread", 300.0)], path)
    rounding.save([row(0, "avx2", 304.0)], path)
    rounding.save([row(0, "1 thread", 301.25, commit="12e456789012")], path)
    table = rounding.read(path)
    assert table["commit"].tolist() == ["12e456789012", "0123456789ab"]
    assert table["rsum"].tolist() == [301.25, 304.0]
    assert list(table) == rounding.COLUMNS
    assert rounding.keys(table) == {
        ("scenes-small", "scan-t2i-mean-smoke", "", 0, "1 thread"),
        ("scenes-small", "scan-t2i-mean-smoke", "", 0, "avx2"),
    }
    path.write_text("recipe,seed\nchan-smoke,0\n")
    with pytest.raises(InputError, match="columns are missing"):
        rounding.read(path)


def test_a_row_is_a_line() -> None:
    assert rounding.line(row(1, "avx2", 304.04)) == (
        "scan-t2i-mean-smoke, seed 1, avx2: rSum 304.0, 1.0 min"
    )
    changed = row(1, "avx2", 304.0, changes="training.epochs=12")
    assert "scan-t2i-mean-smoke (training.epochs=12), seed 1" in rounding.line(changed)


def test_what_rounding_gives_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "spread_of", {"a": Spread(10.0, 8)}.get)
    assert rounding.gain_floor("a", "x", "y") == pytest.approx(10 * math.sqrt(2))
    # an ensemble and one of its members: half of each remains
    assert rounding.gain_floor("a", "x + y", "x") == pytest.approx(10 * math.sqrt(1 / 2))
    assert rounding.gain_floor("a", "x + y", "z") == pytest.approx(10 * math.sqrt(3 / 2))
    assert rounding.gain_floor("a", "x + y", "v + w") == pytest.approx(10)
    assert rounding.gain_floor("a", "x", "x") == 0  # the same run
    assert rounding.gain_floor("unknown", "x", "y") == 0
