"""Attention quality: precision, recall and F1 against boxes, and measures without a threshold.

The three measures are named in *More Than Just Attention* (WACV 2023), of which only the abstract
was available: this is an interpretation. A query attends to the keys with at least the mean
weight; these should be the relevant ones. Thresholds and averaging are parameters; the formulas
are in `attention_measures`.

* Words as queries (t2i): the words that name an object; relevant are the regions whose IoU with a
  box of that object is at least one half.
* Regions as queries (i2t): the regions that show a named object; relevant are the words that name
  it. ``<start>`` and ``<end>`` are keys, as in the hosts, and never relevant.

Page: "What attention metrics can and cannot say"; the chapter on the constraints, "How well it
looks"; "Every method".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm_core.data.dataset import Split
from itm_core.encoders.fragments import Fragments
from itm_core.evaluation.attention_measures import Quality, attention_threshold, measure, of_each
from itm_core.evaluation.scoring import pad
from itm_core.models import AttentionPass, Matcher
from itm_core.models.pairing import REGIONS, Matched

IOU = 0.5
PAIRS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class AttentionQuality:
    """The quality of every direction that a matcher attends in, by ``t2i`` and ``i2t``."""

    directions: dict[str, Quality]

    def flat(self) -> dict[str, float]:
        """Return ``<direction>_attention_<measure>`` for every measure."""
        return {
            key: value
            for name, quality in self.directions.items()
            for key, value in quality.flat(f"{name}_attention").items()
        }


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of every box with every other, ``[R, K]``."""
    corner = np.maximum(boxes[:, None, :2], others[None, :, :2])
    far = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.clip(far - corner, 0, None).prod(-1)
    area = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(-1) for b in (boxes, others)]
    return common / np.maximum(area[0][:, None] + area[1][None] - common, 1e-12)


def truth(split: Split, threshold: float = IOU) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
    """Return two arrays for every caption: which regions show what a token names, ``[L + 2, R]``.

    The second, ``[L + 2]``, is whether the token names anything. Both are bool; the first and last
    rows are ``<start>`` and ``<end>``. None where the split has no such annotation.
    """
    words, objects = split.words(), split.objects()
    if words is None or objects is None or split.boxes is None:
        return None
    shows = []  # of each image [R, objects]
    for boxes, image in zip(split.boxes, objects, strict=True):
        others = np.array([thing["box"] for thing in image["objects"]], np.float64).reshape(-1, 4)
        shows.append(iou(boxes.astype(np.float64), others) >= threshold)
    relevant, naming = [], []
    for caption, image in zip(words, split.caption_image, strict=True):
        named = [(word or {}).get("objects") or [] for word in caption]
        rows = np.zeros((len(caption) + 2, split.boxes.shape[1]), bool)
        for row, things in zip(rows[1:-1], named, strict=True):
            row[:] = shows[image][:, things].any(1)
        relevant.append(rows)
        naming.append(np.array([False, *map(bool, named), False]))
    return relevant, naming


@torch.no_grad()
def attention_quality(
    matcher: Matcher,
    split: Split,
    tokens: Sequence[Sequence[int]],
    features: Any = None,
    *,
    threshold: float = IOU,
    multiple: float = 1.0,
    fixed: float | None = None,
    averaging: str = "queries",
) -> AttentionQuality | None:
    """Return the attention quality of every caption of a split with its own image.

    ``tokens`` are the token ids of the captions; ``features`` replace ``split.regions`` where a
    recipe adds positions; ``threshold`` is that of the IoU, the rest as in `measure`. None for a
    split without annotated words, and for a matcher without attention.
    """
    annotation = truth(split, threshold)
    if annotation is None:
        return None
    queries: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}
    for batch in _batches(matcher, split, tokens, features, annotation):
        queries.setdefault(batch.direction, []).append(_queries(batch))
    options: dict[str, Any] = {"multiple": multiple, "fixed": fixed, "averaging": averaging}
    measured = {name: measure(*_concatenated(parts), **options) for name, parts in queries.items()}
    return AttentionQuality(measured) if measured else None


