"""How good attention is: precision, recall and F1 against boxes, and measures without threshold.

The three measures are named in *More Than Just Attention* (WACV 2023), whose body could not be
read: what stands here is a reading. A query attends to the keys that it weighs at or above the
mean; they should be those that show what it names. Thresholds and averaging are parameters.

* Words ask (t2i): the words that name an object; relevant are the regions whose IoU with a box
  of that object is at least one half.
* Regions ask (i2t): the regions that show an object some word names; relevant are those words.
  ``<start>`` and ``<end>`` are keys like others, as the hosts treat them, and never relevant.

Page: "What attention metrics can and cannot say"; the chapter on the constraints, "How well it
looks"; "Every method".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm_core.data.precomp import Split
from itm_core.data.vocabulary import Vocabulary
from itm_core.fragments import Fragments
from itm_core.matchers import Matcher, Seen
from itm_core.pairing import REGIONS, Matched
from itm_core.scoring import pad
from itm_core.settings import one_of

IOU = 0.5
MULTIPLES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 18.0)  # of the mean weight
PAIRS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Quality:
    """Attention quality of one direction; shares in 0..1, averaged over queries.

    Attributes:
        precision, recall, f1: of the attended sets, by default at the mean weight.
        f1_of_means: F1 of the mean precision and the mean recall, which papers may mean instead.
        mass: attention weight on what is relevant.
        average_precision: of the ranking of keys by weight.
        pointing: how often the largest weight is on something relevant.
        chance: how often a random key would be.
        queries: how many were averaged; dropped: how many have nothing relevant.
        curve: ``[T, 3]`` precision, recall, F1 at `MULTIPLES` of the mean weight.
    """

    precision: float
    recall: float
    f1: float
    f1_of_means: float
    mass: float
    average_precision: float
    pointing: float
    chance: float
    queries: int
    dropped: int
    curve: np.ndarray

    def flat(self, prefix: str) -> dict[str, float]:
        """Return the numbers by name, ``<prefix>_<measure>``, without the curve."""
        return {
            f"{prefix}_{f.name}": getattr(self, f.name) for f in fields(self) if f.name != "curve"
        }


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


def sets(
    weights: Tensor, relevant: Tensor, threshold: Tensor | float, averaging: str = "queries"
) -> tuple[float, float, float]:
    """Return precision, recall and F1 of the attended sets.

    Attended are the keys with a weight of at least ``threshold``; none attended gives zero.
    Averaged over ``queries``, each of which counts the same, or over all ``pairs`` of a query
    and a key, where a query with much to find counts more.

    Shapes: ``weights [M, N]``, ``relevant [M, N]`` bool with something relevant in every row.
    """
    counts = _counts(weights, relevant, threshold)
    if averaging == "pairs":
        counts = counts.sum(1, keepdim=True)
    precision, recall, f1 = _measures(counts).mean(1)
    return float(precision), float(recall), float(f1)


def of_each(
    weights: Tensor, relevant: Tensor, threshold: Tensor | float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return precision, recall and F1 of every query, ``[M]``, before `sets` averages them."""
    precision, recall, f1 = _measures(_counts(weights, relevant, threshold))
    return precision, recall, f1


def _counts(weights: Tensor, relevant: Tensor, threshold: Tensor | float) -> Tensor:
    """Return how many keys are attended and relevant, attended, relevant: ``[3, M]``."""
    attended = weights >= threshold
    return torch.stack([x.sum(1) for x in (attended & relevant, attended, relevant)]).to(weights)


def _measures(counts: Tensor) -> Tensor:
    """Return precision, recall and F1 of counts ``[3, M]``, ``[3, M]``."""
    hits, taken, there = counts
    precision, recall = hits / taken.clamp_min(1), hits / there.clamp_min(1)
    f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-12)
    return torch.stack([precision, recall, f1])


def average_precision(weights: Tensor, relevant: Tensor) -> Tensor:
    """Return the average precision ``[M]`` of keys ranked by weight, the first of equals first."""
    order = weights.argsort(dim=1, descending=True, stable=True)
    hit = relevant.gather(1, order).to(weights)
    rank = torch.arange(1, weights.shape[1] + 1, device=weights.device)
    return (hit * hit.cumsum(1) / rank).sum(1) / hit.sum(1).clamp_min(1)


