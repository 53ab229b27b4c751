"""The largest causes that lie in the training, on photographs: rows of the grid ``budget``.

Page: "Why is my number lower?".
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown

from itm_book.chapters.why_is_my_number_lower import tables
from itm_book.records import results
from itm_book.records.grids import Grid
from itm_book.records.results import Results
from itm_book.tables.comparison import spread
from itm_book.tables.run_links import linked

CAUSES: Mapping[str, str] = MappingProxyType(  # row of the grid `lower`: change in `budget`
    {
        "no warm-up": "no warm-up",
        "3 epochs, the schedule shortened": "3 epochs",
        "batch 64": "batch 64",
    }
)
METHODS: Mapping[str, str] = MappingProxyType(  # middle row of the grid `budget`: its title
    {"base t2i": "SCAN's attention (RCAR's base)", "CHAN": "CHAN"}
)
NOT_RUN = "not run"


def differences(runs: Results, grid: Grid) -> pd.DataFrame:
    """Return what each cause changes in rSum on photographs, for each method of `METHODS`.

    ``runs`` are of the grid ``budget``; each is compared with the middle row of its method. A
    table as of `tables.row_differences`, with ``name`` the row of the grid.
    """
    over = {f"{row} ({change})": row for row in METHODS for change in CAUSES.values()}
    return tables.row_differences(runs, grid, over=over)


def beside(scenes: pd.DataFrame, photographs: pd.DataFrame) -> pd.DataFrame:
    """Return each cause on Scenes (rows of the grid ``lower``) and on photographs, as text.

    ``photographs`` is of `differences`. What is missing is *not run*.
    """
    on_scenes, there = (
        {row["name"]: row for row in table.to_dict("records")} for table in (scenes, photographs)
    )
    columns: dict[str, Sequence[Mapping[Hashable, Any] | None]] = {
        "on Scenes: SCAN t2i": [on_scenes.get(cause) for cause in CAUSES]
    }
    for row, title in METHODS.items():
        columns[f"on photographs: {title}"] = [
            there.get(f"{row} ({change})") for change in CAUSES.values()
        ]
    shown = pd.DataFrame(
        {
            "cause": [cause.partition(",")[0] for cause in CAUSES],
            **{title: [_cell(cell) for cell in cells] for title, cells in columns.items()},
        }
    )
    places = {
        title: [list(cell["runs"]) if cell else [] for cell in cells]
        for title, cells in columns.items()
    }
    return linked(shown, places)


def _cell(row: Mapping[Hashable, Any] | None) -> str:
    """Return a difference with its interval over images, its spread, effect and seeds."""
    if row is None:
        return NOT_RUN
    seeds = int(row["seeds"])
    return (
        f"{row['gain']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]{spread(row['spread'])}, "
        f"{tables.EFFECT_TITLES[row['effect']]}, {seeds} seed{'s' if seeds > 1 else ''}"
    )


def status(runs: Results) -> str:
    """Return dataset, seeds and machine of the runs on photographs, for a caption."""
    return results.status(runs) if runs else "nothing is recorded on photographs yet"


def order_kept(scenes: pd.DataFrame, photographs: pd.DataFrame) -> Markdown:
    """Return whether the causes have on photographs the signs and the order of Scenes, as text.

    For each method of which all causes were run.
    """
    named = scenes.set_index("name")["gain"] if len(scenes) else pd.Series(dtype=float)
    lines = []
    for row, title in METHODS.items():
        rows = [f"{row} ({change})" for change in CAUSES.values()]
        gains = photographs.set_index("name")["gain"].reindex(rows) if len(photographs) else None
        if gains is None or gains.isna().any() or not set(CAUSES) <= set(named.index):
            continue
        ours, theirs = gains.to_numpy(float), named[list(CAUSES)].to_numpy(float)
        signs = int((np.sign(ours) == np.sign(theirs)).sum())
        same = np.array_equal(np.argsort(ours), np.argsort(theirs))
        order = "in the order of Scenes" if same else "in another order than on Scenes"
        lines.append(f"**{title}:** {signs} of {len(CAUSES)} have the sign of Scenes, {order}.")
    return Markdown(" ".join(lines) or "Not all of these rows are recorded yet.")
