"""All recalls with intervals; rows trained here are compared on their own dataset only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from itm_book.chapters.photographs import recalls
from itm_book.tables.notes import note_of
from itm_core.evaluation import retrieval, statistics
from tests.itm_book.tables.test_comparison import three


def test_every_recall_has_its_interval_and_spread() -> None:
    group = three(2.0)
    shown = recalls.recalls({"host": group, "one": group[:1]})
    values = [result.metrics["t2i_r5"] for result in group]
    low, high = retrieval.interval(*(result.hits for result in group))["t2i_r5"]
    assert shown.loc[0, "text to image, R@5"] == (
        f"{np.mean(values):.1f} [{low:.1f}, {high:.1f}] ± {np.std(values, ddof=1):.1f}"
    )
    assert "±" not in shown.loc[1, "image to text, R@10"]
    assert list(shown["seeds"]) == ["3", "1"]
    assert len(shown.columns) == 1 + 7 + 1
    assert [note_of(cell).link[-1] for cell in shown["rSum"]] == ["c", "c"]


def test_rows_trained_here_stand_beside_their_own_dataset_only() -> None:
    recorded = {"host": three(2.0)}
    assert "No row was trained" in recalls.trained_here({}, recorded).data
    alone = recalls.trained_here({"host": three(2.0)[:1]}, {})
    assert "rSum" in alone.data
    assert "recorded" not in alone.data
    beside = recalls.trained_here({"host": three(2.0)[:1]}, recorded)
    assert "rSum, recorded" in beside.data
    drawn = {"host": [replace(result, dataset="scenes") for result in three(2.0)]}
    table = recalls.trained_here(drawn, recorded).data
    assert "scenes, recorded on fake: not to be compared" in table
    assert f"{drawn['host'][0].metrics['rsum']:.1f}" not in table


def test_the_spread_between_seeds_is_that_of_gains_with_several_seeds() -> None:
    ends = {"low": [-1.96, -1.96, -90.0], "high": [1.96, 1.96, 90.0]}  # errors of 1, 1 and 46
    gains = pd.DataFrame({"seeds": [3, 2, 1], "spread": [4.0, 12.0, np.nan], **ends})
    row = recalls.spread_between_seeds(gains).iloc[0]
    assert row.tolist()[:5] == ["2", "2", "4", "8", "12"]
    expected = [f"{statistics.detectable(8.0, seeds, over_images=1.0):.0f}" for seeds in (3, 10)]
    assert row.tolist()[5:] == expected
    for without in (gains.iloc[2:], pd.DataFrame()):
        assert recalls.spread_between_seeds(without).empty


def test_few_images_limit_what_many_seeds_can_detect() -> None:
    """Hardly any spread between seeds, an error of 3 over images: 1.96 + 0.84 of them is 8.4."""
    gains = pd.DataFrame({"seeds": [3], "spread": [0.01], "low": [-5.88], "high": [5.88]})
    row = recalls.spread_between_seeds(gains).iloc[0]
    assert row["detectable with 10 seeds"] == "8"
