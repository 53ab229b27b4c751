"""All six recalls of every row of a table with their intervals, and what was trained here beside.

Page: "Real photographs".
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from itm_book.records import results
from itm_book.records.results import Results
from itm_book.tables import report
from itm_book.tables.comparison import beside, spread
from itm_book.tables.run_links import linked
from itm_core.evaluation import retrieval
from itm_core.evaluation.statistics import detectable, sd

SIDES = {"i2t": "image to text", "t2i": "text to image"}


def recalls(found: Results, name: str = "method") -> pd.DataFrame:
    """Return rSum and R@1, R@5, R@10 of both directions as text.

    ``mean over seeds [95 % interval over test images of that mean] ± spread between seeds``.
    """
    rows = []
    for row, group in found.items():
        limits = retrieval.interval(*(result.hits for result in group))
        shown: dict[str, object] = {name: row}
        for key, title in _titles().items():
            values = np.array([result.metrics[key] for result in group])
            low, high = limits[key]
            shown[title] = f"{values.mean():.1f} [{low:.1f}, {high:.1f}]{spread(sd(values))}"
        rows.append(shown | {"seeds": str(len(group))})
    runs = [[result.run for result in group] for group in found.values()]
    return linked(pd.DataFrame(rows), {"rSum": runs})


def _titles() -> dict[str, str]:
    cuts = {f"{s}_r{k}": f"{side}, R@{k}" for s, side in SIDES.items() for k in retrieval.CUTS}
    return {"rsum": "rSum", **cuts}


def trained_here(made: Results, recorded: Results) -> HTML | Markdown:
    """Return rows trained here beside the recorded ones, or in words why there is nothing to show.

    Numbers of different datasets are never set beside each other.
    """
    datasets = [{r.dataset for group in f.values() for r in group} for f in (made, recorded)]
    if not made:
        return Markdown("No row was trained for this copy of the page.")
    if datasets[0] != datasets[1]:
        ours, theirs = (", ".join(sorted(names)) for names in datasets)
        return Markdown(f"Trained here on {ours}, recorded on {theirs}: not to be compared.")
    said = f"{results.status(made)}; beside the record (recalls in percent)"
    return report.html(beside(made, recorded), said)


def seeds_elsewhere(gained: pd.DataFrame, dataset: str) -> Markdown:
    """Return how far the gains of `comparison.gains` spread between seeds, in words.

    For a table with one seed, which has no spread of its own.
    """
    known = gained[gained["seeds"] > 1] if len(gained) else gained
    if known.empty:
        return Markdown(f"No gain of these rows was recorded on {dataset} with several seeds.")
    least, most = known["spread"].min(), known["spread"].max()
    three, ten = (detectable(float(known["spread"].median()), seeds) for seeds in (3, 10))
    return Markdown(
        f"On {dataset}, where the same rows have {known['seeds'].min()} seeds or more, the "
        f"standard deviation of a gain between seeds runs from {least:.0f} to {most:.0f} rSum. A "
        "gain of that size here, from one seed, may be the seed's. With a spread in the middle of "
        f"these, three seeds would show a gain of {three:.0f} rSum in 8 of 10 cases, ten seeds one "
        f"of {ten:.0f}."
    )
