"""How good attention is: precision, recall and F1 against boxes, and measures without threshold.

The three measures are named in *More Than Just Attention* (WACV 2023), whose body could not be
read: what stands here is a reading. A query attends to the keys that it weighs at or above the
mean; they should be those that show what it names. Thresholds and averaging are parameters; the
formulas are in `attention_measures`.

* Words ask (t2i): the words that name an object; relevant are the regions whose IoU with a box
  of that object is at least one half.
* Regions ask (i2t): the regions that show an object some word names; relevant are those words.
  ``<start>`` and ``<end>`` are keys like others, as the hosts treat them, and never relevant.

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
    """Return for every caption what its tokens name.

    First which regions show it, ``[L + 2, R]`` bool; then whether a token names anything,
    ``[L + 2]`` bool. The first and last rows are ``<start>`` and ``<end>``. None where the split
    does not know.
    """
    words, objects = split.words(), split.objects()
    if words is None or objects is None or split.boxes is None:
        return None
    shown = []
    for boxes, image in zip(split.boxes, objects, strict=True):
        others = np.array([thing["box"] for thing in image["objects"]], np.float64).reshape(-1, 4)
        shown.append(iou(boxes.astype(np.float64), others) >= threshold)
    found, naming = [], []
    for caption, image in zip(words, split.caption_image, strict=True):
        rows = np.zeros((len(caption) + 2, split.boxes.shape[1]), bool)
        for place, named in enumerate(caption, 1):
            if named and named.get("objects"):
                rows[place] = shown[image][:, named["objects"]].any(1)
        found.append(rows)
        named_tokens = [bool(named and named.get("objects")) for named in caption]
        naming.append(np.array([False, *named_tokens, False]))
    return found, naming


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
    split that does not know what its words name, and for a matcher that does not attend.
    """
    known = truth(split, threshold)
    if known is None:
        return None
    found: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}
    for _, seen, relevant, naming in _seen(matcher, split, tokens, features, known):
        found.setdefault(_direction(seen), []).append(_queries(seen, relevant, naming))
    options: dict[str, Any] = {"multiple": multiple, "fixed": fixed, "averaging": averaging}
    measured = {name: measure(*_joined(parts), **options) for name, parts in found.items()}
    return AttentionQuality(measured) if measured else None


@torch.no_grad()
def by_caption(
    matcher: Matcher, split: Split, tokens: Sequence[Sequence[int]], features: Any = None
) -> dict[str, np.ndarray]:
    """Return precision, recall and F1 of every caption with its own image, ``[C, 3]``.

    By direction, ``t2i`` and ``i2t``: means over the caption's queries at the mean weight, NaN
    for a caption without a query that has anything to find. Nothing where `attention_quality` is
    None. Its numbers are means over all queries, so a long caption counts more there.
    """
    known = truth(split)
    sums: dict[str, Tensor] = {}
    for start, seen, relevant, naming in _seen(matcher, split, tokens, features, known):
        weights, there, keys = _queries(seen, relevant, naming)
        some = there.any(1)
        line = attention_threshold(keys[some])
        found = torch.stack(of_each(weights[some].double(), there[some], line))
        both = torch.cat([found, torch.ones_like(found[:1])]).T
        sums.setdefault(_direction(seen), torch.zeros(len(split.captions), 4, dtype=torch.double))
        sums[_direction(seen)].index_add_(0, start + _owners(seen, naming)[some], both)
    # no query: 0 / 0 is the NaN that is promised
    return {name: (total[:, :3] / total[:, 3:]).numpy() for name, total in sums.items()}


def _seen(
    matcher: Matcher,
    split: Split,
    tokens: Sequence[Sequence[int]],
    features: Any,
    known: tuple[list[np.ndarray], list[np.ndarray]] | None,
) -> Iterator[tuple[int, AttentionPass, Tensor, Tensor]]:
    """Yield what a matcher sees of a split, batch by batch, one direction at a time.

    With the place of the batch's first caption, and what is relevant and named in it.
    """
    if known is None:
        return
    features = split.regions if features is None else features
    training = matcher.training
    matcher.eval()
    for start in range(0, len(tokens), PAIRS_AT_ONCE):
        chosen = range(start, min(start + PAIRS_AT_ONCE, len(tokens)))
        seens = _attend(matcher, features, split, [tokens[i] for i in chosen], chosen)
        relevant, naming = (padded([rows[i] for i in chosen]) for rows in known)
        for seen in seens:
            yield start, seen, relevant, naming
    matcher.train(training)


def _direction(seen: AttentionPass) -> str:
    return "t2i" if seen.key_axis == REGIONS else "i2t"


def _owners(seen: AttentionPass, naming: Tensor) -> Tensor:
    """Return the caption within the batch of every query of `_queries`."""
    count, words, regions = seen.weights[:, :, 0].shape
    if seen.key_axis == REGIONS:
        return naming[:, :words].nonzero()[:, 0]
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
    """Return rows of different lengths as one tensor, ``False`` behind the shorter ones."""
    longest = max(len(r) for r in rows)
    found = np.zeros((len(rows), longest, *rows[0].shape[1:]), bool)
    for k, r in enumerate(rows):
        found[k, : len(r)] = r
    return torch.from_numpy(found)


def _queries(
    seen: AttentionPass, relevant: Tensor, naming: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights ``[M, N]``, relevance and number of keys of the queries that count.

    Words that name an object ask; of the regions, all do: those without a word drop out later.
    """
    weights = seen.weights[:, :, 0].float().cpu()
    lens = seen.pairing.words.lens
    relevant = relevant[:, : weights.shape[1]]
    if seen.key_axis == REGIONS:
        asks = naming[:, : weights.shape[1]]
        count = torch.full((int(asks.sum()),), weights.shape[2])
        return weights[asks], relevant[asks], count
    count = lens[:, None].expand(-1, weights.shape[2]).flatten()
    return weights.mT.flatten(0, 1), relevant.mT.flatten(0, 1), count


def _joined(parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the batches one below the other, as wide as the widest."""
    widest = max(w.shape[1] for w, _, _ in parts)
    weights = [torch.nn.functional.pad(w, (0, widest - w.shape[1])) for w, _, _ in parts]
    relevant = [torch.nn.functional.pad(r, (0, widest - r.shape[1])) for _, r, _ in parts]
    return torch.cat(weights), torch.cat(relevant), torch.cat([n for _, _, n in parts])
