"""Attributions of a word's contribution to a score: region occlusion and integrated gradients.

An *attribution* measures for each region how much of a word's contribution to the score depends
on it. It is computed from the scores of the trained matcher, not from its attention. Both methods
use captum, and both are for words as queries (t2i):

* `occlusion`: the region is removed from the set, as if the detector had not proposed it, and the
  pair is scored again. No baseline region replaces it, because a baseline would be attended as
  well. Several boxes show the same object, and removing one of them may change little: so a region
  can be removed together with the boxes that overlap it (`overlapping_regions`).
* `integrated_gradients`: gradients of the contribution, integrated on a straight line from the
  mean region to the regions.

Letters: N pairs, M queries (words of these pairs), L words, R regions, F features.

Page: "Does attention explain?".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from captum.attr import FeatureAblation, IntegratedGradients
from torch import Tensor

from itm_book.pairs.pair_records import content_words
from itm_core.data.dataset import Split
from itm_core.encoders.fragments import Fragments
from itm_core.errors import InputError
from itm_core.evaluation.attention_quality import IOU, iou, truth
from itm_core.evaluation.scoring import pad
from itm_core.experiments.prepare import Words, features_of, word_rows
from itm_core.experiments.recipes import Recipe
from itm_core.models import DirectionOutput, Matcher, MatchOutput
from itm_core.models.pairing import REGIONS, Matched
from itm_core.settings import at_least

STEPS = 16  # of integrated gradients: nodes of a Gauss-Legendre rule
ROWS_PER_BATCH = 1024  # interpolated pairs in one backward pass


@dataclass(frozen=True, eq=False)
class Queries:
    """Some images with one matching caption each, and the words whose contribution is attributed.

    Attributes:
        image, caption: ``[N]`` indices into the split.
        features: ``[N, R, F]`` as the recipe uses them.
        tokens: ``[N, L]`` ids, ``<start>`` and ``<end>`` included.
        lens: ``[N]`` lengths.
        pair: ``[M]`` int64: the pair of each query.
        word: ``[M]`` int64: the position of each query; ``<start>`` is 0.
        overlapping: ``[N, R, R]`` bool: pairs of regions with an IoU of at least one half, the
            diagonal included; None without boxes.
        relevant: ``[M, R]`` bool: regions that show what the word refers to; None without ground
            truth.
    """

    image: np.ndarray
    caption: np.ndarray
    features: Tensor
    tokens: Tensor
    lens: Tensor
    pair: Tensor
    word: Tensor
    overlapping: Tensor | None
    relevant: Tensor | None

    @property
    def regions(self) -> int:
        """R."""
        return self.features.shape[1]


def spread_captions(split: Split, pairs: int) -> np.ndarray:
    """Return ``pairs`` captions of different images, evenly spaced over a split.

    The first image is taken with its first caption, the next with its second, and so on; all
    images when there are fewer. Raises `InputError` for fewer than one pair.
    """
    at_least("pairs", pairs, 1)
    image = np.unique(np.linspace(0, len(split.regions) - 1, pairs).round().astype(int))
    return split.first_captions[image] + np.arange(len(image)) % split.caption_counts[image]


def content_queries(
    recipe: Recipe,
    vocabulary: Words,
    split: Split,
    captions: Sequence[int] | np.ndarray,
    *,
    words: int | None = None,
) -> Queries:
    """Return the content words of some captions as queries on their matching images.

    ``words`` is the largest number per caption, evenly spaced over it; by default all. Of a word
    in several pieces (BERT) the last one is the query.
    Raises `InputError` for captions without content words, for images of a single region, and for
    images with different numbers of regions.
    """
    caption = np.asarray(captions)
    image = split.caption_image[caption]
    count = _common_count(split, image)
    tokens, lens = pad([vocabulary.encode(split.captions[k]) for k in caption])
    queries, references = [], split.words()
    for n, k in enumerate(caption):
        tokens_k = vocabulary.tokens(split.captions[k])
        content = content_words(tokens_k, None if references is None else references[k])
        queries += [
            (n, position + 1) for position in _evenly_spaced(content, words)
        ]  # <start> is 0
    if not queries:
        raise InputError(
            "no word to attribute",
            expected="captions with content words, and words of at least 1",
            found="none",
        )
    pieces = word_rows([split.captions[k] for k in caption], vocabulary)
    pair, word = torch.tensor(
        [
            (n, position if pieces is None else bisect_right(pieces[n], position) - 1)
            for n, position in queries
        ]
    ).T
    ground_truth = truth(split)
    relevant = None
    if ground_truth is not None:
        rows = [ground_truth[0][caption[n]][position] for n, position in queries]
        relevant = torch.from_numpy(np.array(rows)[:, :count])
    features = np.asarray(features_of(split, recipe)[image], np.float32)
    boxes = split.boxes
    return Queries(
        image=image,
        caption=caption,
        features=torch.from_numpy(features[:, :count]),
        tokens=tokens,
        lens=lens,
        pair=pair,
        word=word,
        overlapping=None if boxes is None else overlapping_regions(boxes[image][:, :count]),
        relevant=relevant,
    )


def _common_count(split: Split, images: np.ndarray) -> int:
    """Return the number of regions that all of the images have; raises `InputError` otherwise."""
    counts = {split.regions_of(int(image)) for image in images}
    if len(counts) > 1:
        raise InputError(
            "removed regions are compared over images with the same number of regions",
            file=split.folder / f"{split.name}_region_lens.npy",
            found=f"{min(counts)} to {max(counts)} regions",
            remedy="keep as many of each: itm data convert --regions 36",
        )
    at_least("regions of an image", min(counts), 2)
    return counts.pop()


def _evenly_spaced(positions: Sequence[int], count: int | None) -> list[int]:
    """Return at most ``count`` of the positions, evenly spaced."""
    if count is None or len(positions) <= count:
        return list(positions)
    return [positions[k] for k in np.linspace(0, len(positions) - 1, count).round().astype(int)]


def overlapping_regions(boxes: np.ndarray, threshold: float = IOU) -> Tensor:
    """Return which of the boxes ``[N, R, 4]`` overlap by an IoU of ``threshold``, ``[N, R, R]``.

    A region that overlaps all others overlaps only itself in the result, so that its removal
    leaves some region.
    """
    overlapping = np.stack([iou(image, image) >= threshold for image in boxes.astype(np.float64)])
    diagonal = np.eye(boxes.shape[1], dtype=bool)
    overlapping |= diagonal
    return torch.from_numpy(np.where(overlapping.all(2, keepdims=True), diagonal, overlapping))


@dataclass(frozen=True, eq=False)
class Probe:
    """A matcher in evaluation mode, and the queries whose contributions are attributed."""

    matcher: Matcher
    queries: Queries

    @cached_property
    def words(self) -> Fragments:
        """All captions ``[N, L, D]``, encoded once."""
        with torch.no_grad():
            return self.matcher.words(self.queries.tokens, self.queries.lens)

    def pairing(self, regions: Fragments, rows: Tensor) -> Matched:
        """Return captions ``rows`` paired with ``regions``, row by row."""
        return Matched(regions, self.words.take(rows))

    def contributions(self, regions: Fragments, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the words' contributions ``[n, L]``, zero for padding, and scores ``[n, 1]``."""
        match = self.matcher.match(self.pairing(regions, rows))
        contribution = t2i_output(match).contribution
        padding = self.queries.tokens.shape[1] - contribution.shape[1]
        return torch.nn.functional.pad(contribution[:, :, 0, 0], (0, padding)), match.score


