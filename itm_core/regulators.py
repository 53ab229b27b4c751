"""Regulators: feedback from the alignments to the attention (RCR) and to the pooling (RAR).

Diao, Zhang, Liu, Ruan, Lu, *Plug-and-Play Regulators for Image-Text Matching*, TIP 2023.

A regulator is one small class with one or two methods. `steer` corrects the attention of the
next pass, `pool` replaces the host's aggregation; a regulator says which of them it has. The
host does the rest, so a regulator plugs into every host that attends softly.

Page: the RCAR chapter, and "Add your own regulator".
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from itm_core.encoders.fragments import l2norm
from itm_core.encoders.lazy import lazy
from itm_core.errors import InputError
from itm_core.models.alignment import SimilarityVector, along_last, linear
from itm_core.models.pair_dropout import PairDropout
from itm_core.models.pairing import Pairing, other
from itm_core.settings import Fraction, Settings, name_in

OUTPUTS = ("sigmoid", "tanh")


class RegulatorSettings(Settings):
    """Which regulator, and how far it goes.

    Attributes:
        kind: ``none`` or a name in `REGULATORS`.
        steps: how often it regulates; zero steps are the plain host, but for ``rar``: there the
            plain mean of the alignment vectors is scored, as the release does.
        width: K of the alignment vectors.
        dropout: inside RAR, in training.
        output: what RAR's score passes through; the release's ``sigmoid``, or ``tanh``.
        normalise_memory: give IMRAM's refined queries unit length again.
    """

    part: ClassVar[str] = "regulator"
    kind: Annotated[str, name_in(lambda: ("none", *REGULATORS))] = "none"
    steps: Annotated[int, Field(ge=0)] = 2
    width: Annotated[int, Field(ge=2)] = 256
    dropout: Fraction = 0.4
    output: Annotated[str, name_in(OUTPUTS)] = "sigmoid"
    normalise_memory: bool = False

    @property
    def active(self) -> bool:
        """Whether there is anything to regulate."""
        return self.kind != "none" and self.steps >= REGULATORS[self.kind].least_steps


@dataclass(frozen=True, eq=False)
class AttentionControl:
    """What a regulator tells the next pass of attention; shapes with D last or as the weights.

    Attributes:
        temperature: lambda, a number or ``[C, L, P, 1]`` (words ask), ``[C, 1, P, R]``.
        factors: e, on the channels of the query inside the dot product, ``[C, L, P, 1, D]``.
        query: stands for the query inside the dot product (IMRAM), ``[C, L, P, 1, D]``.
    """

    temperature: float | Tensor
    factors: Tensor | None = None
    query: Tensor | None = None

    def replace(self, **changes: Tensor | float) -> AttentionControl:
        """Return the steering with some of its parts changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class RegulatorInput:
    """What a regulator sees of one pass; queries on the asking axis, the other one is 1.

    Attributes:
        pairing: the pairs.
        axis: the asked side, `REGIONS` or `WORDS`.
        query: ``[C, L, 1 or P, 1, D]`` what asked.
        weights: ``[C, L, P, R]`` attention.
        align: the similarity vector of this pass; None for a regulator without maps.
        steering: what this pass was told.
    """

    pairing: Pairing
    axis: int
    query: Tensor
    weights: Tensor
    align: nn.Module | None
    steering: AttentionControl

    @lazy
    def attended(self) -> Tensor:
        """``[C, L, P, 1, D]`` unit vectors, what the queries saw."""
        return self.pairing.unit_mix(self.weights, self.axis)

    @lazy
    def alignment(self) -> Tensor:
        """``[C, L, P, 1, K]`` how each query agrees with what it saw."""
        if self.align is None:
            raise ValueError("this regulator has no alignment maps")
        return self.align(self.pairing.difference(self.weights, self.axis))

    @property
    def mask(self) -> Tensor | None:
        """Where queries are real, ``[C, L, 1, 1, 1]``; None when all are."""
        mask = self.pairing.mask(other(self.axis))
        return None if mask is None else mask.unsqueeze(-1)

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean of ``x`` over the real queries, ``[C, 1, P, 1, K]``."""
        asking, mask = other(self.axis), self.mask
        if mask is None:
            return x.mean(asking, keepdim=True)
        return (x * mask).sum(asking, keepdim=True) / mask.sum(asking, keepdim=True)

    def uniform(self) -> Tensor:
        """Return the same weight for every real query, ``[C, L, P, 1]`` or ``[C, 1, P, R]``."""
        each = torch.ones_like(self.alignment)
        each = each if self.mask is None else each * self.mask
        return (each / each.sum(other(self.axis), keepdim=True))[..., 0]


class Regulator(nn.Module):
    """What the regulators share: alignment maps, and a score for those that pool.

    A subclass sets `steers` or `pools` (or both) and writes the method of that name.

    Attributes:
        rounds: passes that it sees. One that only steers sees ``steps`` and lets the host
            aggregate one further pass; one that only pools sees one; one that does both sees
            ``steps``, and steers after all but the last of them (RCAR section "cooperation").
    """

    steers = False
    pools = False
    sums = False  # whether the host's scores of all passes are added (IMRAM)
    least_steps = 1  # with fewer steps the host is plain

    def __init__(self, embedding: int, settings: RegulatorSettings) -> None:
        super().__init__()
        self.steps, self.width = settings.steps, settings.width
        self.rounds = settings.steps if self.steers else 1
        self.align = nn.ModuleList(self._maps(embedding))
        self.score = linear(settings.width, 1) if self.pools else None
        self.output = settings.output

    def _maps(self, embedding: int) -> Sequence[nn.Module]:
        return [SimilarityVector(embedding, self.width) for _ in range(self.rounds)]

    def squash(self, logit: Tensor) -> Tensor:
        """Return the score of a logit."""
        return getattr(torch, self.output)(logit)

    def steer(self, k: int, seen: RegulatorInput) -> AttentionControl:
        """Return what the next pass is told, after pass ``k``."""
        raise NotImplementedError

    def pool(self, k: int, seen: RegulatorInput, pooled: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return aggregation weights ``[C, L, P, 1]`` and the pooled alignment ``[C, 1, P, 1, K]``.

        ``pooled`` is what step ``k - 1`` returned; None at the start.
        """
        raise NotImplementedError

    def pool_steps(self, k: int) -> range:
        """Return the pooling steps that belong to pass ``k``."""
        return range(k, k + 1) if self.steers else range(max(self.steps, 1))


