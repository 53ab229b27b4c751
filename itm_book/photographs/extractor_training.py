"""Training of the extractor's parts on photographs with people's boxes: ``itm data extractor``.

The box scorer is trained first; the projection is then fitted on the regions that it gives.

Page: "From photographs to features".
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from itm_book.datasets.entity_files import EntityFiles
from itm_book.folders import require_name, swap
from itm_book.photographs.picture_sources import Source
from itm_book.regions.box_scorer import ScorerNetwork, read_scorer, regions_of, write_scorer
from itm_book.regions.efficientnet import EfficientNetLite
from itm_book.regions.extractor_files import PROJECTION, SCORER
from itm_book.regions.projection import fitted
from itm_book.regions.scorer_training import ScorerSettings, StoredMaps, train_scorer
from itm_core import environment
from itm_core.data.photographs import image_key
from itm_core.errors import InputError
from itm_core.files import locked, make_folder, space_checked
from itm_core.json_files import write_json

EVERY = 6  # the projection is fitted on the regions of every sixth picture
NOTE = "extractor.json"


def annotated_boxes(source: Source, root: Path) -> list[np.ndarray]:
    """Return the boxes ``[n, 4]`` of each picture in fractions of its sides, from Entities.

    Raises `InputError` for a picture without annotation.
    """
    files = EntityFiles(root)
    boxes = []
    for photograph in source.ids:
        name = files.name_of(image_key(photograph))
        if name is None:
            raise InputError(f"no annotation of {photograph}", file=root / "Annotations")
        of_picture = files.boxes(name)
        values = np.array([corners for corners, _ in of_picture.boxes], np.float64)
        boxes.append(values.reshape(-1, 4) / np.tile(of_picture.size, 2))
    return boxes


def train_extractor(
    source: Source, root: Path, folder: Path, settings: ScorerSettings, *, device: str = "auto"
) -> list[str]:
    """Write a trained box scorer and a projection to a new folder; return lines that say so.

    Args:
        source: training photographs.
        root: the folder of Flickr30K Entities.

    Maps are kept until the folder is complete, so a killed process is resumed. Raises `InputError`
    for a folder that exists, and a picture that cannot be read or has no annotation.
    """
    if folder.exists():
        raise InputError("this folder exists", file=folder, remedy="name another one: --out")
    make_folder(folder.parent)
    work = require_name(folder).with_name(f".{folder.name}.partial")
    lock = folder.with_name(f".{folder.name}.lock")
    with locked(lock, "another process trains this extractor", file=folder), space_checked(folder):
        boxes = annotated_boxes(source, root)
        backbone = EfficientNetLite(device=device)
        (work / "maps").mkdir(parents=True, exist_ok=True)
        pictures = [*zip(source.ids, source.stamps, strict=True)]
        maps = StoredMaps(work / "maps", pictures, source.picture, backbone)
        assembled = work / "whole"
        shutil.rmtree(assembled, ignore_errors=True)  # of a process that was killed
        assembled.mkdir()
        write_scorer(train_scorer(maps, boxes, settings), assembled / SCORER)
        scorer = read_scorer(assembled / SCORER)  # rounded, as it will be used
        projection, kept = fitted(_regions(source, maps, scorer, backbone))
        projection.write(assembled / PROJECTION)
        write_json(
            assembled / NOTE,
            {
                "pictures": len(source.ids),
                "boxes": sum(map(len, boxes)),
                "settings": settings.model_dump(),
                "variance_kept": round(kept, 4),
                "backbone": backbone.identity,
                "environment": environment.describe(backbone.device),
            },
        )
        swap(assembled, folder)
        shutil.rmtree(work)
    return [
        f"{sum(map(len, boxes)):,} boxes of {len(source.ids):,} photographs",
        f"{projection.width} components keep {kept:.1%} of the variance",
        str(folder),
    ]


def _regions(
    source: Source, maps: StoredMaps, scorer: ScorerNetwork, backbone: EfficientNetLite
) -> Iterator[np.ndarray]:
    """Yield the unprojected features ``[36, 2560]`` of the regions of some pictures."""
    for row in tqdm(range(0, maps.count, EVERY), desc="projection", unit="image"):
        picture = source.picture(row)
        height, width = picture.shape[:2]
        middle, deep = maps.batch(np.array([row]))
        boxes = regions_of(scorer, middle, deep, width, height)
        yield backbone(picture, boxes)
