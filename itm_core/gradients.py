"""The gradient of a batch, without ever holding the graph of all its pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from itm_core.constraints import ConstraintSettings, constraint_loss
from itm_core.fragments import Fragments
from itm_core.losses import LossSettings, ranking_loss
from itm_core.matchers import Matcher
from itm_core.pair_dropout import reseed
from itm_core.pairing import AllPairs, Matched
from itm_core.scoring import per_word, score_fragments, tile_floats, tiles
from itm_core.similarity_nodes import settle

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
) -> float:
    """Return the loss of a batch and add its gradient to the matcher's parameters.

    The loss is the ranking loss, plus the attention constraints where there are any.
    """
    encoded = (
        matcher.regions(batch.features, batch.region_lens),
        matcher.words(batch.tokens, batch.lens),
    )
    regions, words = _leaf(encoded[0]), _leaf(encoded[1])
    value = loss_and_gradient(matcher, regions, words, loss, hardest=hardest)
    if constraints is not None and constraints.active:
        value += _constrain(matcher, regions, words, batch, constraints, generator)
    _through_encoders(encoded, (regions, words))
    return value


def _constrain(
    matcher: Matcher,
    regions: Fragments,
    words: Fragments,
    batch: Batch,
    settings: ConstraintSettings,
    generator: torch.Generator | None,
) -> float:
    """Return the attention constraints and add their gradient."""
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
        extra.backward()
    return extra.item()


def loss_and_gradient(
    matcher: Matcher, regions: Fragments, words: Fragments, loss: LossSettings, *, hardest: bool
) -> float:
    """Return the ranking loss of a batch and add its gradient to the embeddings and parameters.

    All pairs are scored without a graph first; that gives the loss and its slope with respect
    to every score. Then the pairs that have a slope are scored once more, with a graph. With
    hardest negatives they are at most three per row of the n x n scores, and are met on
    `Matched`; with all negatives they are nearly all, and are met tile by tile, so that neither
    way holds the graph of the whole batch. A matcher whose scores depend on all images of a
    caption is met tile by tile too, a tile being some captions with every image.
    """
    reseed(matcher)  # both times the same dropout
    scores = score_fragments(matcher, [regions.detach()], words.detach())
    scores = scores.float() if scores.dtype.itemsize < 4 else scores
    value, slope = _slope(scores, loss, hardest)
    pairs = slope.nonzero()
    if matcher.scope != "pair" or len(pairs) > SPARSE_SHARE * slope.numel():
        _backward_in_tiles(matcher, regions, words, slope)
    elif len(pairs):
        image, caption = pairs.unbind(1)
        some = matcher(Matched(regions.take(image), words.take(caption)))[:, 0]
        some.backward(slope[image, caption].to(some.dtype))
    settle(matcher)
    return value


def _backward_in_tiles(
    matcher: Matcher, regions: Fragments, words: Fragments, slope: Tensor
) -> None:
    order = torch.argsort(words.lens)
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
    whole = None if fragments.whole is None else fragments.whole.detach().requires_grad_()
    vectors = fragments.vectors.detach().requires_grad_()
    return Fragments(vectors, fragments.lens, whole)


def _through_encoders(encoded: Sequence[Fragments], leaves: Sequence[Fragments]) -> None:
    """Carry the gradients that arrived at the embeddings back into the encoders, once."""
    tensors, slopes = [], []
    for made, leaf in zip(encoded, leaves, strict=True):
        for tensor, copy in ((made.vectors, leaf.vectors), (made.whole, leaf.whole)):
            if tensor is not None and copy is not None and copy.grad is not None:
                tensors.append(tensor)
                slopes.append(copy.grad)
    if tensors:
        torch.autograd.backward(tensors, slopes)
