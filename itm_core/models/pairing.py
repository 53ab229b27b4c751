"""Who meets whom: all pairs, matched pairs, or each caption with its own candidates.

The mathematics of a matcher is written once, on tensors ``[C, L, P, R]``: C captions, L words,
P partners of each caption (images), R regions. The three pairings differ only in who the
partners are, and each computes the few operations that touch both sides in its fastest form:

=============  =====================  ==========================================
pairing        partners of a caption  use
=============  =====================  ==========================================
`AllPairs`     every image            training batches, evaluation
`Matched`      the image of its row   attention maps, constraints
`Candidates`   its own shortlist      re-ranking behind a fast first stage
=============  =====================  ==========================================

``axis`` arguments name the side that is mixed: `REGIONS` when words ask (t2i), `WORDS` when
regions ask (i2t). Results keep a 1 where an axis was summed away, so everything broadcasts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from itm_core.encoders.fragments import TINY, Fragments, length
from itm_core.encoders.lazy import lazy

CAPTIONS, WORDS, IMAGES, REGIONS = range(4)
_MANY = 1 << 32  # more images than any batch holds: pairs are numbered without collisions


def other(axis: int) -> int:
    """Return the asking side when ``axis`` is the asked one, and the reverse."""
    return WORDS + REGIONS - axis


class Pairing(ABC):
    """The operations that touch both sides of caption-image pairs."""

    def __init__(self, regions: Fragments, words: Fragments) -> None:
        self.regions, self.words = regions, words

    @abstractmethod
    def dot(self) -> Tensor:
        """Return the dot product of every word with every region, ``[C, L, P, R]``."""

    @abstractmethod
    def dot_of(self, queries: Tensor, axis: int) -> Tensor:
        """Return the dot products of ``queries`` with the fragments on ``axis``.

        For queries that differ from pair to pair, as regulators make them: ``[C, L, P, 1, D]``
        (``axis`` is `REGIONS`) or ``[C, 1, P, R, D]`` (`WORDS`); result ``[C, L, P, R]``.
        """

    @abstractmethod
    def mix(self, weights: Tensor, axis: int) -> Tensor:
        """Return the weighted sums of the fragments on ``axis``.

        ``[C, L, P, R]`` weights give ``[C, L, P, 1, D]`` (regions mixed for each word) or
        ``[C, 1, P, R, D]`` (words mixed for each region).
        """

    def queries(self, axis: int) -> Tensor:
        """Return the fragments that ask those on ``axis``.

        ``[C, L, 1, 1, D]`` words, or ``[1 or C, 1, P, R, D]`` regions: broadcasts with `mix`.
        """
        if axis == REGIONS:
            return self.words.vectors[:, :, None, None]
        return self._region_queries()

    @abstractmethod
    def _region_queries(self) -> Tensor: ...

    @abstractmethod
    def wholes(self) -> tuple[Tensor, Tensor]:
        """Return the whole vectors of captions ``[C, 1, D]`` and of partners ``[1 or C, P, D]``."""

    @abstractmethod
    def names(self) -> Tensor:
        """Return a number for each pair, ``[C, P]`` int64: the same wherever the pair is met."""

    @abstractmethod
    def region_values(self, values: Tensor) -> Tensor:
        """Return per-region ``values`` ``[I, R]`` laid out as ``[1 or C, 1, P, R]``."""

    @abstractmethod
    def _region_mix(self, weights: Tensor, factors: Tensor) -> Tensor:
        """Return ``factors [I, M, R]`` of each pair's image applied to its weights over regions."""

    def _word_mix(self, weights: Tensor, factors: Tensor) -> Tensor:
        """Return ``factors [C, M, L]`` of each caption applied to its weights over words."""
        captions, length, partners, regions = weights.shape
        mixed = factors @ weights.reshape(captions, length, partners * regions)
        return mixed.view(captions, -1, partners, regions)

    def word_values(self, values: Tensor) -> Tensor:
        """Return per-word ``values`` ``[C, L]`` laid out as ``[C, L, 1, 1]``."""
        return values[:, :, None, None]

    def norms(self, axis: int) -> Tensor:
        """Return the lengths of the fragments on ``axis``, broadcastable to ``[C, L, P, R]``."""
        if axis == WORDS:
            return self.word_values(self.words.norms)
        return self.region_values(self.regions.norms)

    def mask(self, axis: int) -> Tensor | None:
        """Return where the fragments on ``axis`` are real, or None when all of them are."""
        if axis == WORDS:
            return self.word_values(self.words.mask) if self.words.ragged else None
        return self.region_values(self.regions.mask) if self.regions.ragged else None

    def unit_mix(self, weights: Tensor, axis: int) -> Tensor:
        """Return the weighted sums of `mix` at unit length (a zero sum stays zero).

        The weights are divided by the length that the sum will have, not the sum by its own:
        there are far fewer of them.
        """
        return self.mix(self._unit(weights, axis), axis)

    def difference(self, weights: Tensor, axis: int) -> Tensor:
        """Return each query less what it saw at unit length, ``queries - unit_mix``."""
        return self.queries(axis) - self.unit_mix(weights, axis)

    def _unit(self, weights: Tensor, axis: int) -> Tensor:
        return weights / (self.norm_of_mix(weights, axis) + TINY)

    def norm_of_mix(self, weights: Tensor, axis: int) -> Tensor:
        """Return the length of each weighted sum of `mix`, without forming the sum.

        With G the Gram matrix of the mixed fragments this is ``sqrt(a' G a)``. In evaluation
        ``|T a|`` with T a Cholesky factor of G stands for it; in training G itself, whose
        gradient does not mind duplicate or zero fragments.
        """
        side = self.words if axis == WORDS else self.regions
        apply = self._word_mix if axis == WORDS else self._region_mix
        if torch.is_grad_enabled() and side.vectors.requires_grad:
            squared = (apply(weights, side.gram) * weights).sum(axis, keepdim=True)
            # the square root has no slope at zero, where all mixed fragments are zero
            return squared.clamp_min(1e-30).sqrt()
        return length(apply(weights, side.root), axis)


