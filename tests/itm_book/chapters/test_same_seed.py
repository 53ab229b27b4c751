"""Trainings that differ in their rounding alone: hand-worked numbers, shown and drawn."""

from __future__ import annotations

import pandas as pd

from itm_book.chapters import same_seed
from tests.itm_book.records.test_rounding import TWO_BY_TWO

CHAN = TWO_BY_TWO.assign(recipe="chan-smoke", rsum=[200, 202, 210, 210], minutes=0.5)
BOTH = pd.concat([TWO_BY_TWO, CHAN], ignore_index=True)


def test_the_finding_has_both_standard_deviations() -> None:
    text = same_seed.finding(TWO_BY_TWO).data
    assert "a standard deviation of 4.5, and by up to 8.0" in text  # the root of 20
    assert "between seeds the standard deviation is 8.6" in text  # the root of 74


def test_a_line_for_each_training_and_one_for_all() -> None:
    table = same_seed.components_table(BOTH)
    first = table.iloc[0].to_dict()
    assert first == {
        "training": "scan-t2i-mean-smoke",
        "seeds x variants": "2 x 2",
        "mean rSum": "308.0",
        "within a seed": "4.5 (2)",  # the root of 20
        "largest difference within a seed": "8.0",
        "between seeds": "8.6 (2)",  # of 74
        "seed alone": "7.9",  # of 62
        "minutes": "1.0",
    }
    assert table["within a seed"].tolist() == ["4.5 (2)", "1.0 (2)", "3.2 (4)"]
    assert table["training"].tolist()[-1] == "all, pooled"
    assert len(same_seed.components_table(TWO_BY_TWO)) == 1


def test_changes_are_part_of_a_training_and_one_seed_has_no_spread_between_seeds() -> None:
    one = TWO_BY_TWO[TWO_BY_TWO["seed"] == 0].assign(changes="training.epochs=12")
    line = same_seed.components_table(one).iloc[0]
    assert line["training"] == "scan-t2i-mean-smoke training.epochs=12"
    assert (line["between seeds"], line["seed alone"]) == ("", "")


def test_variants_stand_side_by_side_the_reference_first() -> None:
    table = same_seed.by_variant(BOTH[BOTH["rsum"] != 318])
    assert list(table) == ["recipe", "seed", "1 thread", "avx2"]
    assert table["1 thread"].tolist() == ["300.0", "310.0", "200.0", "210.0"]
    assert table["avx2"].tolist() == ["304.0", "", "202.0", "210.0"]
    both = pd.concat([TWO_BY_TWO, CHAN.assign(changes="training.epochs=12")])
    assert same_seed.by_variant(both)["changes"].tolist()[-1] == "training.epochs=12"


def test_budgets_are_compared_on_the_seeds_and_variants_that_all_have() -> None:
    longer = TWO_BY_TWO[TWO_BY_TWO["seed"] == 0].assign(changes="training.epochs=12")
    rows = pd.concat([TWO_BY_TWO, longer, CHAN])
    same = same_seed.same_design(rows, "scan-t2i-mean-smoke")
    assert set(same["recipe"]) == {"scan-t2i-mean-smoke"}
    assert set(same["seed"]) == {0}
    assert len(same) == 4
    shown = same_seed.components_table(same, pooled=False)
    assert shown["seeds x variants"].tolist() == ["1 x 2", "1 x 2"]
    assert same_seed.same_design(CHAN, "chan-smoke").equals(CHAN)


def test_the_status_names_days_machines_and_versions() -> None:
    later = CHAN.assign(made="2026-12-01", machine="another processor")
    assert same_seed.status(TWO_BY_TWO) == (
        "recorded on 2026-11-28, a processor (cpu), torch 2.13.0+cpu"
    )
    assert "2026-11-28 to 2026-12-01, a processor, another processor" in same_seed.status(
        pd.concat([TWO_BY_TWO, later])
    )


# --- the figure

TRAININGS = pd.DataFrame(
    {
        "recipe": ["scan-t2i-mean-smoke"] * 4 + ["chan-smoke"] * 2,
        "seed": [0, 0, 1, 1, 0, 0],
        "variant": ["avx2", "1 thread", "1 thread", "avx2", "1 thread", "avx2"],
        "rsum": [304.0, 300.0, 310.0, 318.0, 200.0, 204.0],
    }
)


def test_every_training_is_a_dot_with_the_mark_of_its_variant() -> None:
    figure = same_seed.dots(TRAININGS)
    scan, chan = figure.axes
    assert (scan.get_title(), chan.get_title()) == ("scan-t2i-mean-smoke", "chan-smoke")
    drawn = {
        (line.get_xdata()[0], line.get_ydata()[0], line.get_marker())
        for line in scan.lines
        if line.get_marker() in same_seed.MARKS
    }
    assert drawn == {(300, 0, "o"), (304, 0, "s"), (310, 1, "o"), (318, 1, "s")}
    assert [text.get_text() for text in scan.get_yticklabels()] == ["seed 0", "seed 1"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["1 thread", "avx2"]


def test_a_seed_has_its_range_and_its_mean() -> None:
    lines = same_seed.dots(TRAININGS).axes[0].lines
    ranges = [tuple(line.get_xdata()) for line in lines if len(line.get_xdata()) == 2]
    means = [line.get_xdata()[0] for line in lines if line.get_marker() == "|"]
    assert ranges == [(300, 304), (310, 318)]
    assert means == [302, 314]
