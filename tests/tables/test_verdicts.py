"""Verdicts that are made from other things than gains."""

from __future__ import annotations

import pandas as pd
import pytest

from itm_core.tables import verdicts

TIMES = pd.DataFrame({"method": ["hard", "soft", "twin"], "milliseconds": [50.0, 200.0, 55.0]})


@pytest.mark.parametrize(
    ("name", "than", "verdict"),
    [
        ("hard", "soft", "holds"),
        ("soft", "hard", "contradicted"),
        ("hard", "twin", "not seen"),
        ("hard", "unknown", "not run here"),
    ],
)
def test_a_time_is_only_a_difference_beyond_noise(name: str, than: str, verdict: str) -> None:
    said = verdicts.faster(3, "fast", TIMES, name, than)
    assert said["verdict"] == verdict
    assert ("ms" in said["evidence"]) == (verdict != "not run here")


def test_readings_say_how_far_they_lie_apart() -> None:
    table = pd.DataFrame(
        {
            "name": ["a", "b", "c"],
            "gain": [-4.0, 1.0, 6.0],
            "says": ["loss", "not told apart", "gain"],
        }
    )
    said = verdicts.readings(table).data
    assert "10.0 apart" in said
    assert "*a*" in said
    assert "1 gain, 1 loss, 1 not told apart" in said
    assert "One row" in verdicts.readings(table[:1]).data
    assert "None" in verdicts.readings(table[:0]).data
