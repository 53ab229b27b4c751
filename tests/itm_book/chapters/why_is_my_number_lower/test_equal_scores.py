"""Rules for equal scores: ordered as their definition says, and equal where nothing ties."""

from __future__ import annotations

import numpy as np

from itm_book.chapters.why_is_my_number_lower import equal_scores
from itm_core.evaluation import retrieval
from tests.itm_book.chapters.why_is_my_number_lower.test_causes import random_scores


def test_without_ties_the_released_sort_agrees() -> None:
    scores = random_scores()
    released, ours = equal_scores.released_ranks(scores), retrieval.ranks(scores)
    np.testing.assert_array_equal(released.i2t, ours.i2t)
    np.testing.assert_array_equal(released.t2i, ours.t2i)


def test_ties_open_a_gap_between_the_rules() -> None:
    table = equal_scores.ties(equal_scores.degenerate(random_scores())).set_index("scores")
    early, late, mean = (table[f"rSum, {rule}"] for rule in ("optimistic", "pessimistic", "mean"))
    assert (early >= mean).all()
    assert (mean >= late).all()
    collapsed = table.loc["a collapsed model: all equal"]
    assert (collapsed["rSum, optimistic"], collapsed["rSum, pessimistic"]) == (600, 0)
    plain = table.loc["as they are"]
    assert plain["rSum, optimistic"] == plain["rSum, pessimistic"]
    assert plain["tied queries (%)"] == 0
    assert float(table["tied queries (%)"]["stored in bfloat16"]) > 0
