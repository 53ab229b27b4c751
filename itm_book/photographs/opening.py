"""What a page shows: shipped matchers on a folder of photographs, or runs on any dataset.

Page: "First match", "The gallery: what is found, and why".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from itm_book.checkpoints import shipped_matchers
from itm_book.datasets.run_features import require_same_features
from itm_book.photographs.run_pictures import CAPTIONS, captioned, pictures_for
from itm_book.scenes.opening import load_or_make
from itm_core.data.dataset import Split
from itm_core.errors import InputError
from itm_core.experiments import runs
from itm_core.experiments.run import Run


def open_photographs(
    pictures: Path | str,
    features: Path | str,
    matchers: Sequence[str] = (),
    *,
    most: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> tuple[dict[str, Run], Split]:
    """Return matchers by their titles, and the photographs of a folder; nothing is trained.

    Args:
        pictures: the folder, with captions of every photograph in ``captions.json``.
        features: the folder where their features are kept.
        matchers: of `shipped_matchers.load`; by default all that are shipped.
        most: the largest number of matchers, the first ones.

    Raises `InputError` as `shipped_matchers.load_all`, `pictures_for` and `captioned` do, for a
    folder without captions, and for matchers that need different features.
    """
    captions = Path(pictures) / CAPTIONS
    if not captions.exists():
        raise InputError(
            "these photographs have no captions",
            file=captions,
            expected="five sentences for each, as in data/pictures",
            remedy="write them, or open the notebook your_pictures, which needs none",
        )
    chosen = shipped_matchers.load_all([*matchers][:most])
    shown = dict(list(chosen.items())[:most])
    first = next(iter(shown.values()))
    split = pictures_for(first, pictures, features, device=device, progress=progress)
    for run in shown.values():
        require_same_features(run.config, split)
    return shown, captioned(split, captions)


def open_dataset(
    dataset: Path | str,
    recipes: Mapping[str, str],
    *,
    seed: int = 0,
    device: str = "auto",
    root: Path | str = runs.ROOT,
    progress: bool = True,
) -> tuple[dict[str, Run], Split]:
    """Return the runs of recipes on a dataset by their displayed names, and its test split.

    A run is trained unless it is finished. Raises `InputError` as `runs.train_or_load` does.
    """
    data = load_or_make(dataset, progress=progress)
    trained = {
        name: runs.train_or_load(
            data, recipe, seed=seed, device=device, root=root, progress=progress
        )
        for name, recipe in recipes.items()
    }
    return trained, data.test
