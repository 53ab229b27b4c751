"""Boxes of a photograph that people would name, found by a small network on the backbone's maps.

The network is the first stage of Faster R-CNN (Ren et al., 2015): for each of `ANCHORS`, boxes of
six shapes around the cells of three grids, it gives a logit that somebody names what is there, and
corrections of the box. It was trained on the boxes of Flickr30K Entities for the training
photographs of Flickr8k (`scorer_training`), and knows no classes.

Page: "From photographs to features".
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from itm_book.regions import efficientnet
from itm_book.regions.efficientnet import CHANNELS, DEEP, MIDDLE, EfficientNetLite
from itm_book.regions.extractor_files import SCORER, extractor_folder, read_tensors
from itm_book.regions.region_boxes import REGIONS, layout
from itm_core.errors import InputError
from itm_core.evaluation.attention_quality import iou
from itm_core.files import whole_file

GRIDS = {28: (0.10, 0.18), 14: (0.28, 0.42), 7: (0.60, 0.85)}  # cells a side: sides of the anchors
RATIOS = (0.45, 1.0, 2.2)  # width to height
SHAPES = 2 * len(RATIOS)  # of the anchors of a cell
HIDDEN = 96
RARE = -3.0  # first bias of the logit: few anchors are named
MAX_STRETCH = 2.0  # of the logarithm of a side
OVERLAP = 0.5  # IoU above which the box of the lower logit is dropped
CANDIDATES = 400  # boxes that take part in this
SCORED = REGIONS - 1  # the first region is the whole picture


def anchors() -> np.ndarray:
    """Return the anchors ``[A, 4]`` float32: centre x, centre y, width, height, as fractions."""
    rows = []
    for cells, sides in GRIDS.items():
        centres = (np.arange(cells) + 0.5) / cells
        for side in sides:
            for ratio in RATIOS:
                shape = (side * math.sqrt(ratio), side / math.sqrt(ratio))
                rows += [(x, y, *shape) for y in centres for x in centres]
    return np.array(rows, np.float32)


def corners(boxes: Tensor) -> Tensor:
    """Return boxes ``[..., 4]``, given by centre, width and height, as x1, y1, x2, y2."""
    centre, sides = boxes.split(2, -1)
    return torch.cat([centre - sides / 2, centre + sides / 2], -1)


class ScorerNetwork(nn.Module):
    """Logits and corrections of all anchors, from two maps of the backbone."""

    anchors: Tensor

    def __init__(self) -> None:
        super().__init__()
        channels = (CHANNELS[MIDDLE], CHANNELS[DEEP])
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in channels)
        self.reduce = nn.Conv2d(sum(channels), HIDDEN, 1)
        self.towers = nn.ModuleList(self._tower() for _ in GRIDS)
        self.heads = nn.ModuleList(self._head() for _ in GRIDS)
        self.register_buffer("anchors", torch.from_numpy(anchors()), persistent=False)

    @staticmethod
    def _tower() -> nn.Sequential:
        convolutions = [nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1) for _ in range(2)]
        return nn.Sequential(nn.ReLU(), convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU())

    @staticmethod
    def _head() -> nn.Conv2d:
        head = nn.Conv2d(HIDDEN, SHAPES * 5, 1)
        bias = torch.zeros(SHAPES, 5)
        bias[:, 0] = RARE
        nn.init.normal_(head.weight, std=0.01)
        head.bias = nn.Parameter(bias.flatten())
        return head

    def forward(self, middle: Tensor, deep: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``[B, A]`` and corrections ``[B, A, 4]``.

        Args:
            middle, deep: `Maps` of pictures, ``[B, 120, 28, 28]`` and ``[B, 352, 14, 14]``.
        """
        middle, deep = self.norms[0](middle), self.norms[1](deep)
        joined = torch.cat([middle, functional.interpolate(deep, scale_factor=2)], 1)
        fine = self.reduce(joined)
        values = []
        for cells, tower, head in zip(GRIDS, self.towers, self.heads, strict=True):
            pooled = functional.adaptive_avg_pool2d(fine, cells)
            output = head(tower(pooled)).unflatten(1, (SHAPES, 5)).flatten(3)
            values.append(output.transpose(2, 3).flatten(1, 2))
        joint = torch.cat(values, 1)
        return joint[..., 0], joint[..., 1:]

    def boxes(self, corrections: Tensor, which: Tensor | slice = slice(None)) -> Tensor:
        """Return the corrected anchors as x1, y1, x2, y2 in fractions of width and height."""
        anchor_centres, anchor_sides = self.anchors[which].split(2, -1)
        shift, stretch = corrections.split(2, -1)
        centres = anchor_centres + shift * anchor_sides
        sides = anchor_sides * stretch.clamp(-MAX_STRETCH, MAX_STRETCH).exp()
        return corners(torch.cat([centres, sides], -1))


