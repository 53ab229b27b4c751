"""Plug-ins on hosts: how often each plug-in gains.

Page: "Plug-ins on hosts".
"""

from __future__ import annotations

from html import escape

import pandas as pd
from IPython.display import HTML

from itm_book.tables import sentences
from itm_book.tables.comparison import plugin_names
from itm_book.tables.labels import GAIN, LOSS, NO_EFFECT, UNTESTABLE
from itm_book.tables.notes import Note, noted
from itm_book.tables.run_links import uncommitted


def tally(gains: pd.DataFrame) -> pd.DataFrame:
    """Return for every plug-in the number of hosts with a gain, a loss, or no significant effect.

    ``gains`` is a table of `comparison.gains`.
    """
    rows, notes = [], []
    for plugin, part in gains.assign(plugin=plugin_names(gains)).groupby("plugin", sort=False):
        effects = part["effect"].value_counts()
        attention = part["words_effect"].value_counts()
        rows.append(
            {
                "plug-in": plugin,
                "hosts": len(part),
                "gains": effects.get(GAIN, 0),
                "losses": effects.get(LOSS, 0),
                "not significant": effects.get(NO_EFFECT, 0),
                "not testable": effects.get(UNTESTABLE, 0),
                "mean gain in rSum": f"{part['gain'].mean():+.1f}",
                "gains in attention F1, word queries": attention.get(GAIN, 0),
                "losses in attention F1, word queries": attention.get(LOSS, 0),
            }
        )
        notes.append(Note(uncommitted=uncommitted(part["runs"])))
    table = noted(pd.DataFrame(rows), {"mean gain in rSum": notes})
    return table if table["not testable"].any() else table.drop(columns="not testable")


def finding(gains: pd.DataFrame) -> HTML:
    """Return how many gains of `comparison.gains` are significant, and the largest tested one."""
    tested = gains[gains["effect"] != UNTESTABLE]
    best = (tested if len(tested) else gains).nlargest(1, "gain").to_dict("records")[0]
    return sentences.finding(
        f"{sentences.tally(gains, 'plug-ins on hosts')}. The largest gain is that of "
        f"<em>{escape(best['name'])}</em>, {best['gain']:+.1f} rSum ({best['effect']}, "
        f"{best['seeds']} seed{'s' if best['seeds'] > 1 else ''})."
    )
