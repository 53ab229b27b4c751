"""The sentence that all attending methods share: attend, align, aggregate, perhaps regulated.

Who looks at what; how each query compares with what it saw; one score per pair. The methods
differ in their settings (see `methods`), a regulator in what it feeds back.

Page: the chapters on SCAN, RCAR and CHAN, "The hosts".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn

from itm_core.encoders.encoder import EncoderSettings
from itm_core.encoders.fragments import TINY, length
from itm_core.errors import InputError
from itm_core.models.aggregation import AGGREGATIONS, aggregate, contributions
from itm_core.models.alignment import cosine
from itm_core.models.attention import GATES, NORMALISATIONS, attend, choose
from itm_core.models.matcher import DIRECTIONS, AttentionPass, DirectionOutput, Matcher, MatchOutput
from itm_core.models.pairing import REGIONS, Pairing, other
from itm_core.models.similarity_nodes import NODE_AGGREGATIONS, SAF, SGR
from itm_core.regulators import (
    AttentionControl,
    Regulator,
    RegulatorInput,
    RegulatorSettings,
    make_regulator,
)
from itm_core.settings import Count, Positive, Settings, name_in

ATTENTIONS = ("soft", "hard")
ALIGNMENTS = ("cosine", "dot")


class AttendingSettings(Settings):
    """The choices of a method that attends.

    Attributes:
        direction: ``t2i`` (words ask, regions answer), ``i2t``, or ``both`` in one model, scores
            added (BFAN).
        attention: ``soft``, or ``hard``: each query keeps its best fragment alone (CHAN).
        normalisation: of the dot products before the softmax, see `attention.normalise`.
        attention_temperature: lambda_1; SCAN's is 9 for t2i and 4 for i2t.
        alignment: of a query with what it saw softly: their ``cosine``, or its ``dot`` product
            with what it saw at unit length (CHAN's soft coding); the same for unit queries.
        gate: BFAN's focal gate, ``none``, ``equal`` or ``prob``.
        aggregation: of cosines: ``mean`` (AVG), ``LSE``, ``max``, ``sum``, ``softmax``; of
            similarity vectors: ``SAF``, ``SGR``.
        lse_temperature: lambda_2; used by LSE and softmax alone.
        lse_scaled: divide LSE by lambda_2, as SCAN does and CHAN's paper prints. CHAN's code
            does not: its scores are lambda_2 times as large, and so is what a margin means.
        max_attention_bonus: adds half the aggregated largest attention weight of each word, as
            PFAN's released code does in t2i and its paper does not say.
        width: K of SAF's and SGR's similarity vectors.
        node_steps: reasoning steps of SGR.
    """

    part: ClassVar[str] = "matcher"
    direction: Annotated[str, name_in(DIRECTIONS)] = "t2i"
    attention: Annotated[str, name_in(ATTENTIONS)] = "soft"
    normalisation: Annotated[str, name_in(NORMALISATIONS)] = "clipped_l2norm"
    attention_temperature: Positive = 9.0
    gate: Annotated[str, name_in(GATES)] = "none"
    alignment: Annotated[str, name_in(ALIGNMENTS)] = "cosine"
    aggregation: Annotated[str, name_in(lambda: (*AGGREGATIONS, *NODE_AGGREGATIONS))] = "mean"
    lse_temperature: Positive = 6.0
    lse_scaled: bool = True
    max_attention_bonus: bool = False
    width: Count = 256
    node_steps: Count = 3

    @model_validator(mode="after")
    def _check_attention(self) -> Self:
        if self.attention == "hard" and self.gate != "none":
            raise InputError(
                "a gate needs soft attention",
                found=f"gate {self.gate} with hard attention",
                expected="hard attention keeps one fragment already; set matcher.gate=none",
            )
        if self.attention == "hard" and self.max_attention_bonus:
            raise InputError(
                "the bonus needs soft attention",
                expected="the largest weight of hard attention is always one",
                found="max_attention_bonus with hard attention",
            )
        return self

    @property
    def uses_nodes(self) -> bool:
        """Whether similarity vectors are aggregated, not cosines."""
        return self.aggregation in NODE_AGGREGATIONS


class Attending(Matcher):
    """A method that attends, composed from its settings.

    >>> matcher = Attending(2048, 100, EncoderSettings(embedding=64), AttendingSettings())
    """

    def __init__(
        self,
        feature_width: int,
        vocabulary_size: int,
        encoder: EncoderSettings,
        settings: AttendingSettings,
        regulator: RegulatorSettings | None = None,
        region_count: int = 36,
    ) -> None:
        super().__init__(feature_width, vocabulary_size, encoder, region_count)
        self.settings = settings
        regulator = regulator or RegulatorSettings()
        self.directions = nn.ModuleDict(
            {
                name: CrossAttention(axis, encoder.embedding, settings, regulator)
                for name, axis in DIRECTIONS[settings.direction].items()
            }
        )
        self.register_load_state_dict_pre_hook(_rename_former)
        directions = self._directions
        if any(isinstance(gaze.nodes, SAF) for gaze in directions):
            self.scope = "caption"
        if any(gaze.forms_vectors for gaze in directions):
            self.forms_vectors = True

    @property
    def _directions(self) -> list[CrossAttention]:
        return list(self.directions.values())  # type: ignore[arg-type]

    def match(self, pairing: Pairing, *, explain: bool = False) -> MatchOutput:
        """Return the scores of a pairing and how they came about."""
        dots = pairing.dot()
        looks = [gaze(pairing, dots, explain=explain) for gaze in self._directions]
        return MatchOutput(sum((look.score for look in looks[1:]), looks[0].score), looks)

    def attend(self, pairing: Pairing) -> Sequence[AttentionPass]:
        """Return the last pass of attention of each direction, without scoring."""
        dots = pairing.dot()
        return [gaze.last_pass(pairing, dots) for gaze in self._directions]


class CrossAttention(nn.Module):
    """One direction of an attending method: passes of attention, then one score per pair."""

    def __init__(
        self, axis: int, embedding: int, settings: AttendingSettings, regulator: RegulatorSettings
    ) -> None:
        super().__init__()
        self.axis, self.settings = axis, settings
        self.regulator: Regulator | None = make_regulator(embedding, regulator)
        self.nodes: SAF | SGR | None = None
        if settings.uses_nodes and not (self.regulator and self.regulator.pools):
            kinds: dict[str, type[SAF] | type[SGR]] = {"SAF": SAF, "SGR": SGR}
            self.nodes = kinds[settings.aggregation](embedding, settings.width, settings.node_steps)

    @property
    def forms_vectors(self) -> bool:
        """Whether attended vectors are formed in full."""
        return self.regulator is not None or self.nodes is not None

    def forward(self, pairing: Pairing, dots: Tensor, *, explain: bool = False) -> DirectionOutput:
        """Return this direction's scores; ``dots [C, L, P, R]`` are the pairing's."""
        record = _Record(explain)
        seen = self._regulated(pairing, dots, record)
        if self.regulator is not None and self.regulator.pools:
            look = self._read_pooled(record)
        else:
            look = self._aggregated(seen, explain)
            for earlier in record.looks:  # IMRAM: the scores of all passes are added
                look = _added(earlier, look)
        pooling = [*record.pooling, *look.pooling] if explain else look.pooling
        return replace(look, passes=record.passes, pooling=pooling)

    def last_pass(self, pairing: Pairing, dots: Tensor) -> AttentionPass:
        """Return the last pass of attention."""
        record = _Record(False)
        self._regulated(pairing, dots, record)
        return record.passes[-1]

    def _regulated(self, pairing: Pairing, dots: Tensor, record: _Record) -> AttentionPass:
        """Make the passes of attention, with the regulator's say between them."""
        regulator, settings = self.regulator, self.settings
        steering = AttentionControl(settings.attention_temperature)
        if regulator is None:
            return record.saw(self._attend(pairing, dots, steering))
        pooled: Tensor | None = None
        for k in range(regulator.rounds):
            seen = record.saw(self._attend(pairing, dots, steering))
            if regulator.sums:
                record.looks.append(self._aggregated(seen, record.explain))
            turn = self._round(seen, k)
            if regulator.pools:
                for step in regulator.pool_steps(k):
                    weights, pooled = regulator.pool(step, turn, pooled)
                    record.pooled(turn, weights, pooled)
            if regulator.steers and (not regulator.pools or k + 1 < regulator.rounds):
                steering = regulator.steer(k, turn)
        if regulator.pools:
            return seen
        return record.saw(self._attend(pairing, dots, steering))

    def _attend(self, pairing: Pairing, dots: Tensor, steering: AttentionControl) -> AttentionPass:
        settings, axis = self.settings, self.axis
        query, asked = pairing.queries(axis), dots
        if steering.query is not None:  # steering acts on who is asked, not on who compares
            asked = pairing.dot_of(steering.query, axis)
            mask = pairing.mask(other(axis))
            asked = asked if mask is None else asked.masked_fill(~mask, 0)  # as padding is
        elif steering.factors is not None:
            asked = pairing.dot_of(steering.factors * query, axis)
        if settings.attention == "hard":
            chosen = choose(asked.detach(), pairing, axis)
            return AttentionPass(pairing, axis, dots, None, query, steering, chosen)
        weights = attend(
            asked,
            pairing,
            axis,
            kind=settings.normalisation,
            temperature=steering.temperature,
            gate=settings.gate,
        )
        return AttentionPass(pairing, axis, dots, weights, query, steering)

    def _round(self, seen: AttentionPass, k: int) -> RegulatorInput:
        assert self.regulator is not None
        maps = self.regulator.align
        align = maps[k] if len(maps) else None
        return RegulatorInput(
            seen.pairing, self.axis, seen.query, seen.weights, align, seen.steering
        )

    def _aggregated(self, seen: AttentionPass, explain: bool) -> DirectionOutput:
        return self._by_nodes(seen, explain) if self.nodes else self._by_cosines(seen, explain)

    def _by_cosines(self, seen: AttentionPass, explain: bool) -> DirectionOutput:
        s, pairing, asking = self.settings, seen.pairing, other(self.axis)
        if seen.chosen is not None:  # the chosen similarity itself, as CHAN takes it
            relevance = seen.dots.gather(self.axis, seen.chosen)
        else:
            relevance = cosine(
                seen.dots, seen.weights, pairing, self.axis, scaled=s.alignment == "cosine"
            )
        rule: dict[str, Any] = {"kind": s.aggregation, "temperature": s.lse_temperature}
        mask = pairing.mask(asking)
        gain = s.lse_temperature if s.aggregation == "LSE" and not s.lse_scaled else 1.0
        terms = [(relevance, gain)]
        if s.max_attention_bonus:
            terms.append((seen.weights.amax(self.axis, keepdim=True), gain / 2))
        parts = [aggregate(x, asking, mask=mask, **rule) * c for x, c in terms]
        look = DirectionOutput(self.axis, (seen,), sum(parts[1:], parts[0]), relevance)
        if not explain:
            return look
        shares = [contributions(x, asking, mask=mask, **rule) * c for x, c in terms]
        return replace(
            look, contribution=sum(shares[1:], shares[0]), bias=torch.zeros_like(look.score)
        )

    def _by_nodes(self, seen: AttentionPass, explain: bool) -> DirectionOutput:
        assert self.nodes is not None
        nodes, mask = self.nodes.nodes(seen.pairing, self.axis, seen.weights)
        weights, parts, constant = self.nodes(nodes, mask, seen.pairing)
        score = (parts.sum(1) + constant).sigmoid()
        look = DirectionOutput(self.axis, (seen,), score)
        if not explain:
            return look
        shares, rest = _through("sigmoid", parts[:, 1:], constant + parts[:, 0])
        return replace(
            look,
            contribution=self._as_queries(shares),
            bias=rest,
            pooling=[self._as_queries(weights[:, 1:])],
        )

    def _read_pooled(self, record: _Record) -> DirectionOutput:
        """Score the pooled alignment of the last round."""
        assert self.regulator is not None
        assert self.regulator.score is not None
        turn, weights, pooled = record.last
        scored = self.regulator.score
        score = self.regulator.squash(scored(pooled)).flatten(1, 4)
        look = DirectionOutput(self.axis, (), score)
        if not record.explain:
            return look
        asking = other(self.axis)
        mixed = (weights.unsqueeze(-1) * turn.alignment).sum(asking, keepdim=True)
        scale = length(pooled) / length(mixed).clamp_min(TINY)  # a mean is not made a unit vector
        parts = weights * (turn.alignment @ scored.weight[0]) * scale.squeeze(-1)
        flat = parts.squeeze(3) if self.axis == REGIONS else parts.squeeze(1).transpose(1, 2)
        shares, rest = _through(self.regulator.output, flat, scored.bias.expand_as(score))
        return replace(look, contribution=self._as_queries(shares), bias=rest)

    def _as_queries(self, x: Tensor) -> Tensor:
        """Return ``[C, Q, P]`` laid out as weights are: ``[C, L, P, 1]`` or ``[C, 1, P, R]``."""
        return x.unsqueeze(3) if self.axis == REGIONS else x.transpose(1, 2).unsqueeze(1)


class _Record:
    """What happened in the passes of one direction; everything, or only what the score needs."""

    def __init__(self, explain: bool) -> None:
        self.explain = explain
        self.passes: list[AttentionPass] = []
        self.pooling: list[Tensor] = []
        self.looks: list[DirectionOutput] = []
        self.last: tuple[RegulatorInput, Tensor, Tensor]

    def saw(self, seen: AttentionPass) -> AttentionPass:
        if not self.explain:
            self.passes.clear()
        self.passes.append(seen)
        return seen

    def pooled(self, turn: RegulatorInput, weights: Tensor, pooled: Tensor) -> None:
        self.last = (turn, weights, pooled)
        if self.explain:
            self.pooling.append(weights)


def _through(output: str, parts: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
    """Carry the parts ``[C, Q, P]`` of a logit through a final squashing function.

    Each share is its part times the mean slope on the way from the constant to the logit, which
    is what integrated gradients give; shares and the rest add up to the score exactly.
    """
    squash = getattr(torch, output)
    total = parts.sum(1)
    rest = squash(constant)
    slope = rest * (1 - rest) if output == "sigmoid" else 1 - rest.square()
    near = total.abs() < 1e-6  # too close for a difference quotient
    mean = torch.where(near, slope, (squash(constant + total) - rest) / total.masked_fill(near, 1))
    return parts * mean[:, None], rest


def _added(first: DirectionOutput, second: DirectionOutput) -> DirectionOutput:
    def both(a: Tensor | None, b: Tensor | None) -> Tensor | None:
        return None if a is None or b is None else a + b

    return replace(
        second,
        score=first.score + second.score,
        relevance=both(first.relevance, second.relevance),
        contribution=both(first.contribution, second.contribution),
        bias=both(first.bias, second.bias),
    )


def _rename_former(matcher: nn.Module, weights: dict[str, Any], prefix: str, *_: Any) -> None:
    """Rename weights that were saved when directions were called gazes, before they are loaded."""
    former, present = f"{prefix}gazes.", f"{prefix}directions."
    for name in [name for name in weights if name.startswith(former)]:
        weights[present + name.removeprefix(former)] = weights.pop(name)
