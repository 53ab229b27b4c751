"""The gradient of a batch, without ever holding the graph of all its pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from itm_core.constraints import ConstraintSettings, constraint_loss
from itm_core.encoders.fragments import Fragments
from itm_core.evaluation.scoring import per_word, score_fragments, tile_floats, tiles
from itm_core.models import Matcher
from itm_core.models.pair_dropout import resample_dropout
from itm_core.models.pairing import AllPairs, Matched
from itm_core.models.similarity_nodes import CaptionNorm
from itm_core.training.distributed import SINGLE_PROCESS, ProcessGroup, row_wise
from itm_core.training.losses import LossSettings, ranking_loss

SPARSE_SHARE = 0.25  # above this share of pairs with a gradient, scoring all of them is cheaper


@dataclass(frozen=True)
class Batch:
    """Matching pairs: features ``[n, R, F]``, token ids ``[n, L]``, and whose images they are.

    ``region_lens [n]`` counts regions where some were dropped; ``stop`` are the ids of words
    without content, which some constraints leave out.
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

    The loss is the ranking loss, plus the attention constraints where there are any. In a
    ``group`` every process gives the same batch, and gets the loss and the gradient of all of it.
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
    """The images or the captions of a batch, encoded.

    Attributes:
        made: with their graph; this process's share of them where ``shared``, else all.
        leaf: all of them, cut off from that graph: where gradients arrive.
    """

    made: Fragments
    leaf: Fragments
    shared: bool


def _encode(encoder: nn.Module, values: Tensor, lens: Tensor | None, group: ProcessGroup) -> _Side:
    """Return one side of a batch, ``values [n, ...]``; each process encodes its share if it can.

    An encoder that draws by chance or has batch statistics is given everything by everyone: the
    draws are the same, and each process carries only its own gradients back.
    """
    count, width = values.shape[:2]
    if group.size == 1 or count < group.size or not row_wise(encoder):
        made = encoder(values, lens)
        return _Side(made, _leaf(made), shared=False)
    rows = group.shard(count)
    made = encoder(values[rows], None if lens is None else lens[rows])
    with torch.no_grad():
        vectors = group.all_gather(made.vectors, count, width)
        pooled = None if made.pooled is None else group.all_gather(made.pooled, count)
    return _Side(made, _leaf(Fragments.of(vectors, lens, pooled)), shared=True)


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

    A swapped query may be anybody's, so every process of a team takes all pairs, and adds its
    part of the gradient.
    """
    count = len(batch.image)
    image = caption = torch.arange(count)
    if settings.pairs == "all":
        image, caption = image.repeat_interleave(count), caption.repeat(count)
    pairs = Matched(regions.take(image), words.take(caption))
    extra, _ = constraint_loss(
        matcher.attend(pairs),
        settings,
        tokens=batch.tokens[caption.to(batch.tokens.device)],
        image=batch.image[image],
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

    All pairs are scored without a graph first; that gives the loss and its slope with respect
    to every score. Then the pairs that have a slope are scored once more, with a graph. With
    hardest negatives they are at most three per row of the n x n scores, and are met on
    `Matched`; with all negatives they are nearly all, and are met tile by tile, so that neither
    way holds the graph of the whole batch. A matcher whose scores depend on all images of a
    caption is met tile by tile too, a tile being some captions with every image.

    Each process of a ``group`` scores its own captions with all images, and adds the gradient of
    its part of the pairs.
    """
    resample_dropout(matcher)  # both times the same dropout
    mine = group.shard(len(words.lens))
    value, slope = _slope(_scores(matcher, regions, words, mine, group), loss, hardest)
    pairs = slope.nonzero()
    if matcher.scope != "pair" or len(pairs) > SPARSE_SHARE * slope.numel():
        _backward_in_tiles(matcher, regions, words, slope, mine)
    else:
        image, caption = pairs[group.shard(len(pairs)).to(pairs.device)].unbind(1)
        if len(image):
            some = matcher(Matched(regions.take(image), words.take(caption)))[:, 0]
            some.backward(slope[image, caption].to(some.dtype))
    _update_running_stats(matcher, mine, len(words.lens), group)
    return value


