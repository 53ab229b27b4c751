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
from itm_book.tables.labels import GAIN, LOSS, UNTESTABLE
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
SIGNIFICANT = (GAIN, LOSS)


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

    For each method of which all causes were run; only of differences that are significant on both
    datasets.
    """
    lines = []
    for row, title in METHODS.items():
        rows = [f"{row} ({change})" for change in CAUSES.values()]
        names = {*photographs.get("name", ()), *scenes.get("name", ())}
        if {*rows, *CAUSES} <= names:
            columns = ["gain", "effect"]
            ours = photographs.set_index("name").loc[rows, columns].set_axis(list(CAUSES))
            theirs = scenes.set_index("name").loc[list(CAUSES), columns]
            lines.append(f"**{title}:** {_kept(ours, theirs)}.")
    return Markdown(" ".join(lines) or "Not all of these rows are recorded yet.")


def _kept(ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """Return in how many causes two tables with ``gain`` and ``effect`` agree, in words."""
    tested = (ours["effect"] != UNTESTABLE) & (theirs["effect"] != UNTESTABLE)
    if not tested.any():
        return "not tested (one seed)"
    both = ours["effect"].isin(SIGNIFICANT) & theirs["effect"].isin(SIGNIFICANT)
    gains = np.array([table.loc[both, "gain"] for table in (ours, theirs)], float)
    are = "is" if both.sum() == 1 else "are"
    said = f"{both.sum()} of {len(ours)} {are} significant on both datasets"
    if both.any():
        said += (
            f", {(np.sign(gains[0]) == np.sign(gains[1])).sum()} of them with the sign of Scenes"
        )
    if both.sum() > 1:
        same = np.array_equal(*np.argsort(gains))
        said += f", in {'the order of' if same else 'another order than on'} Scenes"
    one_seed = int((~tested).sum())
    return f"{said}; {one_seed} not tested (one seed)" if one_seed else said