def _present(whole: Tensor | None) -> Tensor:
    if whole is None:
        raise ValueError("these fragments were encoded without a whole vector")
    return whole


class AllPairs(Pairing):
    """Every image against every caption; P = I.

    >>> V, W = Fragments.of(torch.randn(3, 36, 8)), Fragments.of(torch.randn(4, 7, 8))
    >>> AllPairs(V, W).dot().shape
    torch.Size([4, 7, 3, 36])
    """

    def dot(self) -> Tensor:
        """Return the dot products: one large matrix product."""
        V, W = self.regions.vectors, self.words.vectors
        return (W.flatten(0, 1) @ V.flatten(0, 1).T).view(*W.shape[:2], *V.shape[:2])

    def dot_of(self, queries: Tensor, axis: int) -> Tensor:
        """Return the dot products, one matrix product for each caption or image."""
        if axis == WORDS:
            flat = queries.flatten(1, 3)  # [C, P R, D]
            return (self.words.vectors @ flat.mT).unflatten(2, queries.shape[2:4])
        per_image = queries.flatten(0, 1).squeeze(2).transpose(0, 1)  # [P, C L, D], a view
        dots = (per_image @ self.regions.vectors.mT).transpose(0, 1)
        return dots.unflatten(0, queries.shape[:2])

    def mix(self, weights: Tensor, axis: int) -> Tensor:
        """Return the weighted sums, one matrix product for each caption or image."""
        if axis == WORDS:
            flat = weights.flatten(2).mT  # [C, I R, L]
            mixed = (flat @ self.words.vectors).unflatten(1, weights.shape[2:])
            return mixed.unsqueeze(1)
        per_image = weights.flatten(0, 1).transpose(0, 1)  # [I, C L, R]
        mixed = (per_image @ self.regions.vectors).transpose(0, 1)
        return mixed.unflatten(0, weights.shape[:2]).unsqueeze(3)

    def difference(self, weights: Tensor, axis: int) -> Tensor:
        """Return the differences; the product starts from the queries, which saves a pass."""
        V, W = self.regions.vectors, self.words.vectors
        unit = self._unit(weights, axis)
        if axis == WORDS:
            asking = V.flatten(0, 1).expand(len(W), -1, -1)
            flat = torch.baddbmm(asking, unit.flatten(2).mT, W, alpha=-1)
            return flat.unflatten(1, weights.shape[2:]).unsqueeze(1)
        asking = W.flatten(0, 1).expand(len(V), -1, -1)
        per_image = unit.flatten(0, 1).transpose(0, 1)
        flat = torch.baddbmm(asking, per_image, V, alpha=-1).transpose(0, 1)
        return flat.unflatten(0, weights.shape[:2]).unsqueeze(3)

    def _region_queries(self) -> Tensor:
        return self.regions.vectors[None, None]

    def wholes(self) -> tuple[Tensor, Tensor]:
        """Return the whole vectors; partners are the same for every caption."""
        return _present(self.words.whole)[:, None], _present(self.regions.whole)[None]

    def names(self) -> Tensor:
        """Return a number for each pair."""
        return self.words.places[:, None] * _MANY + self.regions.places[None]

    def region_values(self, values: Tensor) -> Tensor:
        """Return per-region values, the same for every caption."""
        return values[None, None]

    def _region_mix(self, weights: Tensor, factors: Tensor) -> Tensor:
        per_image = weights.flatten(0, 1).transpose(0, 1)  # [I, C L, R], a view
        return (per_image @ factors.mT).transpose(0, 1).unflatten(0, weights.shape[:2])


