"""What a run was made of, and what its words attend to.

Page: "One experiment".
"""

from __future__ import annotations

from html import escape

import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from itm_book.figures import attention_maps
from itm_book.pairs.pair_records import records_of
from itm_book.tables import sentences
from itm_core.data.dataset import Dataset, Split
from itm_core.experiments.runs import Run


def facts(run: Run, data: Dataset) -> pd.DataFrame:
    """Return data, model, budget and machine of a run; of imported weights, their file."""
    recipe, where = run.recipe, run.environment
    images, _, width = data.train.regions.shape
    rows = {
        "dataset": f"{data.name}: {images} / {len(data.dev.regions)} / {len(data.test.regions)} "
        f"images (train / dev / test), {data.train.regions_text} regions of {width}",
        "vocabulary": f"{len(data.vocabulary)} words",
        "recipe": f"{recipe.name}, seed {run.seed}",
        "matcher": ", ".join(f"{k} {v}" for k, v in vars(recipe.matcher).items()),
        "training": ", ".join(f"{k} {v}" for k, v in vars(recipe.training).items()),
        "device": f"{where['device_name']}, {where['threads']} threads",
        "minutes": f"{where['seconds_training'] / 60:.1f} of training",
        "versions": f"Python {where['python']}, torch {where['packages']['torch']}",
        "commit": where["commit"] or "not a git checkout",
    }
    if run.imported:
        rows["recipe"] = recipe.name
        rows["minutes"] = "not trained here"
        rows["weights"] = (
            f"imported from {run.imported['file']}, SHA-256 {run.imported['sha256'][:12]}…"
        )
    return pd.DataFrame({"": rows.keys(), "value": rows.values()})


def finding(run: Run, data: Dataset) -> HTML:
    """Return rSum with its interval, and R@1 in both directions, of a run."""
    low, high = run.metrics["intervals"]["rsum"]
    return sentences.finding(
        f"{escape(run.recipe.name)} has an rSum of {run.metrics['rsum']:.1f} "
        f"[{low:.1f}, {high:.1f}] on the test split of {escape(data.name)}. A relevant item is "
        f"first for {run.metrics['t2i_r1']:.1f} % of the captions and "
        f"{run.metrics['i2t_r1']:.1f} % of the images."
    )


def attention(run: Run, split: Split, image: int, caption: int) -> Figure | HTML:
    """Return the `attention_maps.maps` of a pair, or that the method has no attention.

    ``caption`` is its index among all captions of the split.
    """
    (record,) = records_of(run, split, [(image, caption)])
    if record.directions:
        return attention_maps.maps(record)
    return HTML(
        f"<p>{escape(run.recipe.name)} compares one vector of the picture with one of the "
        "caption: no word attends to a region.</p>"
    )