def read_scorer(path: Path) -> ScorerNetwork:
    """Return the network in a file; raises `InputError` where it is missing or does not fit."""
    network = ScorerNetwork()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    tensors = read_tensors(path, shapes)
    network.load_state_dict(
        {name: torch.from_numpy(np.array(values)) for name, values in tensors.items()}
    )
    return network.eval()


def write_scorer(network: ScorerNetwork, path: Path) -> None:
    """Write the weights as float16, completely or not at all."""
    tensors = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    with whole_file(path) as partial:
        save_file(tensors, partial)


def without_overlap(boxes: np.ndarray, logits: np.ndarray, count: int) -> np.ndarray:
    """Return at most ``count`` of the boxes ``[n, 4]``, best first (non-maximum suppression).

    A box is dropped when its IoU with a better one that is kept exceeds `OVERLAP`.
    """
    order = np.argsort(-logits, kind="stable")[:CANDIDATES]
    boxes = boxes[order]
    overlaps = iou(boxes, boxes) > OVERLAP
    chosen: list[int] = []
    free = np.ones(len(boxes), bool)
    for k in range(len(boxes)):
        if free[k]:
            chosen.append(k)
            free &= ~overlaps[k]
        if len(chosen) == count:
            break
    return boxes[chosen]


@torch.inference_mode()
def regions_of(
    network: ScorerNetwork, middle: Tensor, deep: Tensor, width: float, height: float
) -> np.ndarray:
    """Return the boxes ``[36, 4]`` float32 of a picture of a size: whole, scored, fixed.

    Args:
        middle, deep: `Maps` of the picture, with a leading dimension of one.
    """
    logits, corrections = network(middle, deep)
    relative = network.boxes(corrections[0]).clamp(0, 1).cpu().numpy().astype(np.float64)
    best = without_overlap(relative, logits[0].cpu().numpy(), SCORED)
    scored = (best * [width, height, width, height]).astype(np.float32)
    fixed = layout(width, height)
    return np.concatenate([fixed[:1], scored, fixed[1:]])[:REGIONS]


class BoxScorer:
    """The whole picture, the boxes with the highest logits, then boxes of the fixed layout."""

    def __init__(self, backbone: EfficientNetLite, path: Path | None = None) -> None:
        """Read the weights, by default those of this project.

        Raises `InputError` for weights that are missing, damaged, or of another network, and for a
        backbone whose maps do not have the size that the network was trained on.
        """
        path = path or extractor_folder() / SCORER
        if backbone.side != 16 * max(GRIDS):
            raise InputError(
                "the box scorer reads the maps of pictures of another size",
                expected=f"--side {16 * max(GRIDS)}",
                found=backbone.side,
            )
        self.backbone = backbone
        self.network = read_scorer(path).to(backbone.device)
        self.name = f"box scorer, {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"

    def __call__(self, split: str, k: int, name: str, picture: np.ndarray) -> np.ndarray:
        """Return boxes ``[36, 4]`` float32 in pixels."""
        height, width = picture.shape[:2]
        maps = self.backbone.maps(picture)
        return regions_of(self.network, maps.middle[None], maps.deep[None], width, height)


def scorer_for(backbone: object, *, default: bool = False) -> BoxScorer | None:
    """Return the box scorer on the maps of a backbone.

    With ``default``, None for a backbone without such maps; otherwise `InputError` is raised.
    """
    if isinstance(backbone, EfficientNetLite):
        return BoxScorer(backbone)
    if default:
        return None
    raise InputError(
        "scored boxes need the maps of another backbone",
        expected=f"--backbone {efficientnet.NAME}",
        remedy="leave --boxes out, for the fixed layout",
    )
