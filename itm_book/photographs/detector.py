"""Boxes by a pretrained detector: DETR's family, through the transformers library.

The surest boxes come first, and the fixed layout fills up to 36, so that nothing of a picture is
out of sight where the detector found little.

Page: "The data".
"""

from __future__ import annotations

import numpy as np
import torch

from itm_book.photographs.backbones import Pixels, find_model, load, weights_hash
from itm_book.photographs.region_boxes import filled_up
from itm_core.environment import pick_device
from itm_core.errors import InputError

FAMILY = ("detr", "yolos", "table-transformer")  # which have a class for "nothing", the last
SURE = 0.3  # probability of its class that a box needs
MOST = 24  # boxes that are taken; the layout has the rest
SIDE, STEP = 800, 32  # pixels of the longer side; rounded to whole steps


class Detector:
    """The boxes that a detector is surest of, then the fixed layout."""

    def __init__(self, name: str, *, device: str = "auto", download: bool = False) -> None:
        """Raise `InputError` when the library or the weights are missing, or of another family."""
        folder = find_model(name, download=download)
        self.model = load("AutoModelForObjectDetection", folder).to(pick_device(device))
        kind = self.model.config.model_type
        if kind not in FAMILY:
            expected = f"one of {', '.join(FAMILY)}"
            raise InputError("an unknown detector", file=folder, expected=expected, found=kind)
        self.pixels = Pixels(folder, SIDE, STEP, pick_device(device))
        self.name = f"detector {kind}, {weights_hash(folder)[:12]}"

    @torch.inference_mode()
    def __call__(self, split: str, k: int, name: str, picture: np.ndarray) -> np.ndarray:
        """Return boxes ``[36, 4]`` float32 in pixels."""
        height, width = picture.shape[:2]
        found = self.model(self.pixels(picture))
        sure = found.logits[0].float().softmax(-1)[:, :-1].max(-1).values
        order = torch.argsort(sure, descending=True, stable=True)
        order = order[sure[order] >= SURE][:MOST].cpu()
        middle, sides = found.pred_boxes[0].float().cpu()[order].split(2, -1)  # shares
        shares = torch.cat([middle - sides / 2, middle + sides / 2], -1).numpy()
        return filled_up(shares * np.array([width, height, width, height]), width, height)
