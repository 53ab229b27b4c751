"""The matcher with cross-attention: attend, align, aggregate, optionally regulated.

Page: the chapters on SCAN, RCAR and CHAN, "Every method".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn

from itm_core.encoders.encoder import EncoderSettings
from itm_core.errors import InputError
from itm_core.models.aggregation import AGGREGATIONS, aggregate, contributions
from itm_core.models.alignment import cosine
from itm_core.models.attention import GATES, NORMALISATIONS, attend, choose
from itm_core.models.matcher import DIRECTIONS, DirectionOutput, Matcher, MatchOutput
from itm_core.models.pairing import Pairing, query_axis_of
from itm_core.models.regulation import (
    AttentionControl,
    AttentionPass,
    RegulatorFactory,
    RegulatorState,
)
from itm_core.models.similarity_nodes import NODE_AGGREGATIONS, SAF, NodeAggregation
from itm_core.settings import Depth, Positive, Settings, Width, name_in

ATTENTIONS = ("soft", "hard")
SUMMED = ("score", "relevance", "contribution", "bias")  # over passes, for IMRAM


class AttendingSettings(Settings):
    """The choices of a method with cross-attention.

    Attributes:
        direction: ``t2i`` (words are queries, regions keys), ``i2t``, or ``both`` in one model
            with their scores added (BFAN).
        attention: ``soft``, or ``hard``: each query attends to its most similar key (CHAN).
        normalisation: of the dot products before the softmax, see `attention.normalise`.
        attention_temperature: lambda_1; SCAN's is 9 for t2i and 4 for i2t.
        gate: BFAN's focal gate, ``none``, ``equal`` or ``prob``.
        alignment: of a query with its attended vector under soft attention: their ``cosine``, or
            the ``dot`` product with the vector at unit length (CHAN's soft coding).
        aggregation: of cosines: ``mean`` (AVG), ``LSE``, ``max``, ``sum``, ``softmax``; of
            similarity vectors: ``SAF``, ``SGR``.
        lse_temperature: lambda_2; used by LSE and softmax alone.
        lse_scaled: divide LSE by lambda_2, as SCAN does and CHAN's paper prints. CHAN's code
            does not: its scores, and so the effect of a margin, are lambda_2 times as large.
        max_attention_bonus: add half the aggregated largest attention weight of each query, in
            every direction; PFAN's released code does in t2i alone, and its paper in none.
        width: K of SAF's and SGR's similarity vectors.
        node_steps: reasoning steps of SGR.
    """

    part: ClassVar[str] = "matcher"
    direction: Annotated[str, name_in(DIRECTIONS)] = "t2i"
    attention: Annotated[str, name_in(ATTENTIONS)] = "soft"
    normalisation: Annotated[str, name_in(NORMALISATIONS)] = "clipped_l2norm"
    attention_temperature: Positive = 9.0
    gate: Annotated[str, name_in(GATES)] = "none"
    alignment: Annotated[str, name_in(("cosine", "dot"))] = "cosine"
    aggregation: Annotated[str, name_in(lambda: (*AGGREGATIONS, *NODE_AGGREGATIONS))] = "mean"
    lse_temperature: Positive = 6.0
    lse_scaled: bool = True
    max_attention_bonus: bool = False
    width: Width = 256
    node_steps: Depth = 3

    @model_validator(mode="after")
    def _check_attention(self) -> Self:
        if self.attention == "hard" and (self.gate != "none" or self.max_attention_bonus):
            raise InputError(
                "the focal gate and the attention bonus need soft attention",
                found=f"gate={self.gate}, max_attention_bonus={self.max_attention_bonus}",
                expected="gate=none and max_attention_bonus=false with matcher.attention=hard",
            )
        return self

    @property
    def uses_nodes(self) -> bool:
        """Whether similarity vectors are aggregated, not cosines."""
        return self.aggregation in NODE_AGGREGATIONS


class Attending(Matcher):
    """A matcher with cross-attention, composed from its settings.

    ``regulator`` makes the regulator of each direction, see `regulators.regulator_factory`.

    >>> matcher = Attending(2048, 100, EncoderSettings(embedding=64), AttendingSettings())
    """

    def __init__(
        self,
        feature_width: int,
        vocabulary_size: int,
        encoder: EncoderSettings,
        settings: AttendingSettings,
        regulator: RegulatorFactory | None = None,
        region_count: int = 36,
    ) -> None:
        super().__init__(feature_width, vocabulary_size, encoder, region_count)
        self.settings = settings
        self.directions = nn.ModuleDict(
            {
                name: CrossAttention(key_axis, encoder.embedding, settings, regulator)
                for name, key_axis in DIRECTIONS[settings.direction].items()
            }
        )
        nodes = [direction.nodes for direction in self._directions]
        self.forms_vectors = regulator is not None or any(x is not None for x in nodes)
        self.scope = "caption" if any(isinstance(x, SAF) for x in nodes) else "pair"

    @property
    def _directions(self) -> list[CrossAttention]:
        return list(self.directions.values())  # type: ignore[arg-type]

    def forward(self, pairing: Pairing) -> Tensor:
        """Return scores ``[C, P]``, the sum over the directions."""
        dots = pairing.dot()
        scores = [direction(pairing, dots) for direction in self._directions]
        return sum(scores[1:], scores[0])

    def match(self, pairing: Pairing) -> MatchOutput:
        """Return the scores of a pairing with their explanation."""
        dots = pairing.dot()
        outputs = [direction.explain(pairing, dots) for direction in self._directions]
        return MatchOutput(sum((x.score for x in outputs[1:]), outputs[0].score), outputs)

    def attend(self, pairing: Pairing) -> Sequence[AttentionPass]:
        """Return the last pass of attention of each direction, without scoring."""
        dots = pairing.dot()
        return [list(direction.passes(pairing, dots))[-1][0] for direction in self._directions]


class CrossAttention(nn.Module):
    """One direction of cross-attention: passes of attention, then one score per pair."""

    def __init__(
        self,
        key_axis: int,
        embedding: int,
        settings: AttendingSettings,
        regulator: RegulatorFactory | None = None,
    ) -> None:
        super().__init__()
        self.key_axis, self.settings = key_axis, settings
        self.regulator = None if regulator is None else regulator(embedding)
        self.nodes: NodeAggregation | None = None
        if settings.uses_nodes and not (self.regulator and self.regulator.pools):
            nodes = NODE_AGGREGATIONS[settings.aggregation]
            self.nodes = nodes(embedding, settings.width, settings.node_steps)

    def forward(self, pairing: Pairing, dots: Tensor) -> Tensor:
        """Return this direction's scores ``[C, P]``; ``dots [C, L, P, R]`` are the pairing's."""
        control, regulator = AttentionControl(self.settings.attention_temperature), self.regulator
        if regulator is None:
            return self._score(self._attend(pairing, dots, control))
        state, earlier = regulator.start(control), []
        for k in range(regulator.updates):
            attention = self._attend(pairing, dots, state.control)
            if regulator.sums_scores:
                earlier.append(self._score(attention))
            state = regulator.update(k, attention, state)
        if regulator.pools:
            return regulator.score(state)
        return sum(earlier, self._score(self._attend(pairing, dots, state.control)))

    def passes(
        self, pairing: Pairing, dots: Tensor
    ) -> Iterator[tuple[AttentionPass, RegulatorState]]:
        """Yield each pass of attention and the regulator's state after it."""
        control, regulator = AttentionControl(self.settings.attention_temperature), self.regulator
        if regulator is None:
            yield self._attend(pairing, dots, control), RegulatorState(control)
            return
        state = regulator.start(control)
        for k in range(regulator.updates):
            attention = self._attend(pairing, dots, state.control)
            state = regulator.update(k, attention, state)
            yield attention, state
        if not regulator.pools:
            yield self._attend(pairing, dots, state.control), state

    def explain(self, pairing: Pairing, dots: Tensor) -> DirectionOutput:
        """Return the scores of `forward`, every pass, and the contribution of each query."""
        passes, states = zip(*self.passes(pairing, dots), strict=True)
        if self.regulator is not None and self.regulator.pools:
            score = self.regulator.score(states[-1])
            explained = self.regulator.explain(passes[-1], states[-1])
            return DirectionOutput(
                self.key_axis, passes, score, *explained, pooling=states[-1].pooling
            )
        output = replace(self._explain_score(passes[-1]), passes=passes)
        if self.regulator is not None and self.regulator.sums_scores:
            for attention in passes[:-1]:
                earlier = self._explain_score(attention)
                sums = {x: getattr(output, x) + getattr(earlier, x) for x in SUMMED}
                output = replace(output, **sums)
        return output

    def _attend(self, pairing: Pairing, dots: Tensor, control: AttentionControl) -> AttentionPass:
        settings, key_axis = self.settings, self.key_axis
        query, controlled = pairing.queries(key_axis), dots
        # a regulator changes the query of the attention, not the one that is aligned
        if control.query is not None:
            controlled = pairing.dot_of(control.query, key_axis)
            mask = pairing.mask(query_axis_of(key_axis))
            if mask is not None:
                controlled = controlled.masked_fill(~mask, 0)  # as for padded queries
        elif control.factors is not None:
            controlled = pairing.dot_of(control.factors * query, key_axis)
        if settings.attention == "hard":
            chosen = choose(controlled.detach(), pairing, key_axis)
            return AttentionPass(pairing, key_axis, dots, None, query, control, chosen)
        kind, gate, temperature = settings.normalisation, settings.gate, control.temperature
        weights = attend(
            controlled, pairing, key_axis, kind=kind, temperature=temperature, gate=gate
        )
        return AttentionPass(pairing, key_axis, dots, weights, query, control)

    def _score(self, attention: AttentionPass) -> Tensor:
        """Return the aggregated scores ``[C, P]`` of one pass."""
        if self.nodes is not None:
            return self.nodes(attention)
        return self._aggregated(aggregate, attention, self._relevance(attention))

    def _explain_score(self, attention: AttentionPass) -> DirectionOutput:
        """Return the scores of one pass with the contributions of its queries."""
        if self.nodes is not None:
            score, contribution, bias, pooling = self.nodes.explain(attention)
            return DirectionOutput(
                self.key_axis, [attention], score, contribution, bias, pooling=[pooling]
            )
        relevance = self._relevance(attention)
        score = self._aggregated(aggregate, attention, relevance)
        contribution = self._aggregated(contributions, attention, relevance)
        bias = torch.zeros_like(score)
        return DirectionOutput(self.key_axis, [attention], score, contribution, bias, relevance)

    def _relevance(self, attention: AttentionPass) -> Tensor:
        """Return the relevance of each query, ``[C, L, P, 1]`` or ``[C, 1, P, R]``."""
        dots, key_axis = attention.dots, self.key_axis
        if attention.chosen is not None:  # CHAN: the chosen similarity itself
            return dots.gather(key_axis, attention.chosen)
        scaled = self.settings.alignment == "cosine"
        return cosine(dots, attention.weights, attention.pairing, key_axis, scaled=scaled)

    def _aggregated(
        self, rule: Callable[..., Tensor], attention: AttentionPass, relevance: Tensor
    ) -> Tensor:
        """Return the result of `aggregate` or `contributions`, with the attention bonus if set."""
        s, axis = self.settings, attention.query_axis
        mask, temperature = attention.pairing.mask(axis), s.lse_temperature
        factor = temperature if s.aggregation == "LSE" and not s.lse_scaled else 1.0
        total = rule(relevance, axis, kind=s.aggregation, temperature=temperature, mask=mask)
        total = total * factor
        if s.max_attention_bonus:
            most = attention.weights.amax(self.key_axis, keepdim=True)
            bonus = rule(most, axis, kind=s.aggregation, temperature=temperature, mask=mask)
            total = total + bonus * (factor / 2)
        return total
