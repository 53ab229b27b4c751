"""The rule that chooses the first pair, the table of all, and the pairs of the menu."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itm_book.chapters import first_match
from itm_core.data.dataset import load_dataset
from tests.painted import painted_dataset, painted_run

# three images with two captions each; the first caption of image 1 leads by 4, of image 2 by -2
SCORES = np.array(
    [
        [5.0, 9.0, 1.0, 0.0, 7.0, 0.0],
        [4.0, 0.0, 6.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 2.0, 9.0, 5.0, 0.0],
    ]
)


def test_the_margin_is_over_the_best_other_image() -> None:
    assert first_match.margins(SCORES).tolist() == [1.0, 4.0, -2.0]
    assert first_match.surest(SCORES) == 1


def test_the_margin_is_that_of_a_loop() -> None:
    scores = np.random.default_rng(0).normal(size=(6, 18))
    for image, margin in enumerate(first_match.margins(scores)):
        others = [scores[k, 3 * image] for k in range(6) if k != image]
        assert margin == scores[image, 3 * image] - max(others)


def test_menu_and_table_show_the_scores(tmp_path: Path) -> None:
    data = painted_dataset(tmp_path)
    run = painted_run(data, tmp_path / "runs")
    split = load_dataset(data.folder).test
    scores = first_match.scores(run, split)
    np.testing.assert_allclose(scores, run.scores, atol=1e-6)
    pairs = first_match.menu_pairs({"one": run, "two": run}, split)
    assert len(pairs) == first_match.MOST_PAIRS < len(split.regions)
    for image, records in enumerate(pairs):
        assert [record.name for record in records] == ["one", "two"]
        assert records[0].pair.caption == split.captions[split.place(image, 0)]
        assert records[0].score == pytest.approx(scores[image, split.place(image, 0)], abs=1e-5)
    assert first_match.shown_pair(3, pairs) == 3
    assert first_match.shown_pair(10, pairs) == 0


def test_the_table_ranks_the_right_image() -> None:
    split = type("Split", (), {})()
    split.ids, split.first_captions = ["a", "b", "c"], np.array([0, 2, 4])
    split.captions = [f"caption {k}" for k in range(6)]
    split.place = lambda image, caption: 2 * image + caption
    table = first_match.leads(SCORES, split)
    assert table["first sentence"].tolist() == ["caption 0", "caption 2", "caption 4"]
    assert table["margin"].tolist() == ["+1.000", "+4.000", "-2.000"]
    assert table["best other"].tolist() == ["4.000", "2.000", "7.000"]
    assert table["rank"].tolist() == [1, 1, 2]
