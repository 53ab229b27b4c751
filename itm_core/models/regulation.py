"""The interface of a regulator: one pass of attention, its control, and the state between passes.

Page: the RCAR chapter, and "Add your own regulator".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from itm_core.encoders.fragments import TINY, lazy, length, linear
from itm_core.models.aggregation import squashed_contributions
from itm_core.models.alignment import SimilarityVector
from itm_core.models.pairing import Pairing, queries_first, query_axis_of, query_layout


@dataclass(frozen=True, eq=False)
class AttentionControl:
    """What a regulator changes in a pass of attention; queries on their axis, keys have size 1.

    Attributes:
        temperature: lambda, a number or ``[C, L, P, 1]`` (t2i), ``[C, 1, P, R]`` (i2t).
        factors: e, factors of the query's channels in the dot product, ``[C, L, P, 1, D]``.
        query: replaces the query in the dot product (IMRAM), ``[C, L, P, 1, D]``.
    """

    temperature: float | Tensor
    factors: Tensor | None = None
    query: Tensor | None = None


@dataclass(frozen=True, eq=False)
class AttentionPass:
    """One pass of cross-attention in one direction.

    Attributes:
        key_axis: `REGIONS` (t2i) or `WORDS` (i2t).
        dots: ``[C, L, P, R]`` dot products of words and regions.
        soft: ``[C, L, P, R]`` attention, as `weights`; None with hard assignment.
        query: ``[C, L, 1, 1, D]`` words or ``[1 or C, 1, P, R, D]`` regions.
        control: the temperature of the pass, and what a regulator changed.
        chosen: the index of the key that hard assignment chose; the key axis has size 1.
    """

    pairing: Pairing
    key_axis: int
    dots: Tensor
    soft: Tensor | None
    query: Tensor
    control: AttentionControl
    chosen: Tensor | None = None

    @property
    def query_axis(self) -> int:
        """The axis of the queries."""
        return query_axis_of(self.key_axis)

    @lazy
    def weights(self) -> Tensor:
        """``[C, L, P, R]`` attention; sums to one over the keys."""
        if self.soft is not None:
            return self.soft
        assert self.chosen is not None  # one of the two is always set
        return torch.zeros_like(self.dots).scatter_(self.key_axis, self.chosen, 1.0)

    @property
    def mask(self) -> Tensor | None:
        """Where queries are real, ``[C, L, 1, 1, 1]`` (t2i); None without padding."""
        mask = self.pairing.mask(self.query_axis)
        return None if mask is None else mask.unsqueeze(-1)

    def attended(self) -> Tensor:
        """Return the attended unit vectors, ``[C, L, P, 1, D]`` or ``[C, 1, P, R, D]``."""
        return self.pairing.unit_mix(self.weights, self.key_axis)

    def difference(self) -> Tensor:
        """Return each query minus its attended vector, shaped as `attended`."""
        return self.pairing.difference(self.weights, self.key_axis)

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean of ``x [C, L, P, 1, K]`` over the real queries, ``[C, 1, P, 1, K]``."""
        if self.mask is None:
            return x.mean(self.query_axis, keepdim=True)
        total = (x * self.mask).sum(self.query_axis, keepdim=True)
        return total / self.mask.sum(self.query_axis, keepdim=True)


@dataclass(frozen=True, eq=False)
class RegulatorState:
    """What a regulator keeps between passes; the last three are of regulators that pool.

    Attributes:
        control: of the next pass.
        alignment: ``[C, L, P, 1, K]`` of the last pass.
        pooled: ``[C, 1, P, 1, K]``, the pooled alignment, which is scored.
        pooling: the aggregation weights of each pooling step, ``[C, L, P, 1]``.
    """

    control: AttentionControl
    alignment: Tensor | None = None
    pooled: Tensor | None = None
    pooling: tuple[Tensor, ...] = ()

    def with_control(self, **changes: Any) -> RegulatorState:
        """Return the state with some fields of its `AttentionControl` changed."""
        return replace(self, control=replace(self.control, **changes))

    def with_pooling(self, alignment: Tensor, weights: Tensor, pooled: Tensor) -> RegulatorState:
        """Return the state after one more pooling step."""
        return replace(self, alignment=alignment, pooled=pooled, pooling=(*self.pooling, weights))


class Regulator(nn.Module, ABC):
    """Alignment maps, and a score if it pools. A subclass writes `update`.

    Attributes:
        changes_attention: whether it changes the control of the next pass.
        pools: whether it pools the alignment, in place of the host's aggregation.
        aligns: whether it has an alignment map for each update.
        sums_scores: whether the host's scores of all passes are added (IMRAM).
        min_steps: with fewer steps the host is not regulated.
    """

    changes_attention = False
    pools = False
    aligns = True
    sums_scores = False
    min_steps = 1

    def __init__(self, embedding: int, settings: Any) -> None:
        """Take the width of the embeddings and `regulators.RegulatorSettings`."""
        super().__init__()
        self.steps, self.activation = settings.steps, settings.output
        self.align = nn.ModuleList(
            SimilarityVector(embedding, settings.width)
            for _ in range(self.updates if self.aligns else 0)
        )
        self.output = linear(settings.width, 1) if self.pools else None

    @property
    def updates(self) -> int:
        """The passes after which the state is updated; a host that aggregates has one more."""
        return self.steps if self.changes_attention else 1

    def start(self, control: AttentionControl) -> RegulatorState:
        """Return the state before the first pass; ``control`` has the host's temperature."""
        return RegulatorState(control)

    @abstractmethod
    def update(self, k: int, attention: AttentionPass, state: RegulatorState) -> RegulatorState:
        """Return the state after pass ``k``, counted from 0."""

    def alignment(self, k: int, attention: AttentionPass) -> Tensor:
        """Return the alignment vector of each query in pass ``k``, ``[C, L, P, 1, K]``."""
        return self.align[k](attention.difference())

    def score(self, state: RegulatorState) -> Tensor:
        """Return the scores ``[C, P]`` of the pooled alignment."""
        assert self.output is not None
        return getattr(torch, self.activation)(self.output(state.pooled)).flatten(1, 4)

    def explain(self, attention: AttentionPass, state: RegulatorState) -> tuple[Tensor, Tensor]:
        """Return each query's contribution to `score`, laid out as ``pooling``, and the bias.

        ``attention`` is the last pass; contributions and bias ``[C, P]`` add up to the score.
        """
        assert self.output is not None
        assert state.alignment is not None
        assert state.pooled is not None
        weights, query_axis = state.pooling[-1], attention.query_axis
        mixed = (weights.unsqueeze(-1) * state.alignment).sum(query_axis, keepdim=True)
        # a plain mean is not normalised to unit length
        scale = length(state.pooled) / length(mixed).clamp_min(TINY)
        parts = weights * (state.alignment @ self.output.weight[0]) * scale.squeeze(-1)
        parts = queries_first(parts, attention.key_axis)
        constant = self.output.bias.expand(len(parts), parts.shape[2])
        contributions, bias = squashed_contributions(self.activation, parts, constant)
        return query_layout(contributions, attention.key_axis), bias


RegulatorFactory = Callable[[int], Regulator]  # from the width of the embeddings