class RCR(Regulator):
    """Recurrent correspondence regulator: corrects channels and temperature of the attention.

    ``e <- clamp(tanh(W2 tanh(W1 a)) + e, -1, 1)`` and ``lambda <- relu(w2 tanh(W1 a) + lambda)``
    with weights of their own at each step; e starts as ones, lambda at the host's temperature.
    """

    steers = True

    def __init__(self, embedding: int, settings: RegulatorSettings) -> None:
        super().__init__(embedding, settings)
        self.correct = nn.ModuleList(
            _Correction(embedding, settings.width) for _ in range(self._corrections)
        )

    @property
    def _corrections(self) -> int:
        return self.rounds - 1 if self.pools else self.rounds

    def steer(self, k: int, seen: RegulatorInput) -> AttentionControl:
        """Return corrected channel factors and temperatures."""
        factors, warmer = self.correct[k](seen.alignment)
        before = seen.steering
        start = 1.0 if before.factors is None else before.factors
        return AttentionControl(
            temperature=(warmer + before.temperature).relu(),
            factors=(factors + start).clamp_(-1, 1),
        )


class _Correction(nn.Module):
    """The two heads of one RCR step."""

    def __init__(self, embedding: int, width: int) -> None:
        super().__init__()
        self.factors = nn.Sequential(
            linear(width, 2 * width), nn.Tanh(), linear(2 * width, embedding)
        )
        self.temperature = nn.Sequential(
            linear(width, width // 2), nn.Tanh(), linear(width // 2, 1)
        )

    def forward(self, alignment: Tensor) -> tuple[Tensor, Tensor]:
        warmer = along_last(self.temperature, alignment).squeeze(-1)
        return along_last(self.factors, alignment).tanh_(), warmer


class RAR(Regulator):
    """Recurrent aggregation regulator: re-weights the alignments, step by step.

    ``beta = softmax(w . (tanh(W_l a_i) * tanh(W_g a_g)) + b)``, ``a_g <- unit(sum beta_i a_i)``;
    a_g starts as the plain mean, the score is ``sigmoid(w_s . a_g + b_s)``. With no step the mean
    itself is scored.
    """

    pools = True
    least_steps = 0

    def __init__(self, embedding: int, settings: RegulatorSettings) -> None:
        super().__init__(embedding, settings)
        width = settings.width
        self.local = nn.ModuleList(linear(width, width) for _ in range(self.steps))
        self.whole = nn.ModuleList(linear(width, width) for _ in range(self.steps))
        self.weigh = nn.ModuleList(linear(width, 1) for _ in range(self.steps))
        self.dropout = nn.ModuleList(PairDropout(settings.dropout) for _ in range(2 * self.steps))

    def pool(self, k: int, seen: RegulatorInput, pooled: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the weights of step ``k`` and the alignment that they pool."""
        a, asking = seen.alignment, other(seen.axis)
        if not self.steps:
            return seen.uniform(), seen.mean(a)
        before = seen.mean(a) if pooled is None else pooled
        names = seen.pairing.names()
        local = self.dropout[2 * k](along_last(self.local[k], a).tanh(), names)
        whole = self.dropout[2 * k + 1](self.whole[k](before).tanh(), names)
        relevance = along_last(self.weigh[k], local * whole)
        if seen.mask is not None:
            relevance = relevance.masked_fill(~seen.mask, -torch.inf)
        weights = relevance.softmax(asking)
        return weights.squeeze(-1), l2norm((weights * a).sum(asking, keepdim=True))


class RCAR(RCR, RAR):
    """RCR and RAR in cooperation: both read the same alignment vectors of every pass."""

    steers = pools = True
    least_steps = 1  # there is no pass without a step


class Memory(Regulator):
    """IMRAM's recurrent refinement: a gate mixes what was seen into the query.

    ``g = sigmoid(W_g [q, v])``, ``o = tanh(W_o [q, v])``, ``q <- g q + (1 - g) o``; the scores
    of all passes are added (IMRAM equations 9-12). The refined query asks; what is compared with
    the answer stays the word or region itself. The weights are shared between steps. ``steps``
    counts passes, as IMRAM does: the last pass refines nothing.
    """

    steers = sums = True

    def __init__(self, embedding: int, settings: RegulatorSettings) -> None:
        super().__init__(embedding, settings)
        self.rounds = settings.steps - 1
        self.normalised = settings.normalise_memory
        self.gate = nn.Linear(2 * embedding, embedding)
        self.refine = nn.Linear(2 * embedding, embedding)

    def _maps(self, embedding: int) -> Sequence[nn.Module]:
        return []

    def steer(self, k: int, seen: RegulatorInput) -> AttentionControl:
        """Return the refined queries."""
        query = seen.query if seen.steering.query is None else seen.steering.query
        mixed = seen.pairing.mix(seen.weights, seen.axis)
        query = query.expand_as(mixed)
        both = torch.cat([query, mixed], -1)
        gate = self.gate(both).sigmoid()
        refined = gate * query + (1 - gate) * self.refine(both).tanh()
        return seen.steering.replace(query=l2norm(refined) if self.normalised else refined)


REGULATORS: dict[str, type[Regulator]] = {"rcr": RCR, "rar": RAR, "rcar": RCAR, "memory": Memory}


def register(name: str, regulator: type[Regulator]) -> None:
    """Make a regulator of your own available to recipes as ``regulator.kind=name``.

    Raises `InputError` when it neither steers nor pools, or the name is one of the built-in ones.
    """
    if not (regulator.steers or regulator.pools):
        raise InputError(
            "this regulator does nothing",
            found=regulator.__name__,
            expected="steers = True with a method `steer`, or pools = True with `pool`",
        )
    built_in = REGULATORS.get(name)
    if name == "none" or (built_in is not None and built_in.__module__ == __name__):
        raise InputError("this name is taken", found=name, remedy="choose another one")
    REGULATORS[name] = regulator


def fingerprint(kind: str) -> str | None:
    """Return a hash of the source of a reader's own regulator; None for the built-in ones.

    It belongs to a run's configuration, so that a changed class is never mistaken for the old.
    """
    regulator = REGULATORS.get(kind)
    if regulator is None or regulator.__module__ == __name__:
        return None
    own = sorted(vars(regulator).items())
    try:  # method by method: the source of a whole class is not found in a notebook
        source = "".join(inspect.getsource(v) for _, v in own if inspect.isfunction(v))
    except (OSError, TypeError):
        raise InputError(
            "the source of this regulator cannot be read",
            found=regulator.__name__,
            remedy="define it in a file or in a notebook cell: runs are told apart by it",
        ) from None
    source += repr([(k, v) for k, v in own if isinstance(v, bool | int | float | str)])
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def make_regulator(embedding: int, settings: RegulatorSettings) -> Regulator | None:
    """Return the regulator that the settings ask for; None when there is nothing to regulate."""
    return REGULATORS[settings.kind](embedding, settings) if settings.active else None
