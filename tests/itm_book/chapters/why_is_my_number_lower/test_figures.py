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
