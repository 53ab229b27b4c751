"""Which image-caption pairs are scored: all, matched, or candidates per caption.

A matcher is written once, on tensors ``[C, L, P, R]``: C captions, L words, P partners of each
caption (images), R regions. `AllPairs`, `Matched` and `Candidates` differ in the partners, and
each computes the operations between both sides in its fastest form.

``key_axis`` arguments name the side of the keys, which are mixed: `REGIONS` when words are the
queries (t2i), `WORDS` when regions are (i2t). A reduced axis keeps size 1, so results broadcast.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from itm_core.encoders.fragments import TINY, Fragments, lazy, length

CAPTIONS, WORDS, IMAGES, REGIONS = range(4)
_MANY = 1 << 32  # more images than any batch has: pairs are numbered without collisions


def query_axis_of(key_axis: int) -> int:
    """Return the axis of the queries for the axis of the keys."""
    return WORDS + REGIONS - key_axis


def queries_first(x: Tensor, key_axis: int) -> Tensor:
    """Return ``[C, L, P, 1, ...]`` (t2i) or ``[C, 1, P, R, ...]`` (i2t) as ``[C, Q, P, ...]``."""
    return x.squeeze(3) if key_axis == REGIONS else x.squeeze(1).transpose(1, 2)


def query_layout(x: Tensor, key_axis: int) -> Tensor:
    """Return ``[C, Q, P]`` as ``[C, L, P, 1]`` (t2i) or ``[C, 1, P, R]`` (i2t)."""
    return x.unsqueeze(3) if key_axis == REGIONS else x.transpose(1, 2).unsqueeze(1)


class Pairing(ABC):
    """The operations between the words and the regions of image-caption pairs."""

    def __init__(self, regions: Fragments, words: Fragments) -> None:
        self.regions, self.words = regions, words

    @abstractmethod
    def dot(self) -> Tensor:
        """Return the dot product of every word with every region, ``[C, L, P, R]``."""

    @abstractmethod
    def partners(self, values: Tensor) -> Tensor:
        """Return ``values [I, ...]`` of the partners of each caption, ``[1 or C, P, ...]``."""

    @abstractmethod
    def _product(self, x: Tensor, matrices: Tensor) -> Tensor:
        """Return ``x [C, L, P, N]`` times the partners' ``matrices [1 or C, P, N, M]``."""

    def _partner_vectors(self) -> Tensor:
        """Return the regions of each caption's partners, ``[1 or C, P, R, D]``."""
        return self.partners(self.regions.vectors)

    def dot_of(self, queries: Tensor, key_axis: int) -> Tensor:
        """Return the dot products of ``queries`` with the keys on ``key_axis``.

        For queries that differ from pair to pair, as regulators make them: ``[C, L, P, 1, D]``
        (``key_axis`` is `REGIONS`) or ``[C, 1, P, R, D]`` (`WORDS`); result ``[C, L, P, R]``.
        """
        if key_axis == REGIONS:
            return self._product(queries.squeeze(3), self._partner_vectors().mT)
        flat = queries.flatten(1, 3)  # [C, P R, D]
        return (self.words.vectors @ flat.mT).unflatten(2, queries.shape[2:4])

    def mix(self, weights: Tensor, key_axis: int) -> Tensor:
        """Return the weighted sums of the keys on ``key_axis``.

        ``[C, L, P, R]`` weights give ``[C, L, P, 1, D]`` (sums of regions for each word) or
        ``[C, 1, P, R, D]`` (sums of words for each region).
        """
        if key_axis == REGIONS:
            return self._product(weights, self._partner_vectors()).unsqueeze(3)
        flat = weights.flatten(2).mT  # [C, P R, L]
        return (flat @ self.words.vectors).unflatten(1, weights.shape[2:]).unsqueeze(1)

    def queries(self, key_axis: int) -> Tensor:
        """Return the queries for the keys on ``key_axis``.

        ``[C, L, 1, 1, D]`` words, or ``[1 or C, 1, P, R, D]`` regions: broadcasts with `mix`.
        """
        if key_axis == REGIONS:
            return self.words.vectors[:, :, None, None]
        return self._partner_vectors()[:, None]

    def pooled(self) -> tuple[Tensor, Tensor]:
        """Return the pooled vectors of captions ``[C, 1, D]`` and partners ``[1 or C, P, D]``.

        Raises ValueError for fragments of an encoder without pooling.
        """
        if self.words.pooled is None or self.regions.pooled is None:
            raise ValueError("these fragments were encoded without a pooled vector")
        return self.words.pooled[:, None], self.partners(self.regions.pooled)

    def pair_ids(self) -> Tensor:
        """Return a number for each pair, ``[C, P]`` int64: the same in every pairing and tile."""
        return self.words.indices[:, None] * _MANY + self.partners(self.regions.indices)

    def norms(self, axis: int) -> Tensor:
        """Return the lengths of the fragments on ``axis``, broadcastable to ``[C, L, P, R]``."""
        if axis == WORDS:
            return self.words.norms[:, :, None, None]
        return self.partners(self.regions.norms)[:, None]

    def mask(self, axis: int) -> Tensor | None:
        """Return where the fragments on ``axis`` are real; None without padding."""
        if axis == WORDS:
            return self.words.mask[:, :, None, None] if self.words.ragged else None
        return self.partners(self.regions.mask)[:, None] if self.regions.ragged else None

    def unit_mix(self, weights: Tensor, key_axis: int) -> Tensor:
        """Return the weighted sums of `mix` at unit length (a zero sum stays zero)."""
        return self.mix(self._unit(weights, key_axis), key_axis)

    def difference(self, weights: Tensor, key_axis: int) -> Tensor:
        """Return each query minus its attended vector at unit length, ``queries - unit_mix``."""
        return self.queries(key_axis) - self.unit_mix(weights, key_axis)

    def _unit(self, weights: Tensor, key_axis: int) -> Tensor:
        # fewer numbers than the sums have
        return weights / (self.norm_of_mix(weights, key_axis) + TINY)

    def norm_of_mix(self, weights: Tensor, key_axis: int) -> Tensor:
        """Return the length of each weighted sum of `mix`, without forming the sum.

        With G the Gram matrix of the keys this is ``sqrt(a' G a)``. In evaluation it is computed
        as ``|T a|`` with T a Cholesky factor of G, in training from G, whose gradient is finite
        for duplicate and zero fragments.
        """
        side = self.words if key_axis == WORDS else self.regions
        training = torch.is_grad_enabled() and side.vectors.requires_grad
        factors = side.gram if training else side.root
        if key_axis == WORDS:
            mixed = (factors @ weights.flatten(2)).unflatten(2, weights.shape[2:])
        else:
            mixed = self._product(weights, self.partners(factors).mT)
        if training:
            squared = (mixed * weights).sum(key_axis, keepdim=True)
            # the square root has no gradient at zero, where all keys are zero
            return squared.clamp_min(1e-30).sqrt()
        return length(mixed, key_axis)