def measure(
    weights: Tensor,
    relevant: Tensor,
    keys: Tensor,
    *,
    multiple: float = 1.0,
    fixed: float | None = None,
    averaging: str = "queries",
) -> Quality:
    """Return the quality of attention.

    Args:
        weights: ``[M, N]``, rows summing to one.
        relevant: ``[M, N]`` bool.
        keys: ``[M]`` how many of the N are real; the mean weight is one over that.
        multiple: of the mean weight, from which on a key counts as attended.
        fixed: a weight to take instead, the same for any number of keys.
        averaging: over ``queries`` or ``pairs``, see `sets`.

    >>> w, g = torch.tensor([[0.7, 0.3, 0.0]]), torch.tensor([[True, False, False]])
    >>> measure(w, g, torch.tensor([3])).f1
    1.0

    Page: the chapter on the constraints, "How well it looks".
    """
    one_of("averaging", averaging, ("queries", "pairs"))
    some = relevant.any(1)
    dropped = int((~some).sum())
    weights, relevant, keys = weights[some].double(), relevant[some], keys[some].double()
    if not len(weights):
        nan = float("nan")
        curve = np.full((len(MULTIPLES), 3), nan)
        return Quality(nan, nan, nan, nan, nan, nan, nan, nan, 0, dropped, curve)
    # rounding must not put equal weights below their own mean
    mean = (1 / keys)[:, None] * (1 - 1e-6)
    line = multiple * mean if fixed is None else fixed
    precision, recall, f1 = sets(weights, relevant, line, averaging)
    best = weights.argmax(1, keepdim=True)
    points = [sets(weights, relevant, m * mean, averaging) for m in MULTIPLES]
    return Quality(
        precision=precision,
        recall=recall,
        f1=f1,
        f1_of_means=2 * precision * recall / max(precision + recall, 1e-12),
        mass=float((weights * relevant).sum(1).mean()),
        average_precision=float(average_precision(weights, relevant).mean()),
        pointing=float(relevant.gather(1, best).double().mean()),
        chance=float((relevant.sum(1) / keys).mean()),
        queries=len(weights),
        dropped=dropped,
        curve=np.array(points),
    )


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
    vocabulary: Vocabulary,
    features: Any = None,
    *,
    threshold: float = IOU,
    multiple: float = 1.0,
    fixed: float | None = None,
    averaging: str = "queries",
) -> AttentionQuality | None:
    """Return the attention quality of every caption of a split with its own image.

    ``features`` stand for ``split.regions`` where a recipe adds positions; ``threshold`` is that
    of the IoU, the rest as in `measure`. None for a split that does not know what its words name,
    and for a matcher that does not attend.
    """
    known = truth(split, threshold)
    if known is None:
        return None
    found: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}
    for _, seen, relevant, naming in _seen(matcher, split, vocabulary, features, known):
        found.setdefault(_direction(seen), []).append(_queries(seen, relevant, naming))
    options: dict[str, Any] = {"multiple": multiple, "fixed": fixed, "averaging": averaging}
    measured = {name: measure(*_joined(parts), **options) for name, parts in found.items()}
    return AttentionQuality(measured) if measured else None


@torch.no_grad()
def by_caption(
    matcher: Matcher, split: Split, vocabulary: Vocabulary, features: Any = None
) -> dict[str, np.ndarray]:
    """Return precision, recall and F1 of every caption with its own image, ``[C, 3]``.

    By direction, ``t2i`` and ``i2t``: means over the caption's queries at the mean weight, NaN
    for a caption without a query that has anything to find. Nothing where `attention_quality` is
    None. Its numbers are means over all queries, so a long caption counts more there.
    """
    known = truth(split)
    sums: dict[str, Tensor] = {}
    for start, seen, relevant, naming in _seen(matcher, split, vocabulary, features, known):
        weights, there, keys = _queries(seen, relevant, naming)
        some = there.any(1)
        line = ((1 - 1e-6) / keys[some].double())[:, None]
        found = _measures(_counts(weights[some].double(), there[some], line))
        both = torch.cat([found, torch.ones_like(found[:1])]).T
        sums.setdefault(_direction(seen), torch.zeros(len(split.captions), 4, dtype=torch.double))
        sums[_direction(seen)].index_add_(0, start + _owners(seen, naming)[some], both)
    # no query: 0 / 0 is the NaN that is promised
    return {name: (total[:, :3] / total[:, 3:]).numpy() for name, total in sums.items()}


def _seen(
    matcher: Matcher,
    split: Split,
    vocabulary: Vocabulary,
    features: Any,
    known: tuple[list[np.ndarray], list[np.ndarray]] | None,
) -> Iterator[tuple[int, Seen, Tensor, Tensor]]:
    """Yield what a matcher sees of a split, batch by batch, one direction at a time.

    With the place of the batch's first caption, and what is relevant and named in it.
    """
    if known is None:
        return
    features = split.regions if features is None else features
    captions = [vocabulary.encode(caption) for caption in split.captions]
    training = matcher.training
    matcher.eval()
    for start in range(0, len(captions), PAIRS_AT_ONCE):
        chosen = range(start, min(start + PAIRS_AT_ONCE, len(captions)))
        seens = _attend(matcher, features, split, [captions[i] for i in chosen], chosen)
        relevant, naming = (padded([rows[i] for i in chosen]) for rows in known)
        for seen in seens:
            yield start, seen, relevant, naming
    matcher.train(training)


def _direction(seen: Seen) -> str:
    return "t2i" if seen.axis == REGIONS else "i2t"


def _owners(seen: Seen, naming: Tensor) -> Tensor:
    """Return the caption within the batch of every query of `_queries`."""
    count, words, regions = seen.weights[:, :, 0].shape
    if seen.axis == REGIONS:
        return naming[:, :words].nonzero()[:, 0]
    return torch.arange(count).repeat_interleave(regions)


def _attend(
    matcher: Matcher,
    features: Any,
    split: Split,
    captions: Sequence[Sequence[int]],
    chosen: range,
) -> Sequence[Seen]:
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


def _queries(seen: Seen, relevant: Tensor, naming: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights ``[M, N]``, relevance and number of keys of the queries that count.

    Words that name an object ask; of the regions, all do: those without a word drop out later.
    """
    weights = seen.weights[:, :, 0].float().cpu()
    lens = seen.pairing.words.lens
    relevant = relevant[:, : weights.shape[1]]
    if seen.axis == REGIONS:
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
