"""Recalls of the recorded rows, and the spread of their gains between seeds.

Page: "Real photographs".
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from itm_book.records import results
from itm_book.records.results import Results
from itm_book.tables import report, sentences
from itm_book.tables.comparison import spread, trained_and_recorded
from itm_book.tables.run_links import linked
from itm_core.evaluation import retrieval
from itm_core.evaluation.statistics import detectable, image_error, sd


def recalls(rows: Results, name: str = "method") -> pd.DataFrame:
    """Return rSum and R@1, R@5, R@10 in both directions as text.

    ``mean over seeds [95 % interval over test images of that mean] ± SD over seeds``.
    """
    shown_rows = []
    for row, group in rows.items():
        limits = retrieval.interval(*(result.hits for result in group))
        shown: dict[str, object] = {name: row}
        for key, title in _recall_titles().items():
            values = np.array([result.metrics[key] for result in group])
            low, high = limits[key]
            shown[title] = f"{values.mean():.1f} [{low:.1f}, {high:.1f}]{spread(sd(values))}"
        shown_rows.append(shown | {"seeds": str(len(group))})
    runs = [[result.run for result in group] for group in rows.values()]
    return linked(pd.DataFrame(shown_rows), {"rSum": runs})


def _recall_titles() -> dict[str, str]:
    sides = {"i2t": "image to text", "t2i": "text to image"}
    cuts = {f"{s}_r{k}": f"{side}, R@{k}" for s, side in sides.items() for k in retrieval.CUTS}
    return {"rsum": "rSum", **cuts}


def trained_here(trained: Results, recorded: Results) -> HTML | Markdown:
    """Return rows trained for this copy of the page beside the recorded ones.

    A note instead where there are none, or where their datasets differ.
    """
    datasets = [{r.dataset for group in f.values() for r in group} for f in (trained, recorded)]
    if not trained:
        return Markdown("No row was trained for this copy of the page.")
    if not recorded:
        return report.html(recalls(trained), results.status(trained))
    if datasets[0] != datasets[1]:
        trained_names, recorded_names = (", ".join(sorted(names)) for names in datasets)
        return Markdown(
            f"Trained here on {trained_names}, recorded on {recorded_names}: not to be compared."
        )
    made_here = trained_and_recorded(trained, recorded)
    caption = (
        f"{results.status(trained)}; compared with the record (recalls in percent). "
        f"{sentences.agreement(made_here)}"
    )
    return report.html(made_here, caption)


def spread_between_seeds(gains: pd.DataFrame) -> pd.DataFrame:
    """Return the spread of gains between seeds, and the gains it makes detectable, in rSum.

    ``gains`` is a table of `comparison.gains`; rows with one seed have no spread. Columns: the
    number of gains, their smallest number of seeds, the smallest, the median and the largest
    standard deviation, and the gain detected in 8 of 10 cases at the median with three and with
    ten seeds, by the test over seeds and the one over images, of the median error over images.
    Empty where no gain has several seeds.
    """
    several = gains[gains["seeds"] > 1] if len(gains) else gains
    if several.empty:
        return pd.DataFrame()
    middle = float(several["spread"].median())
    row = {"gains": str(len(several)), "seeds at least": str(several["seeds"].min())}
    row |= {"smallest SD": f"{several['spread'].min():.0f}", "median": f"{middle:.0f}"}
    row |= {"largest": f"{several['spread'].max():.0f}"}
    ends = zip(several["low"], several["high"], strict=True)
    error = float(np.median([image_error(low, high) for low, high in ends]))
    for seeds in (3, 10):
        least = detectable(middle, seeds, over_images=error)
        row[f"detectable with {seeds} seeds"] = f"{least:.0f}"
    return pd.DataFrame([row])
