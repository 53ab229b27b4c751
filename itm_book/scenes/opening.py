"""A dataset that is opened, and made before where it is a preset of Scenes.

Page: every chapter with a dataset.
"""

from __future__ import annotations

from pathlib import Path

from itm_book.scenes.generate import make_scenes
from itm_core.data.dataset import Dataset, load_dataset

FOLDERS = {"scenes": "full", "scenes-small": "small", "scenes-tiny": "tiny"}  # name: preset


def make_if_missing(folder: Path, *, progress: bool = True) -> None:
    """Make the preset of Scenes that a folder is named after (`FOLDERS`), unless it is there.

    Folders of other names are left alone. Raises `InputError` as `make_scenes` does.
    """
    if folder.name in FOLDERS:
        make_scenes(folder, preset=FOLDERS[folder.name], progress=progress)


def load_or_make(folder: Path | str, *, progress: bool = True) -> Dataset:
    """Return the dataset in a folder of the SCAN layout; a missing preset of Scenes is made.

    Raises `InputError` as `load_dataset` and `make_scenes` do.
    """
    if not Path(folder).exists():
        make_if_missing(Path(folder), progress=progress)
    return load_dataset(folder)
