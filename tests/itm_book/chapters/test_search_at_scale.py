"""Tables and figures of two-stage search: each follows from the numbers of the record."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from itm_book.chapters import search_at_scale
from itm_book.search.two_stage import Ranking
from itm_book.tables.notes import Note, note_of

ROWS = pd.DataFrame(
    {
        "gallery": [1000, 1000, 1000, 9000, 9000],
        "candidates": [10, 100, 1000, 10, 9000],
        "recall": [0.5, 0.99, 1.0, 0.3, 1.0],
        "milliseconds": [5.0, 9.0, 70.0, 6.0, 600.0],
        "processor_milliseconds": [2.0, 3.0, 40.0, 2.0, 400.0],
        "first": [1.0, 1.0, np.nan, 1.0, np.nan],
        "read": [1.0, 2.0, np.nan, 1.0, np.nan],
        "rank": [3.0, 6.0, np.nan, 4.0, np.nan],
    }
)


def record(recalls: dict[int, list[float]], wall: float = 1.0, spent: float = 0.5) -> pd.DataFrame:
    """A record with 10, 100, ... candidates for each gallery, and its exact ranking."""
    rows = []
    for size, values in recalls.items():
        counts = [10 * 10**k for k in range(len(values))]
        for count, recall in zip([*counts, size], [*values, 1.0], strict=True):
            times = {"milliseconds": wall * count, "processor_milliseconds": spent * count}
            rows.append(
                {"gallery": size, "candidates": count, "recall": recall, "worst": recall}
                | {"milliseconds_p90": 2 * wall * count, "synthetic_share": 0.4}
                | times
            )
    return pd.DataFrame(rows)


def test_the_fewest_candidates_that_are_enough_are_found() -> None:
    table = record({1000: [0.5, 0.99], 10_000: [0.2, 0.9, 0.97]})
    found = search_at_scale.reached(table)
    assert found["candidates"].tolist() == [100, 1000]
    assert found["reached"].tolist() == [True, False]
    shown = search_at_scale.by_gallery_size(table)
    assert shown["candidates"].tolist() == ["100", "1,000"]
    assert shown["exact ranking, ms, wall clock"].tolist() == [1000, 10_000]


def test_hardness_has_the_share_of_this_page_and_that_of_the_record() -> None:
    shown = search_at_scale.distractor_hardness(0.25, record({1000: [0.99]}))
    assert shown.iloc[:, 1].tolist() == [25.0, 40.0]


def test_rankings_stand_side_by_side() -> None:
    images, scores = np.array([[3, 0]]), np.array([[0.9, 0.8]])
    exact = Ranking(np.array([[3, 1, 0]]), np.array([[0.9, 0.85, 0.8]]))
    shown = search_at_scale.side_by_side(exact, Ranking(images, scores), real=2)
    assert shown["exact: image"].tolist() == ["distractor 1", "picture 1"]
    assert shown["two stages: image"].tolist() == ["distractor 1", "picture 0"]
    assert shown["two stages: score"].tolist() == ["0.9000", "0.8000"]


def test_what_uncommitted_code_has_measured_is_marked() -> None:
    table = record({1000: [0.99], 10_000: [0.99]})
    commits = {1000: "c0082a58b567", 10_000: "c0082a58b567+"}
    sizes = search_at_scale.by_gallery_size(table.assign(commit=table["gallery"].map(commits)))
    loss = {"gallery": [1000, 10_000], "kind": "int8", "bytes_per_value": 1, "recall": 0.9}
    loss |= {"first": 0.9, "largest_difference": 1e-3}
    stored = pd.DataFrame(loss)
    for shown in (
        sizes,
        search_at_scale.storage_precision(stored.assign(commit=list(commits.values()))),
    ):
        notes = [note_of(cell) for cell in shown[search_at_scale.RECALLED]]
        assert notes == [None, Note(uncommitted=True)]
    for shown in (
        search_at_scale.by_gallery_size(table),
        search_at_scale.storage_precision(stored),
    ):
        assert not any(note_of(cell) for cell in shown[search_at_scale.RECALLED])


@pytest.mark.parametrize(
    ("recall", "wall", "spent", "status"),
    [
        (0.99, 1.0, 0.5, "met"),
        (0.99, 9.0, 0.5, "met in processor time"),
        (0.99, 9.0, 9.0, "missed: time"),
        (0.5, 1.0, 0.5, "missed: recall"),
    ],
)
def test_the_target_is_met_or_missed(recall: float, wall: float, spent: float, status: str) -> None:
    table = record({1000: [0.1, 1.0], 10_000: [0.2, recall]}, wall, spent)
    assert search_at_scale.by_gallery_size(table)["target"].tolist()[-1] == status


def test_each_gallery_has_a_line_and_its_exact_ranking_a_cross() -> None:
    for axes in search_at_scale.trade_off(ROWS).axes:
        named = [line for line in axes.lines if not line.get_label().startswith("_")]
        assert [line.get_label() for line in named] == ["1,000 images", "9,000 images"]
        assert [len(line.get_xdata()) for line in named] == [2, 1]
        assert sum(line.get_marker() == "x" for line in axes.lines) == 2


def test_parts_are_drawn_where_the_recall_is_reached() -> None:
    axes = search_at_scale.time_parts(ROWS).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1, 2, 6]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["1,000 images,\n100 candidates"]
    assert "no gallery" in search_at_scale.time_parts(ROWS, wanted=1.0).axes[0].texts[0].get_text()


def test_shares_of_a_spread_add_up_to_one() -> None:
    draw = np.random.default_rng(0)
    axes = search_at_scale.score_distributions(
        {"real": draw.random((9, 4)), "synthetic": draw.random(50)}
    ).axes[0]
    for step in axes.patches:
        np.testing.assert_allclose(step.get_data().values.sum(), 1)
