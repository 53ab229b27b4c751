"""The loss of a batch and its gradient, without holding the graph of all pairs at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from itm_core.constraints import ConstraintSettings, constraint_loss
from itm_core.encoders.fragments import Fragments
from itm_core.evaluation.scoring import (
    caption_tiles,
    floats_per_word,
    score_all,
    score_fragments,
    tile_floats,
)
from itm_core.models import Matcher
from itm_core.models.pair_dropout import resample_dropout
from itm_core.models.pairing import Matched
from itm_core.models.similarity_nodes import CaptionNorm
from itm_core.training.distributed import SINGLE_PROCESS, ProcessGroup, row_wise
from itm_core.training.losses import LossSettings, hinge_of_captions, ranking_loss

SPARSE_SHARE = 0.25  # above this share of pairs with a gradient, scoring all of them is cheaper
PAIRS_AT_ONCE = 4  # times the captions of a batch: with a graph


@dataclass(frozen=True)
class Batch:
    """Matching pairs: features ``[n, R, F]``, token ids ``[n, L]``, and the image of each.

    ``region_lens [n]`` counts the regions where some were dropped, or where images have different
    numbers of them; ``stop`` are the ids of stop words, which some constraints leave out.
    """

    features: Tensor
    tokens: Tensor
    lens: Tensor
    image: Tensor
    region_lens: Tensor | None = None
    stop: Tensor | None = None


def gradient_step(
    matcher: Matcher,
    batch: Batch,
    loss: LossSettings,
    *,
    hardest: bool,
    constraints: ConstraintSettings | None = None,
    generator: torch.Generator | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> float:
    """Return the loss of a batch and add its gradient to the matcher's parameters.

    The loss is the ranking loss, plus the attention constraints where there are any. Every process
    of ``group`` passes the same batch, and gets the loss and the gradient of all of it.
    """
    sides = (
        _encode(matcher.regions, batch.features, batch.region_lens, group),
        _encode(matcher.words, batch.tokens, batch.lens, group),
    )
    regions, words = sides[0].leaf, sides[1].leaf
    value = loss_and_gradient(matcher, regions, words, loss, hardest=hardest, group=group)
    if constraints is not None and constraints.active:
        value += _constrain(matcher, regions, words, batch, constraints, generator, group)
    _through_encoders(sides, group)
    group.add_gradients(matcher)
    return value


@dataclass(frozen=True)
class _Side:
    """The encoded images or captions of a batch.

    Attributes:
        encoded: with their graph; the shard of this process where ``sharded``, else all.
        leaf: all of them, detached from that graph: their gradients are collected here.
    """

    encoded: Fragments
    leaf: Fragments
    sharded: bool


def _encode(encoder: nn.Module, values: Tensor, lens: Tensor | None, group: ProcessGroup) -> _Side:
    """Return one side of a batch, ``values [n, ...]``; each process encodes a shard if it can.

    An encoder with dropout, batch statistics or attention over the images (`row_wise`) encodes
    everything in every process: the random numbers are the same, and each process carries only the
    gradients of its pairs back.
    """
    count, width = values.shape[:2]
    if group.size == 1 or count < group.size or not row_wise(encoder):
        encoded = encoder(values, lens)
        return _Side(encoded, _leaf(encoded), sharded=False)
    rows = group.shard(count)
    encoded = encoder(values[rows], None if lens is None else lens[rows])
    with torch.no_grad():
        vectors = pad(encoded.vectors, (0, 0, 0, width - encoded.vectors.shape[1]))
        vectors = group.all_gather(vectors, count)
        pooled = None if encoded.pooled is None else group.all_gather(encoded.pooled, count)
    return _Side(encoded, _leaf(Fragments.of(vectors, lens, pooled)), sharded=True)


def _constrain(
    matcher: Matcher,
    regions: Fragments,
    words: Fragments,
    batch: Batch,
    settings: ConstraintSettings,
    generator: torch.Generator | None,
    group: ProcessGroup,
) -> float:
    """Return the attention constraints and add their gradient.

    A swapped query may come from any pair, so every process computes all pairs and adds its part
    of the gradient.
    """
    count = len(batch.image)
    image = caption = torch.arange(count)
    if settings.pairs == "all":
        image, caption = image.repeat_interleave(count), caption.repeat(count)
    pairs = Matched(regions.take(image), words.take(caption))
    extra = constraint_loss(
        matcher.attend(pairs),
        settings,
        tokens=batch.tokens[caption.to(batch.tokens.device)],
        image=batch.image[image],
        caption_image=batch.image[caption],
        generator=generator,
        stop=batch.stop,
    )
    if extra.requires_grad:
        (extra / group.size).backward()
    return extra.item()


def loss_and_gradient(
    matcher: Matcher,
    regions: Fragments,
    words: Fragments,
    loss: LossSettings,
    *,
    hardest: bool,
    group: ProcessGroup = SINGLE_PROCESS,
) -> float:
    """Return the ranking loss of a batch and add its gradient to the embeddings and parameters.

    With hardest negatives, all pairs are scored without a graph first, which gives the loss and
    its gradient with respect to every score. The pairs with a gradient, at most 3 n of the
    ``[n, n]`` scores, are then scored again with a graph, as `Matched` pairs. A loss that is a
    sum over pairs needs no first pass (see `_tile_by_tile`). A matcher whose scores depend on all
    images of a caption is scored tile by tile in both passes. None of them holds the graph of the
    whole batch.

    Each process of ``group`` scores the captions of its shard with all images, and adds the
    gradient of its part of the pairs.
    """
    resample_dropout(matcher)  # the same dropout whenever a pair is scored
    shard = group.shard(len(words.lens))
    order = torch.argsort(words.lens[shard])  # from short to long, for the tiles of all passes
    if matcher.scope == "pair" and loss.sums_pairs(hardest=hardest):
        return _tile_by_tile(matcher, regions, words, loss, shard[order], group)
    scores = _scores(matcher, regions.detach(), words.detach(), shard, order, group)
    value, slopes = _loss_and_slopes(scores, loss, hardest)
    pairs = slopes.nonzero()
    if matcher.scope != "pair" or len(pairs) > SPARSE_SHARE * slopes.numel():
        _backward_in_tiles(matcher, regions, words, slopes, shard[order])
    else:
        pairs = pairs[group.shard(len(pairs)).to(pairs.device)]
        _backward_of_pairs(matcher, regions, words, pairs, slopes[pairs[:, 0], pairs[:, 1]])
    _update_running_stats(matcher, shard, len(words.lens), group)
    return value


def _tile_by_tile(
    matcher: Matcher,
    regions: Fragments,
    words: Fragments,
    loss: LossSettings,
    order: Tensor,
    group: ProcessGroup,
) -> float:
    """Return the loss and add its gradient, of a loss that is a sum over pairs.

    The matching pairs are scored first; the gradient of a tile is then known as soon as its pairs
    are scored. Where most of them have none, those with one are scored again as `Matched` pairs,
    all matching pairs among them. ``order`` are the captions of this process from short to long.
    """
    matching = _matching_scores(matcher, regions.detach(), words.detach(), group)
    value, slopes = matching.new_zeros(()), torch.zeros_like(matching)
    pairs, pair_slopes = [], []
    for captions, scores in _scored_tiles(matcher, regions, words, order, matching.device):
        of_tile = scores.detach().to(matching.dtype).requires_grad_()
        of_matching = matching.detach().requires_grad_()
        with torch.enable_grad():
            part = hinge_of_captions(of_tile, of_matching, captions.to(of_tile.device), loss.margin)
            tile_slopes, more = torch.autograd.grad(part, (of_tile, of_matching))
        value, slopes = value + part.detach(), slopes + more
        chosen = tile_slopes.nonzero()
        if len(chosen) > SPARSE_SHARE * tile_slopes.numel():
            scores.backward(torch.empty_like(scores).copy_(tile_slopes))
        else:
            caption = captions.to(chosen.device)[chosen[:, 1]]
            pairs.append(torch.stack([chosen[:, 0], caption], 1))
            pair_slopes.append(tile_slopes[chosen[:, 0], chosen[:, 1]])
        del scores  # its graph, before the next tile is scored
    slopes = group.all_reduce(slopes)
    own = group.shard(len(slopes)).to(slopes.device)
    own = own[slopes[own] != 0]
    pairs, pair_slopes = [*pairs, torch.stack([own, own], 1)], [*pair_slopes, slopes[own]]
    _backward_of_pairs(matcher, regions, words, torch.cat(pairs), torch.cat(pair_slopes))
    return group.all_reduce(value).item()


@torch.no_grad()
def _matching_scores(
    matcher: Matcher, regions: Fragments, words: Fragments, group: ProcessGroup
) -> Tensor:
    """Return the scores ``[n]`` of the matching pairs, float32 at least."""
    count = len(words.lens)
    shard = group.shard(count)
    dtype = torch.promote_types(words.vectors.dtype, torch.float32)
    if not len(shard):
        return group.all_gather(words.vectors.new_zeros(0, dtype=dtype), count)
    scores = matcher(Matched(regions.take(shard), words.take(shard)))[:, 0]
    return group.all_gather(scores.to(dtype), count)


def _backward_of_pairs(
    matcher: Matcher, regions: Fragments, words: Fragments, pairs: Tensor, slopes: Tensor
) -> None:
    """Add the gradient of some pairs, ``pairs [m, 2]`` images and captions, ``slopes [m]``.

    In parts as large as all pairs of the hardest negatives: each part copies its regions.
    """
    size = PAIRS_AT_ONCE * len(words.lens)
    for part, part_slopes in zip(pairs.split(size), slopes.split(size), strict=True):
        if len(part):
            image, caption = part.unbind(1)
            scores = matcher(Matched(regions.take(image), words.take(caption)))[:, 0]
            scores.backward(part_slopes.to(scores.dtype))


def _update_running_stats(matcher: Matcher, shard: Tensor, count: int, group: ProcessGroup) -> None:
    """Update the running averages of SAF by all ``count`` captions of the batch, in their order.

    This process has scored those of ``shard``.
    """
    for module in matcher.modules():
        if isinstance(module, CaptionNorm):
            stats = module.batch_stats(count)
            if group.size > 1:
                stats = group.all_gather(stats[shard.to(stats.device)], count)
            module.update_running_stats(stats)


def _scores(
    matcher: Matcher,
    regions: Fragments,
    words: Fragments,
    shard: Tensor,
    order: Tensor,
    group: ProcessGroup,
) -> Tensor:
    """Return the scores ``[I, C]`` of all pairs; this process computes the columns ``shard``."""
    if len(shard):
        scores = score_fragments(matcher, [regions], words.take(shard), order=order)
        scores = scores.float() if scores.dtype.itemsize < 4 else scores
    else:  # the last batch has fewer captions than there are processes
        dtype = torch.promote_types(words.vectors.dtype, torch.float32)
        scores = words.vectors.new_zeros(len(regions.lens), 0, dtype=dtype)
    return group.all_gather(scores, len(words.lens), dim=1)


def _loss_and_slopes(scores: Tensor, loss: LossSettings, hardest: bool) -> tuple[float, Tensor]:
    """Return the ranking loss and its gradient with respect to the scores, ``[I, C]``."""
    scores = scores.detach().requires_grad_()
    with torch.enable_grad():
        value = ranking_loss(scores, loss, hardest=hardest)
        (slopes,) = torch.autograd.grad(value, scores)
    return value.item(), slopes


def _backward_in_tiles(
    matcher: Matcher, regions: Fragments, words: Fragments, slopes: Tensor, order: Tensor
) -> None:
    """Add the gradient of all pairs of the captions ``order``, given from short to long."""
    for captions, scores in _scored_tiles(matcher, regions, words, order, slopes.device):
        # in the memory layout of the scores, on which the rounding of the products depends
        scores.backward(torch.empty_like(scores).copy_(slopes[:, captions.to(slopes.device)]))


def _scored_tiles(
    matcher: Matcher, regions: Fragments, words: Fragments, order: Tensor, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield captions ``[c]`` and their scores ``[I, c]`` with all images, with their graph."""
    floats = tile_floats(matcher, device, graph=True)
    for tile in caption_tiles(words.lens[order], floats_per_word(matcher, regions), floats):
        captions = order[tile]
        # a copy: what `Fragments` caches belongs to the graph of this tile
        yield captions, score_all(matcher, dataclasses.replace(regions), words.take(captions))


def _leaf(fragments: Fragments) -> Fragments:
    pooled = None if fragments.pooled is None else fragments.pooled.detach().requires_grad_()
    vectors = fragments.vectors.detach().requires_grad_()
    return Fragments(vectors, fragments.lens, pooled)


def _through_encoders(sides: Sequence[_Side], group: ProcessGroup) -> None:
    """Backpropagate the gradients of the embeddings through both encoders, once.

    Of a sharded side each process carries the sum over the processes for its own shard.
    """
    tensors, gradients = [], []
    for side in sides:
        encoded, leaves = _tensors(side.encoded), _tensors(side.leaf)
        sums = [leaf.grad for leaf in leaves]
        if side.sharded:
            sums = group.all_reduce_many(sums, leaves)
        rows = group.shard(len(side.leaf.lens)).to(leaves[0].device)
        for tensor, gradient in zip(encoded, sums, strict=True):
            if gradient is not None:
                tensors.append(tensor)
                gradients.append(gradient[rows, : tensor.shape[1]] if side.sharded else gradient)
    if tensors:
        torch.autograd.backward(tensors, gradients)


def _tensors(fragments: Fragments) -> list[Tensor]:
    return [x for x in (fragments.vectors, fragments.pooled) if x is not None]
