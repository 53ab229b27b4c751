"""What a run was made of.

Page: "One experiment".
"""

from __future__ import annotations

import pandas as pd

from itm_core.data.dataset import Dataset
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