class AllPairs(Pairing):
    """Every image against every caption, in training batches and evaluation; P = I.

    >>> V, W = Fragments.of(torch.randn(3, 36, 8)), Fragments.of(torch.randn(4, 7, 8))
    >>> AllPairs(V, W).dot().shape
    torch.Size([4, 7, 3, 36])
    """

    def dot(self) -> Tensor:
        """Return the dot products: one large matrix product."""
        V, W = self.regions.vectors, self.words.vectors
        return (W.flatten(0, 1) @ V.flatten(0, 1).T).view(*W.shape[:2], *V.shape[:2])

    def partners(self, values: Tensor) -> Tensor:
        """Return the values of all images, the same for every caption."""
        return values[None]

    def _product(self, x: Tensor, matrices: Tensor) -> Tensor:
        per_image = x.flatten(0, 1).transpose(0, 1)  # [I, C L, N], a view
        return (per_image @ matrices[0]).transpose(0, 1).unflatten(0, x.shape[:2])

    def difference(self, weights: Tensor, key_axis: int) -> Tensor:
        """Return the differences, subtracted within the matrix product."""
        V, W = self.regions.vectors, self.words.vectors
        unit = self._unit(weights, key_axis)
        if key_axis == WORDS:
            queries = V.flatten(0, 1).expand(len(W), -1, -1)
            flat = torch.baddbmm(queries, unit.flatten(2).mT, W, alpha=-1)
            return flat.unflatten(1, weights.shape[2:]).unsqueeze(1)
        queries = W.flatten(0, 1).expand(len(V), -1, -1)
        per_image = unit.flatten(0, 1).transpose(0, 1)
        flat = torch.baddbmm(queries, per_image, V, alpha=-1).transpose(0, 1)
        return flat.unflatten(0, weights.shape[:2]).unsqueeze(3)


class _ListedPartners(Pairing):
    """Each caption with the images ``partner[C, P]``."""

    partner: Tensor

    @lazy
    def _listed(self) -> Tensor:
        return self.partners(self.regions.vectors)

    def _partner_vectors(self) -> Tensor:
        return self._listed

    def partners(self, values: Tensor) -> Tensor:
        """Return the values of each caption's images."""
        return values[self.partner]

    def dot(self) -> Tensor:
        """Return the dot products, one matrix product for each caption."""
        V = self._listed
        return (self.words.vectors @ V.flatten(1, 2).mT).unflatten(2, V.shape[1:3])

    def _product(self, x: Tensor, matrices: Tensor) -> Tensor:
        return (x.transpose(1, 2) @ matrices).transpose(1, 2)


class Matched(_ListedPartners):
    """The i-th image with the i-th caption; P = 1. Raises ValueError when counts differ."""

    def __init__(self, regions: Fragments, words: Fragments) -> None:
        super().__init__(regions, words)
        images, captions = len(regions.lens), len(words.lens)
        if images != captions:
            raise ValueError(f"Matched pairs need as many images as captions: {images}, {captions}")
        self.partner = torch.arange(captions, device=words.vectors.device)[:, None]


class Candidates(_ListedPartners):
    """Each caption with its shortlist ``partner [C, P]`` of images, for re-ranking.

    Raises ValueError when there is not one shortlist for each caption.
    """

    def __init__(self, regions: Fragments, words: Fragments, partner: Tensor) -> None:
        super().__init__(regions, words)
        if len(partner) != len(words.lens):
            raise ValueError(f"{len(words.lens)} captions but {len(partner)} shortlists")
        self.partner = partner.to(words.vectors.device)

    def norm_of_mix(self, weights: Tensor, key_axis: int) -> Tensor:
        """Return the length of each weighted sum of `mix`.

        An image has few captions here: forming the sums is faster than a Gram matrix.
        """
        if key_axis == WORDS:
            return super().norm_of_mix(weights, key_axis)
        return length(self.mix(weights, key_axis)).squeeze(-1)
