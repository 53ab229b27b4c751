"""Boxes of a pretrained detector of the DETR family, through the transformers library.

The most confident boxes come first; boxes of the fixed layout fill up to 36, so that every part of
a picture has a region.

Page: "From photographs to features".
"""

from __future__ import annotations

import numpy as np
import torch

from itm_book.photographs.backbones import Pixels, find_model, load, weights_hash
from itm_book.regions.region_boxes import filled_up
from itm_core.environment import pick_device
from itm_core.errors import InputError

FAMILY = ("detr", "yolos", "table-transformer")  # their last class is "no object"
MIN_CONFIDENCE = 0.3  # probability of the class of a box
MAX_BOXES = 24  # of the detector; the others are those of the layout
SIDE, STEP = 800, 32  # longer side in pixels; rounded to multiples of the step


class Detector:
    """The most confident boxes of a detector, then those of the fixed layout."""

    def __init__(self, name: str, *, device: str = "auto", download: bool = False) -> None:
        """Raise `InputError` when the library or the weights are missing, or of another family."""
        folder = find_model(name, download=download)
        self.model = load("AutoModelForObjectDetection", folder).to(pick_device(device))
        kind = self.model.config.model_type
        if kind not in FAMILY:
            expected = f"one of {', '.join(FAMILY)}"
            raise InputError("unknown type of detector", file=folder, expected=expected, found=kind)
        self.pixels = Pixels(folder, SIDE, STEP, pick_device(device))
        self.name = f"detector {kind}, {weights_hash(folder)[:12]}"

    @torch.inference_mode()
    def __call__(self, split: str, k: int, name: str, picture: np.ndarray) -> np.ndarray:
        """Return boxes ``[36, 4]`` float32 in pixels."""
        height, width = picture.shape[:2]
        output = self.model(self.pixels(picture))
        confidence = output.logits[0].float().softmax(-1)[:, :-1].max(-1).values
        order = torch.argsort(confidence, descending=True, stable=True)
        order = order[confidence[order] >= MIN_CONFIDENCE][:MAX_BOXES].cpu()
        centre, sides = output.pred_boxes[0].float().cpu()[order].split(2, -1)  # in [0, 1]
        relative = torch.cat([centre - sides / 2, centre + sides / 2], -1).numpy()
        return filled_up(relative * np.array([width, height, width, height]), width, height)
