"""Plug-ins on hosts: effects counted per plug-in."""

from __future__ import annotations

from itm_book.chapters import plugin_matrix
from itm_book.tables import comparison
from tests.itm_book.tables.test_comparison import GRID, three


def test_plug_ins_are_counted_by_their_effects() -> None:
    groups = {"host": three(1.5, 0.4), "host + RCR": three(2.2, 0.6), "other": three(0.7)}
    counts = plugin_matrix.tally(comparison.gains(groups, GRID)).set_index("plug-in")
    assert counts.loc["RCR", ["gains", "losses", "not significant"]].tolist() == [1, 0, 0]
    assert counts.loc["other", ["gains", "losses", "not significant"]].tolist() == [0, 1, 0]
    assert counts["gains in attention F1, word queries"].tolist() == [1, 0]
    assert "not testable" not in counts
    alone = {name: group[:1] for name, group in groups.items()}
    found = plugin_matrix.tally(comparison.gains(alone, GRID))
    assert found["not testable"].tolist() == [1, 1]