def t2i_output(match: MatchOutput) -> DirectionOutput:
    """Return the direction with words as queries; raises `InputError` for a method without it."""
    outputs = [output for output in match.directions if output.key_axis == REGIONS]
    if not outputs:
        raise InputError(
            "words are no queries in this method",
            expected="a method with direction t2i or both",
            found="direction i2t, or no attention",
        )
    return outputs[0]


def score_without(probe: Probe, removed: Tensor, *, explain: bool = True) -> Tensor:
    """Return contributions and scores with some regions removed; the others keep their order.

    ``removed [N, R]`` bool. Result ``[N, L + 1]``: the words' contributions and, last, the score;
    without ``explain`` the score alone, ``[N, 1]``.

    Raises `InputError` when all regions of an image are removed.
    """
    queries, encoder = probe.queries, probe.matcher.regions
    remaining = (~removed).sum(1)
    if not remaining.min():
        raise InputError("all regions are removed", expected="at least one left per image", found=0)
    order = removed.int().argsort(dim=1, stable=True)
    # SGRAF's pooling has a batch norm for each position of a region, so the set keeps its size;
    # elsewhere it is cut, so that padding enters no attention among regions (CHAN's block).
    positions = getattr(encoder.pooling, "count", None)
    results = torch.empty(len(removed), queries.tokens.shape[1] + 1 if explain else 1)
    for count in remaining.unique().tolist():
        rows = (remaining == count).nonzero().flatten()
        features = queries.features[rows[:, None], order[rows, : positions or count]]
        lens = torch.full((len(rows),), count)
        regions = encoder(features, lens if count < features.shape[1] else None)
        if explain:
            results[rows] = torch.cat(probe.contributions(regions, rows), 1)
        else:
            results[rows] = probe.matcher(probe.pairing(regions, rows))
    return results


