"""The photographs of a folder as a split that a run can score: no dataset, no training.

A shipped matcher names the backbone and the boxes that its features must come from; they are
computed here for any folder.

Page: "First match", "Your pictures".
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from itm_book.datasets.caption_sources import read_captioned
from itm_book.datasets.run_features import require_same_features
from itm_book.photographs.backbones import COLOUR, Backbone, open_backbone
from itm_book.photographs.own_split import load_own
from itm_book.photographs.picture_sources import of_folder
from itm_book.photographs.region_features import Task, make_features
from itm_book.regions import efficientnet
from itm_book.regions.box_scorer import scorer_for
from itm_book.regions.region_boxes import Boxes, Grid
from itm_core.data.dataset import Split
from itm_core.data.photographs import image_key
from itm_core.errors import InputError
from itm_core.experiments.run import Run
from itm_core.files import locked

WITH_PROJECT = (efficientnet.NAME, COLOUR)
CAPTIONS = "captions.json"  # in a folder of photographs: their captions, in Karpathy's format


def pictures_for(
    run: Run,
    folder: Path | str,
    store: Path | str,
    *,
    backbone: Backbone | None = None,
    boxes: Boxes | None = None,
    device: str = "auto",
    progress: bool = True,
) -> Split:
    """Return the photographs of a folder as a split without captions, for a run.

    Damaged files are skipped; features of added or changed photographs are computed again. Of
    several processes that need one store, one computes it and the others wait.

    Args:
        store: the folder of their features.
        backbone, boxes: of the features; by default those that a shipped matcher names, the fixed
            layout or the scored boxes of its backbone.

    Raises `InputError` when there are no photographs, when ``store`` holds something else, and
    when the run was trained on other features or boxes.
    """
    backbone = backbone or backbone_of(run, device)
    boxes = boxes or boxes_of(run, backbone)
    task = Task(sources=of_folder(Path(folder)), backbone=backbone, boxes=boxes)
    store = Path(store)
    with locked(store.with_name(f".{store.name}.queue")):
        made = make_features(task, store, skip_damaged=True, progress=progress)
        split = load_own(made.folder)
    require_same_features(run.config, split)
    return split


def backbone_of(run: Run, device: str = "auto") -> Backbone:
    """Return the backbone whose features a run was trained on.

    A shipped matcher names it; of other runs it is known when it comes with the project.

    Raises `InputError` for a run that names none, and as `open_backbone` does.
    """
    features = run.config.get("features") or {}
    name = run.config.get("shipped", features).get("backbone")
    if "shipped" not in run.config and name not in WITH_PROJECT:
        raise InputError(
            "only a shipped matcher names its backbone",
            file=run.folder,
            expected=f"a shipped matcher, or a run on features of {' or '.join(WITH_PROJECT)}",
            found=name or "features of an unknown backbone",
            remedy="itm results ship RUN NAME writes a matcher that names it",
        )
    return open_backbone(name, side=features.get("side"), device=device)


def boxes_of(run: Run, backbone: Backbone) -> Boxes:
    """Return the boxes that a run names, by default scored ones where the backbone allows them."""
    if run.config.get("boxes") == Grid.name:
        return Grid()
    return scorer_for(backbone, default="boxes" not in run.config) or Grid()


def captioned(split: Split, path: Path | str) -> Split:
    """Return a split of photographs with the captions of a file (see `caption_sources`).

    Raises `InputError` for a photograph without captions.
    """
    path = Path(path)
    captions = {image.image: image.captions for image in read_captioned(path)}
    missing = [name for name in split.ids if image_key(name) not in captions]
    if missing:
        raise InputError(
            "photographs without captions",
            file=path,
            found=", ".join(missing[:3]),
            remedy="add their captions, or put them into a folder of their own",
        )
    texts = [captions[image_key(name)] for name in split.ids]
    return replace(
        split,
        captions=[caption for group in texts for caption in group],
        caption_image=np.repeat(np.arange(len(texts)), [len(group) for group in texts]),
    )