@torch.no_grad()
def by_caption(
    matcher: Matcher, split: Split, tokens: Sequence[Sequence[int]], features: Any = None
) -> dict[str, np.ndarray]:
    """Return precision, recall and F1 of every caption with its own image, ``[C, 3]``.

    By direction, ``t2i`` and ``i2t``: means over the caption's queries at the mean weight, NaN
    for a caption without a query that has a relevant key. Empty where `attention_quality` is
    None, whose numbers are means over all queries, so that a long caption counts more there.
    """
    annotation = truth(split)
    sums: dict[str, Tensor] = {}
    for batch in _batches(matcher, split, tokens, features, annotation):
        weights, relevant, keys = _queries(batch)
        some = relevant.any(1)
        threshold = attention_threshold(keys[some])
        measures = torch.stack(of_each(weights[some].double(), relevant[some], threshold))
        rows = torch.cat([measures, torch.ones_like(measures[:1])]).T  # the last column counts
        empty = torch.zeros(len(split.captions), 4, dtype=torch.double)
        total = sums.setdefault(batch.direction, empty)
        total.index_add_(0, batch.start + _caption_of_query(batch)[some], rows)
    # 0 / 0 is NaN for a caption without a query
    return {name: (total[:, :3] / total[:, 3:]).numpy() for name, total in sums.items()}


@dataclass(frozen=True, eq=False)
class _Batch:
    """The attention of some captions, from ``start`` on, in one direction, and its annotation."""

    start: int
    attention: AttentionPass
    relevant: Tensor  # [c, L, R]
    naming: Tensor  # [c, L]

    @property
    def direction(self) -> str:
        return "t2i" if self.attention.key_axis == REGIONS else "i2t"


def _batches(
    matcher: Matcher,
    split: Split,
    tokens: Sequence[Sequence[int]],
    features: Any,
    annotation: tuple[list[np.ndarray], list[np.ndarray]] | None,
) -> Iterator[_Batch]:
    """Yield the attention of a matcher on a split, batch by batch, each direction in turn."""
    if annotation is None:
        return
    features = split.regions if features is None else features
    training = matcher.training
    matcher.eval()
    for start in range(0, len(tokens), PAIRS_AT_ONCE):
        chosen = range(start, min(start + PAIRS_AT_ONCE, len(tokens)))
        relevant, naming = (padded([rows[i] for i in chosen]) for rows in annotation)
        for attention in _attend(matcher, features, split, [tokens[i] for i in chosen], chosen):
            yield _Batch(start, attention, relevant, naming)
    matcher.train(training)


def _caption_of_query(batch: _Batch) -> Tensor:
    """Return the caption within the batch of every query of `_queries`."""
    count, words, regions = batch.attention.weights[:, :, 0].shape
    if batch.attention.key_axis == REGIONS:
        return batch.naming[:, :words].nonzero()[:, 0]
    return torch.arange(count).repeat_interleave(regions)


def _attend(
    matcher: Matcher,
    features: Any,
    split: Split,
    captions: Sequence[Sequence[int]],
    chosen: range,
) -> Sequence[AttentionPass]:
    device = next(matcher.parameters()).device
    images = split.caption_image[list(chosen)]
    unique, place = np.unique(images, return_inverse=True)
    regions = matcher.regions(torch.from_numpy(np.array(features[unique], np.float32)).to(device))
    ids, lens = pad(captions)
    words: Fragments = matcher.words(ids.to(device), lens)
    return matcher.attend(Matched(regions.take(torch.from_numpy(place)), words))


def padded(rows: Sequence[np.ndarray]) -> Tensor:
    """Return rows of different lengths as one tensor, padded with False."""
    longest = max(len(row) for row in rows)
    tensor = np.zeros((len(rows), longest, *rows[0].shape[1:]), bool)
    for target, row in zip(tensor, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(tensor)


def _queries(batch: _Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights ``[M, N]``, relevance and number of keys of the queries.

    Queries are the words that name an object, or all regions: `measure` drops those without one.
    """
    weights = batch.attention.weights[:, :, 0].float().cpu()
    _, words, regions = weights.shape
    relevant = batch.relevant[:, :words]
    if batch.attention.key_axis == REGIONS:
        naming = batch.naming[:, :words]
        return weights[naming], relevant[naming], torch.full((int(naming.sum()),), regions)
    keys = batch.attention.pairing.words.lens[:, None].expand(-1, regions).flatten()
    return weights.mT.flatten(0, 1), relevant.mT.flatten(0, 1), keys


def _concatenated(parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the queries of all batches, padded to as many keys as the widest has."""
    widest = max(w.shape[1] for w, _, _ in parts)
    weights = [torch.nn.functional.pad(w, (0, widest - w.shape[1])) for w, _, _ in parts]
    relevant = [torch.nn.functional.pad(r, (0, widest - r.shape[1])) for _, r, _ in parts]
    return torch.cat(weights), torch.cat(relevant), torch.cat([n for _, _, n in parts])
