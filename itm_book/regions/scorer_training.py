"""Training of the box scorer on people's boxes: the first part of ``itm data extractor``.

The maps of the backbone are computed once and kept on disk while the scorer trains. An anchor is
positive for the box that it overlaps by an IoU of at least `POSITIVE`, and for each box the best
anchor is positive too; between `NEGATIVE` and `POSITIVE` it is ignored. The logits are trained by
the focal loss (Lin et al., 2017), the boxes of positive anchors by the generalised IoU (Rezatofighi
et al., 2019). Half of the pictures are mirrored.

Page: "From photographs to features".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_
from tqdm.auto import tqdm

from itm_book.regions.box_scorer import ScorerNetwork, anchors, corners
from itm_book.regions.efficientnet import CHANNELS, DEEP, MIDDLE, EfficientNetLite
from itm_core.evaluation.attention_quality import iou
from itm_core.json_files import read_json, write_json
from itm_core.settings import SEEDS, Count, NotNegative, Positive, Settings, Times

POSITIVE, NEGATIVE = 0.5, 0.4
FOCUS = 2.0  # exponent of the focal loss
LOGIT_WEIGHT = 1.0  # of the loss of logits, beside that of boxes
GRADIENT_NORM = 5.0
BLOCK = 256  # pictures between two notes of the progress


class ScorerSettings(Settings):
    """Settings of the training; the shipped scorer has the defaults."""

    epochs: Times = 4
    batch: Count = 16
    learning_rate: Positive = 2e-3  # highest of the one-cycle schedule
    weight_decay: NotNegative = 0.01
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] = 0


class StoredMaps:
    """The maps of all pictures of a split, as float16 in two files of a folder.

    Maps are computed in order, and their number is noted every few pictures, so a killed process
    is resumed; with other pictures it starts again.
    """

    def __init__(
        self,
        folder: Path,
        pictures: Sequence[tuple[str, Sequence[int]]],
        picture: Callable[[int], np.ndarray],
        backbone: EfficientNetLite,
    ) -> None:
        """Compute the maps that the folder does not have yet.

        Args:
            pictures: id of each picture, and numbers that change when it does.
            picture: returns the k-th ``[H, W, 3]`` uint8.
        """
        self.count = len(pictures)
        note, of = folder / "maps.json", hashlib.sha256(json.dumps(pictures).encode()).hexdigest()
        noted = read_json(note) if note.exists() else {}
        done = noted["done"] if noted.get("pictures") == of else 0
        if not done:
            note.unlink(missing_ok=True)  # it would be true of maps that are overwritten now
        cells = {MIDDLE: backbone.side // 16, DEEP: backbone.side // 32}
        self.arrays = {
            block: np.lib.format.open_memmap(
                folder / f"block{block}.npy",
                mode="r+" if done else "w+",
                dtype=np.float16,
                shape=(self.count, CHANNELS[block], cells[block], cells[block]),
            )
            for block in (MIDDLE, DEEP)
        }
        for k in tqdm(range(done, self.count), desc="maps", unit="image"):
            maps = backbone.maps(picture(k))
            self.arrays[MIDDLE][k] = maps.middle.cpu().numpy()
            self.arrays[DEEP][k] = maps.deep.cpu().numpy()
            if (k + 1) % BLOCK == 0 or k + 1 == self.count:
                for array in self.arrays.values():
                    array.flush()
                write_json(note, {"done": k + 1, "pictures": of})

    def batch(self, rows: np.ndarray, mirrored: np.ndarray | None = None) -> list[Tensor]:
        """Return the two maps of some pictures as float32, some of them mirrored."""
        maps = []
        for array in self.arrays.values():
            values = array[rows].astype(np.float32)
            if mirrored is not None:
                values[mirrored] = values[mirrored][..., ::-1]
            maps.append(torch.from_numpy(values))
        return maps


def targets(anchor_corners: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the label of each anchor ``[A]`` and the index of its box ``[A]``.

    Args:
        anchor_corners: ``[A, 4]`` x1, y1, x2, y2.
        boxes: ``[n, 4]`` of one picture, with n > 0.

    A label is 1 for a positive anchor, 0 for a negative one, -1 for one that is ignored.
    """
    overlaps = iou(anchor_corners, boxes)
    nearest = overlaps.argmax(1)
    highest = overlaps.max(1)
    best = overlaps.argmax(0)
    nearest[best] = np.arange(len(boxes))
    positive = highest >= POSITIVE
    positive[best] = True
    labels = np.where(positive, 1, np.where(highest < NEGATIVE, 0, -1))
    return labels, nearest


def focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the focal loss over all anchors, divided by the number of positive ones."""
    used = labels >= 0
    truth = (labels == 1).float()
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probability = torch.sigmoid(logits)
    missed = (truth - probability).abs()
    return (used * entropy * missed**FOCUS).sum() / truth.sum().clamp(min=1)


def generalised_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the generalised IoU ``[n]`` of boxes with others, pair by pair; at most 1."""

    def area(first: Tensor, last: Tensor) -> Tensor:
        return (last - first).clamp(min=0).prod(-1)

    first, last = boxes.split(2, -1)
    other_first, other_last = others.split(2, -1)
    common = area(torch.maximum(first, other_first), torch.minimum(last, other_last))
    union = area(first, last) + area(other_first, other_last) - common
    hull = area(torch.minimum(first, other_first), torch.maximum(last, other_last))
    return common / (union + 1e-9) - (hull - union) / (hull + 1e-9)


def scorer_loss(
    network: ScorerNetwork, maps: Sequence[Tensor], boxes: Sequence[np.ndarray]
) -> Tensor:
    """Return the loss of a batch; ``boxes`` has ``[n, 4]`` for each picture, as fractions."""
    logits, corrections = network(*maps)
    anchor_corners = corners(torch.from_numpy(anchors())).numpy()
    labels = torch.zeros(logits.shape, dtype=torch.long)
    predicted, wanted = [], []
    for row, truth in enumerate(boxes):
        if not len(truth):
            continue
        of_anchor, nearest = targets(anchor_corners, truth)
        labels[row] = torch.from_numpy(of_anchor)
        positive = np.flatnonzero(of_anchor == 1)
        which = torch.from_numpy(positive)
        predicted.append(network.boxes(corrections[row, which], which))
        wanted.append(torch.from_numpy(truth[nearest[positive]].astype(np.float32)))
    loss = LOGIT_WEIGHT * focal_loss(logits, labels)
    if predicted:
        loss = loss + (1 - generalised_iou(torch.cat(predicted), torch.cat(wanted))).mean()
    return loss


def mirror(boxes: np.ndarray) -> np.ndarray:
    """Return boxes ``[n, 4]`` in fractions of the width, of the mirrored picture."""
    return np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], 1)


def train_scorer(
    maps: StoredMaps, boxes: Sequence[np.ndarray], settings: ScorerSettings
) -> ScorerNetwork:
    """Return a box scorer trained on the maps and boxes ``[n, 4]`` (fractions) of pictures."""
    torch.manual_seed(settings.seed)
    network = ScorerNetwork().train()
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    batches = list(_batches(len(boxes), settings))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=len(batches)
    )
    bar = tqdm(batches, desc="box scorer", unit="step")
    for rows, mirrored in bar:
        of_rows = [mirror(boxes[k]) if m else boxes[k] for k, m in zip(rows, mirrored, strict=True)]
        loss = scorer_loss(network, maps.batch(rows, mirrored), of_rows)
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.2f}", refresh=False)
    return network.eval()


def _batches(count: int, settings: ScorerSettings) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows of each batch, sorted, and which of them are mirrored."""
    random = np.random.default_rng(settings.seed)
    for _ in range(settings.epochs):
        order = random.permutation(count)
        for start in range(0, count - settings.batch + 1, settings.batch):
            rows = np.sort(order[start : start + settings.batch])
            yield rows, random.random(len(rows)) < 0.5
