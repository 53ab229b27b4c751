"""The table of rounding against seeds: hand-worked numbers, as they are shown."""

from __future__ import annotations

import pandas as pd

from itm_book.chapters.why_is_my_number_lower import spread_table
from tests.itm_book.records.test_rounding import TWO_BY_TWO

CHAN = TWO_BY_TWO.assign(recipe="chan-smoke", rsum=[200, 202, 210, 210], minutes=0.5)
BOTH = pd.concat([TWO_BY_TWO, CHAN], ignore_index=True)


def test_a_line_for_each_training_and_one_for_all() -> None:
    table = spread_table.readable(BOTH)
    first = table.iloc[0].to_dict()
    assert first == {
        "training": "scan-t2i-mean-smoke",
        "seeds x variants": "2 x 2",
        "mean rSum": "308.0",
        "within a seed": "4.5 (2)",  # the root of 20
        "between seeds": "8.6 (2)",  # of 74
        "seed alone": "7.9",  # of 62
        "minutes": "1.0",
    }
    assert table["within a seed"].tolist() == ["4.5 (2)", "1.0 (2)", "3.2 (4)"]
    assert table["training"].tolist()[-1] == "all, pooled"
    assert len(spread_table.readable(TWO_BY_TWO)) == 1


def test_changes_are_part_of_a_training_and_one_seed_has_no_spread_between_seeds() -> None:
    one = TWO_BY_TWO[TWO_BY_TWO["seed"] == 0].assign(changes="training.epochs=12")
    line = spread_table.readable(one).iloc[0]
    assert line["training"] == "scan-t2i-mean-smoke training.epochs=12"
    assert (line["between seeds"], line["seed alone"]) == ("", "")


def test_variants_stand_side_by_side_the_reference_first() -> None:
    table = spread_table.beside_reference(BOTH[BOTH["rsum"] != 318])
    assert list(table) == ["recipe", "seed", "1 thread", "avx2"]
    assert table["1 thread"].tolist() == ["300.0", "310.0", "200.0", "210.0"]
    assert table["avx2"].tolist() == ["304.0", "", "202.0", "210.0"]
    both = pd.concat([TWO_BY_TWO, CHAN.assign(changes="training.epochs=12")])
    assert spread_table.beside_reference(both)["changes"].tolist()[-1] == "training.epochs=12"


def test_the_sentence_has_the_numbers_of_the_rows() -> None:
    text = spread_table.said(TWO_BY_TWO).data
    assert "standard deviation of **4.5** (2 degrees" in text
    assert "same seed is 8.0" in text


def test_budgets_are_compared_on_the_seeds_and_variants_that_all_have() -> None:
    longer = TWO_BY_TWO[TWO_BY_TWO["seed"] == 0].assign(changes="training.epochs=12")
    rows = pd.concat([TWO_BY_TWO, longer, CHAN])
    same = spread_table.same_design(rows, "scan-t2i-mean-smoke")
    assert set(same["recipe"]) == {"scan-t2i-mean-smoke"}
    assert set(same["seed"]) == {0}
    assert len(same) == 4
    shown = spread_table.readable(same, pooled=False)
    assert shown["seeds x variants"].tolist() == ["1 x 2", "1 x 2"]
    assert spread_table.same_design(CHAN, "chan-smoke").equals(CHAN)


def test_the_status_names_days_machines_and_versions() -> None:
    later = CHAN.assign(made="2026-12-01", machine="another processor")
    assert spread_table.status(TWO_BY_TWO) == (
        "recorded on 2026-11-28, a processor (cpu), torch 2.13.0+cpu"
    )
    assert "2026-11-28 to 2026-12-01, a processor, another processor" in spread_table.status(
        pd.concat([TWO_BY_TWO, later])
    )