@torch.no_grad()
def attention(probe: Probe) -> tuple[Tensor, Tensor]:
    """Return the attention of the last pass: of the queries ``[M, R]``, of all words ``[N, R]``.

    The second is the mean over all words of a caption.
    """
    queries = probe.queries
    regions, rows = probe.matcher.regions(queries.features), torch.arange(len(queries.image))
    match = probe.matcher.match(probe.pairing(regions, rows))
    weights = t2i_output(match).weights[:, :, 0]
    valid = (torch.arange(weights.shape[1]) < queries.lens[:, None])[..., None]
    mean = (weights * valid).sum(1) / valid.sum(1)
    return weights[queries.pair, queries.word], mean


@torch.no_grad()
def occlusion(probe: Probe, groups: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the drop of the queries' contributions ``[M, R]``, and of the scores ``[N, R]``.

    Entry r is the value with all regions minus that without region r. ``groups [N, R, R]`` bool
    are the regions removed together with r, as from `overlapping_regions`; by default r alone.
    """
    queries = probe.queries
    count = len(queries.image)
    if groups is None:
        groups = torch.eye(queries.regions, dtype=torch.bool).expand(count, -1, -1)

    def score(present: Tensor) -> Tensor:  # [1, R] -> [N (L + 1)]: all pairs at once
        absent = present[0] == 0
        return score_without(probe, groups[:, absent].any(1)).flatten()

    drop = FeatureAblation(score).attribute(torch.ones(1, queries.regions), baselines=0)
    drop = drop.view(count, -1, queries.regions)
    return drop[queries.pair, queries.word], drop[:, -1]


def integrated_gradients(
    probe: Probe, *, steps: int = STEPS, rows_per_batch: int = ROWS_PER_BATCH
) -> tuple[Tensor, Tensor]:
    """Return integrated gradients of the queries' contributions, ``[M, R]``.

    Summed over the features of a region. The baseline is the mean region of these images, for
    every region. For a smooth matcher the sum over regions is the contribution minus that of the
    baseline; the second result ``[M]`` is the error of this completeness.
    """
    queries = probe.queries
    baseline = queries.features.mean((0, 1)).expand_as(queries.features[:1])

    def contribution(features: Tensor, query: Tensor) -> Tensor:
        regions = probe.matcher.regions(features)
        contributions, _ = probe.contributions(regions, queries.pair[query])
        return contributions[torch.arange(len(query)), queries.word[query]]

    attributions, error = IntegratedGradients(contribution).attribute(
        queries.features[queries.pair],
        baselines=baseline,
        additional_forward_args=torch.arange(len(queries.pair)),
        n_steps=steps,
        internal_batch_size=rows_per_batch,
        return_convergence_delta=True,
    )
    return attributions.sum(2).detach(), error.detach()


@torch.no_grad()
def deletion_scores(probe: Probe, orders: Sequence[Tensor], removed: Sequence[int]) -> np.ndarray:
    """Return the scores while regions are removed in order, ``[orders, len(removed), N]``.

    Args:
        orders: ``[N, R]`` each: the regions of every image in the order of their removal.
        removed: numbers of removed regions, each smaller than R.
    """
    curves = np.empty((len(orders), len(removed), len(probe.queries.image)), np.float32)
    for k, order in enumerate(orders):
        rank = order.argsort(1)
        for at, count in enumerate(removed):
            curves[k, at] = score_without(probe, rank < count, explain=False)[:, 0].numpy()
    return curves
