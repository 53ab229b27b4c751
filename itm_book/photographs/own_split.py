"""Loads pictures without captions, written by `region_features`, for a search.

Page: "Your pictures".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itm_book.photographs.picture_sources import OWN
from itm_core.data.arrays import array, boxes_and_sizes, finite
from itm_core.data.dataset import Split
from itm_core.data.names import require_ids
from itm_core.data.vocabulary import read_captions
from itm_core.errors import InputError
from itm_core.files import unique_keys


def load_own(folder: Path | str) -> Split:
    """Return the pictures of a folder that ``itm data make`` wrote, as a split without captions.

    Raises `InputError` for a folder without such features, or for damaged ones.
    """
    folder = Path(folder)
    path = folder / f"{OWN}_ims.npy"
    if not path.exists():
        remedy = "itm data make PHOTOGRAPHS --out FOLDER"
        raise InputError("no features of pictures in this folder", file=path, remedy=remedy)
    regions = array(path, ("images", "regions", "width"), "float32")
    finite(path, regions)
    boxes, sizes = boxes_and_sizes(folder, OWN, regions.shape[:2], 1)
    ids_file = folder / f"{OWN}_ids.txt"
    ids = read_captions(ids_file)
    if len(ids) != len(regions):
        raise InputError(
            "wrong number of ids", file=ids_file, expected=len(regions), found=len(ids)
        )
    require_ids(ids, ids_file)
    unique_keys(((name, f"row {row}") for row, name in enumerate(ids, 1)), ids_file)
    return Split(folder, OWN, regions, [], ids, np.zeros(0, np.int64), boxes, sizes)
