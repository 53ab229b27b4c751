"""Sentences and tables of the search: true whichever way the numbers fall."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from itm_book.chapters.search_at_scale import search_report
from itm_book.search.two_stage import Found
from itm_book.tables.report import Note, note_of


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
    found = search_report.reached(table)
    assert found["candidates"].tolist() == [100, 1000]
    assert found["reached"].tolist() == [True, False]
    shown = search_report.sizes(table)
    assert shown["candidates"].tolist() == ["100", "1,000"]
    assert shown["exact ranking, ms, wall"].tolist() == [1000, 10_000]


@pytest.mark.parametrize(
    ("recall", "wall", "spent", "said"),
    [
        (0.99, 1.0, 0.5, "is reached**: by the clock"),
        (0.99, 9.0, 0.5, "missed by the clock, and within reach"),
        (0.99, 9.0, 9.0, "is missed**: too many"),
        (0.5, 1.0, 0.5, "is missed**: no number"),
    ],
)
def test_the_verdict_follows_from_the_numbers(
    recall: float, wall: float, spent: float, said: str
) -> None:
    table = record({1000: [0.1, 1.0], 10_000: [0.2, recall]}, wall, spent)
    text = search_report.verdict(table).data
    assert said in text
    assert f"100 candidates find {recall:.1%}" in text
    assert "Against 10,000 images" in text


def test_growth_is_told_from_galleries_that_reach_the_recall() -> None:
    table = record({1000: [0.99, 1.0], 100_000: [0.2, 0.99], 1_000_000: [0.1, 0.2]})
    assert "grows 100 times" in search_report.growth(table).data
    assert "**10.0 times**, from 10 to 100" in search_report.growth(table).data
    assert "Fewer than two" in search_report.growth(record({1000: [0.1, 0.2]})).data


def test_rankings_stand_side_by_side() -> None:
    images, scores = np.array([[3, 0]]), np.array([[0.9, 0.8]])
    exact = Found(np.array([[3, 1, 0]]), np.array([[0.9, 0.85, 0.8]]))
    shown = search_report.side_by_side(exact, Found(images, scores), real=2)
    assert shown["exact: image"].tolist() == ["glued 1", "picture 1"]
    assert shown["two stages: image"].tolist() == ["glued 1", "picture 0"]
    assert shown["two stages: score"].tolist() == ["0.9000", "0.8000"]


def test_what_uncommitted_code_has_measured_is_marked() -> None:
    table = record({1000: [0.99], 10_000: [0.99]})
    commits = {1000: "c0082a58b567", 10_000: "c0082a58b567+"}
    told = search_report.sizes(table.assign(commit=table["gallery"].map(commits)))
    lost = {"gallery": [1000, 10_000], "kind": "int8", "bytes_per_value": 1, "recall": 0.9}
    lost |= {"first": 0.9, "largest_difference": 1e-3}
    kept = pd.DataFrame(lost)
    for shown in (told, search_report.kinds(kept.assign(commit=list(commits.values())))):
        notes = [note_of(cell) for cell in shown[search_report.RECALLED]]
        assert notes == [None, Note(uncommitted=True)]
    for shown in (search_report.sizes(table), search_report.kinds(kept)):
        assert not any(note_of(cell) for cell in shown[search_report.RECALLED])