def _update_running_stats(
    matcher: Matcher, mine: Tensor, count: int, group: ProcessGroup = SINGLE_PROCESS
) -> None:
    """Update the running averages of SAF by all ``count`` captions of the batch, in their order.

    ``mine`` are the indices of the captions that this process has scored.
    """
    for module in matcher.modules():
        if isinstance(module, CaptionNorm):
            stats = module.batch_stats(count)
            if group.size > 1:
                stats = group.all_gather(stats[mine.to(stats.device)], count)
            module.update_running_stats(stats)


def _scores(
    matcher: Matcher, regions: Fragments, words: Fragments, mine: Tensor, group: ProcessGroup
) -> Tensor:
    """Return the scores ``[n, n]`` of all pairs, without a graph; this process makes ``mine``."""
    regions, words = regions.detach(), words.detach()
    count = len(words.lens)
    if len(mine):
        own = score_fragments(matcher, [regions], words.take(mine)).T
        own = own.float() if own.dtype.itemsize < 4 else own
    else:  # a last small batch
        kind = torch.promote_types(words.vectors.dtype, torch.float32)
        own = words.vectors.new_zeros(0, count, dtype=kind)
    return group.all_gather(own, count).T


def _backward_in_tiles(
    matcher: Matcher, regions: Fragments, words: Fragments, slope: Tensor, mine: Tensor
) -> None:
    order = mine[torch.argsort(words.lens[mine])]
    floats = tile_floats(matcher, slope.device)
    for tile in tiles(words.lens[order], per_word(matcher, regions), floats):
        captions = order[tile]
        # fresh fragments: what they remember belongs to the graph that is freed here
        fresh = dataclasses.replace(regions)
        scores = matcher(AllPairs(fresh, words.take(captions)))
        scores.backward(slope.T[captions.to(slope.device)].to(scores.dtype))


def _slope(scores: Tensor, loss: LossSettings, hardest: bool) -> tuple[float, Tensor]:
    scores = scores.detach().requires_grad_()
    with torch.enable_grad():
        value = ranking_loss(scores, loss, hardest=hardest)
        (slope,) = torch.autograd.grad(value, scores)
    return value.item(), slope


def _leaf(fragments: Fragments) -> Fragments:
    pooled = None if fragments.pooled is None else fragments.pooled.detach().requires_grad_()
    vectors = fragments.vectors.detach().requires_grad_()
    return Fragments(vectors, fragments.lens, pooled)


def _through_encoders(sides: Sequence[_Side], group: ProcessGroup) -> None:
    """Carry the gradients that arrived at the embeddings back into the encoders, once."""
    tensors, slopes = [], []
    for side in sides:
        for tensor, slope in zip(_tensors(side.made), _slopes(side, group), strict=True):
            if slope is not None:
                tensors.append(tensor)
                slopes.append(slope)
    if tensors:
        torch.autograd.backward(tensors, slopes)


def _slopes(side: _Side, group: ProcessGroup) -> list[Tensor | None]:
    """Return the gradients of what this process has encoded, None where none arrived."""
    leaves = _tensors(side.leaf)
    slopes = [leaf.grad for leaf in leaves]
    if not side.shared:
        return slopes
    mine = group.shard(len(side.leaf.lens))
    return [
        None if slope is None else slope[mine.to(slope.device), : made.shape[1]]
        for slope, made in zip(
            group.all_reduce_many(slopes, leaves), _tensors(side.made), strict=True
        )
    ]


def _tensors(fragments: Fragments) -> list[Tensor]:
    return [x for x in (fragments.vectors, fragments.pooled) if x is not None]