class _OwnPartners(Pairing):
    """Each caption with partners of its own: ``partner[C, P]`` says which images."""

    partner: Tensor

    @lazy
    def _own(self) -> Tensor:
        """``[C, P, R, D]`` the regions of each caption's partners."""
        return self.regions.vectors[self.partner]

    def dot(self) -> Tensor:
        """Return the dot products, one matrix product for each caption."""
        V, W = self._own, self.words.vectors
        return (W @ V.flatten(1, 2).mT).unflatten(2, V.shape[1:3])

    def dot_of(self, queries: Tensor, axis: int) -> Tensor:
        """Return the dot products, one matrix product for each pair."""
        if axis == WORDS:
            flat = queries.flatten(1, 3)
            return (self.words.vectors @ flat.mT).unflatten(2, queries.shape[2:4])
        return (queries.squeeze(3).transpose(1, 2) @ self._own.mT).transpose(1, 2)

    def mix(self, weights: Tensor, axis: int) -> Tensor:
        """Return the weighted sums, one matrix product for each pair."""
        if axis == WORDS:
            flat = weights.flatten(2).mT
            return (flat @ self.words.vectors).unflatten(1, weights.shape[2:]).unsqueeze(1)
        mixed = weights.transpose(1, 2) @ self._own  # [C, P, L, D]
        return mixed.transpose(1, 2).unsqueeze(3)

    def _region_queries(self) -> Tensor:
        return self._own[:, None]

    def wholes(self) -> tuple[Tensor, Tensor]:
        """Return the whole vectors of each caption and of its own partners."""
        return _present(self.words.whole)[:, None], _present(self.regions.whole)[self.partner]

    def names(self) -> Tensor:
        """Return a number for each pair."""
        return self.words.places[:, None] * _MANY + self.regions.places[self.partner]

    def region_values(self, values: Tensor) -> Tensor:
        """Return per-region values of each caption's own partners."""
        return values[self.partner][:, None]

    def _region_mix(self, weights: Tensor, factors: Tensor) -> Tensor:
        return (weights.transpose(1, 2) @ factors[self.partner].mT).transpose(1, 2)


class Matched(_OwnPartners):
    """The i-th image with the i-th caption; P = 1. Raises ValueError when counts differ."""

    def __init__(self, regions: Fragments, words: Fragments) -> None:
        super().__init__(regions, words)
        images, captions = len(regions.lens), len(words.lens)
        if images != captions:
            raise ValueError(f"Matched pairs need as many images as captions: {images}, {captions}")
        self.partner = torch.arange(captions, device=words.vectors.device)[:, None]


class Candidates(_OwnPartners):
    """Each caption with its own shortlist ``partner [C, P]`` of images.

    Raises ValueError when the shortlist has another number of rows than there are captions.
    """

    def __init__(self, regions: Fragments, words: Fragments, partner: Tensor) -> None:
        super().__init__(regions, words)
        if len(partner) != len(words.lens):
            raise ValueError(f"{len(words.lens)} captions but {len(partner)} shortlists")
        self.partner = partner.to(words.vectors.device)

    def norm_of_mix(self, weights: Tensor, axis: int) -> Tensor:
        """Return the length of each weighted sum of `mix`.

        An image is met with one caption here, which has fewer words than the image has regions:
        the sums themselves are sooner formed than a Gram matrix or its root.
        """
        if axis == WORDS:
            return super().norm_of_mix(weights, axis)
        return length(self.mix(weights, axis)).squeeze(-1)
