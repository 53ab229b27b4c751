"""The overview of causes: every row is drawn, and a bar too long says how long it is."""

from __future__ import annotations

import pandas as pd

from itm_book.chapters.why_is_my_number_lower import figures

ROWS = pd.DataFrame(
    {
        "name": ["another vocabulary", "no warm-up", "bfloat16"],
        "group": ["tokeniser", "warm-up", "precision"],
        "gain": [-300.0, -20.0, 1.0],
        "low": [-320.0, -30.0, -1.0],
        "high": [-280.0, -10.0, 3.0],
        "effect": ["loss", "loss", "not significant"],
    }
)


def test_long_bars_are_cut_and_carry_their_number() -> None:
    axes = figures.overview(ROWS, reach=60).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [-60, -20, 1]
    assert [text.get_text().strip() for text in axes.texts] == ["\N{MINUS SIGN}300"]
    assert [bar.get_alpha() for bar in axes.patches][-1] < 1


def test_every_row_is_named_with_its_cause() -> None:
    labels = [t.get_text() for t in figures.overview(ROWS).axes[0].get_yticklabels()]
    assert labels == ["tokeniser: another vocabulary", "no warm-up", "precision: bfloat16"]


# --- rounding

TRAININGS = pd.DataFrame(
    {
        "recipe": ["scan-t2i-mean-smoke"] * 4 + ["chan-smoke"] * 2,
        "seed": [0, 0, 1, 1, 0, 0],
        "variant": ["avx2", "1 thread", "1 thread", "avx2", "1 thread", "avx2"],
        "rsum": [304.0, 300.0, 310.0, 318.0, 200.0, 204.0],
    }
)


def test_every_training_is_a_dot_with_the_mark_of_its_variant() -> None:
    figure = figures.rounding_dots(TRAININGS)
    scan, chan = figure.axes
    assert (scan.get_title(), chan.get_title()) == ("scan-t2i-mean-smoke", "chan-smoke")
    drawn = {
        (line.get_xdata()[0], line.get_ydata()[0], line.get_marker())
        for line in scan.lines
        if line.get_marker() in figures.MARKS
    }
    assert drawn == {(300, 0, "o"), (304, 0, "s"), (310, 1, "o"), (318, 1, "s")}
    assert [text.get_text() for text in scan.get_yticklabels()] == ["seed 0", "seed 1"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["1 thread", "avx2"]


def test_a_seed_has_its_range_and_its_mean() -> None:
    lines = figures.rounding_dots(TRAININGS).axes[0].lines
    ranges = [tuple(line.get_xdata()) for line in lines if len(line.get_xdata()) == 2]
    means = [line.get_xdata()[0] for line in lines if line.get_marker() == "|"]
    assert ranges == [(300, 304), (310, 318)]
    assert means == [302, 314]
