"""Regulators: feedback from the alignments to the attention (RCR) and to the pooling (RAR).

Diao, Zhang, Liu, Ruan, Lu, *Plug-and-Play Regulators for Image-Text Matching*, TIP 2023.

The interface of a regulator is in `models.regulation`.

Page: the RCAR chapter, and "Add your own regulator".
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import hardtanh

from itm_core.constraints import CONSTRAINTS
from itm_core.encoders.fragments import l2norm, linear
from itm_core.errors import InputError
from itm_core.models.half_tanh import half_tanh, half_tanh_of_tanh, layer_of_tanh
from itm_core.models.pair_dropout import PairDropout
from itm_core.models.regulation import (
    AttentionControl,
    AttentionPass,
    Regulator,
    RegulatorFactory,
    RegulatorState,
)
from itm_core.settings import Fraction, Settings, name_in


class RegulatorSettings(Settings):
    """The regulator and its options.

    Attributes:
        kind: ``none`` or a name in `REGULATORS`.
        steps: number of regulation steps; zero steps are the host alone, except for ``rar``,
            which then scores the mean of the alignment vectors, as the release does.
        width: K of the alignment vectors.
        dropout: inside RAR, in training.
        output: activation of RAR's score; the release's ``sigmoid``, or ``tanh``.
        normalise_memory: normalise IMRAM's refined queries to unit length.
    """

    part: ClassVar[str] = "regulator"
    kind: Annotated[str, name_in(lambda: ("none", *REGULATORS))] = "none"
    steps: Annotated[int, Field(ge=0, le=64)] = 2
    width: Annotated[int, Field(ge=2, le=2**16)] = 256
    dropout: Fraction = 0.4
    output: Annotated[str, name_in(("sigmoid", "tanh"))] = "sigmoid"
    normalise_memory: bool = False

    @property
    def active(self) -> bool:
        """Whether the host is regulated."""
        return self.kind != "none" and self.steps >= REGULATORS[self.kind].min_steps


class RCR(Regulator):
    """Recurrent correspondence regulator: corrects channels and temperature of the attention.

    ``e <- clamp(tanh(W2 tanh(W1 a)) + e, -1, 1)`` and ``lambda <- relu(w2 tanh(W1 a) + lambda)``
    with separate weights at each step; e starts as ones, lambda at the host's temperature.
    """

    changes_attention = True

    def __init__(self, embedding: int, settings: RegulatorSettings) -> None:
        super().__init__(embedding, settings)
        count = self.updates - 1 if self.pools else self.updates
        self.correct = nn.ModuleList(_Correction(embedding, settings.width) for _ in range(count))

    def update(self, k: int, attention: AttentionPass, state: RegulatorState) -> RegulatorState:
        """Return the state with corrected channel factors and temperatures."""
        correct: _Correction = self.correct[k]  # type: ignore[assignment]
        hidden = half_tanh(correct.hidden, self.alignment(k, attention))
        return state.with_control(**correct(hidden, state.control))


class _Correction(nn.Module):
    """The two heads of one RCR step."""

    def __init__(self, embedding: int, width: int) -> None:
        super().__init__()
        wide, narrow = 2 * width, width // 2
        self.factors = nn.Sequential(linear(width, wide), nn.Tanh(), linear(wide, embedding))
        self.temperature = nn.Sequential(linear(width, narrow), nn.Tanh(), linear(narrow, 1))

    @property
    def hidden(self) -> tuple[nn.Module, nn.Module]:
        """The first layers of both heads, which share their input, the alignment vectors."""
        return self.factors[0], self.temperature[0]

    def forward(self, hidden: Sequence[Tensor], control: AttentionControl) -> dict[str, Tensor]:
        """Return the corrected factors and temperatures from `half_tanh` of the hidden layers."""
        half = half_tanh_of_tanh(self.factors[2], hidden[0])
        start = half.new_ones(()) if control.factors is None else control.factors
        factors = torch.add(start - 1, half, alpha=2)  # start + tanh
        change = layer_of_tanh(self.temperature[2], hidden[1]).squeeze(-1)
        return {
            "temperature": (change + control.temperature).relu(),
            "factors": hardtanh(factors, -1, 1, inplace=True),
        }


class RAR(Regulator):
    """Recurrent aggregation regulator: re-weights the alignments in each step.

    ``beta = softmax(w . (tanh(W_l a_i) * tanh(W_g a_g)) + b)``, ``a_g <- unit(sum beta_i a_i)``;
    a_g starts as the mean, the score is ``sigmoid(w_s . a_g + b_s)``.
    """

    pools = True
    min_steps = 0

    def __init__(self, embedding: int, settings: RegulatorSettings) -> None:
        super().__init__(embedding, settings)
        width = settings.width
        self.local = nn.ModuleList(linear(width, width) for _ in range(self.steps))
        self.pooled = nn.ModuleList(linear(width, width) for _ in range(self.steps))
        self.weigh = nn.ModuleList(linear(width, 1) for _ in range(self.steps))
        self.dropout = nn.ModuleList(PairDropout(settings.dropout) for _ in range(2 * self.steps))

    def update(self, k: int, attention: AttentionPass, state: RegulatorState) -> RegulatorState:
        """Return the state after all pooling steps."""
        alignment = self.alignment(k, attention)
        halves = half_tanh(list(self.local[: self.steps]), alignment) if self.steps else ()
        for step, half in enumerate(halves):
            state = self.pool(step, attention, alignment, half, state)
        if self.steps:
            return state
        ones = torch.ones_like(alignment[..., 0])
        weights = ones if attention.mask is None else ones * attention.mask[..., 0]
        weights = weights / weights.sum(attention.query_axis, keepdim=True)
        return state.with_pooling(alignment, weights, attention.mean(alignment))

    def pool(
        self,
        step: int,
        attention: AttentionPass,
        alignment: Tensor,
        half: Tensor,
        state: RegulatorState,
    ) -> RegulatorState:
        """Return the state after one pooling step; ``half`` is ``(1 + tanh(W_l a)) / 2``."""
        pooled = attention.mean(alignment) if state.pooled is None else state.pooled
        pair_ids = attention.pairing.pair_ids()
        local = self.dropout[2 * step](half - 0.5, pair_ids)  # half of the tangent
        pooled = self.dropout[2 * step + 1](self.pooled[step](pooled).tanh(), pair_ids)
        weight, bias = self.weigh[step].parameters()
        relevance = (local * (2 * weight * pooled)).sum(-1, keepdim=True) + bias
        if attention.mask is not None:
            relevance = relevance.masked_fill(~attention.mask, -torch.inf)
        weights = relevance.softmax(attention.query_axis)
        pooled = l2norm((weights * alignment).sum(attention.query_axis, keepdim=True))
        return state.with_pooling(alignment, weights.squeeze(-1), pooled)


class RCAR(RCR, RAR):
    """RCR and RAR in cooperation: both use the same alignment vectors of every pass."""

    pools = True
    min_steps = 1  # without a step there is no pass

    def update(self, k: int, attention: AttentionPass, state: RegulatorState) -> RegulatorState:
        """Return the state after one pooling step and, but for the last pass, a correction."""
        alignment = self.alignment(k, attention)
        if k + 1 == self.updates:
            (half,) = half_tanh([self.local[k]], alignment)
            return self.pool(k, attention, alignment, half, state)
        correct: _Correction = self.correct[k]  # type: ignore[assignment]
        half, *hidden = half_tanh([self.local[k], *correct.hidden], alignment)
        state = self.pool(k, attention, alignment, half, state)
        return state.with_control(**correct(hidden, state.control))


class Memory(Regulator):
    """IMRAM's recurrent refinement: a gate mixes the attended vector into the query.

    ``g = sigmoid(W_g [q, v])``, ``o = tanh(W_o [q, v])``, ``q <- g q + (1 - g) o``; the scores
    of all passes are added (IMRAM equations 9-12). The refined query is used in the attention; the
    word or region itself is aligned. The weights are shared between steps. ``steps`` counts
    passes, as in IMRAM: after the last pass there is no refinement.
    """

    changes_attention = sums_scores = True
    aligns = False

    def __init__(self, embedding: int, settings: RegulatorSettings) -> None:
        super().__init__(embedding, settings)
        self.normalised = settings.normalise_memory
        self.gate = nn.Linear(2 * embedding, embedding)
        self.refine = nn.Linear(2 * embedding, embedding)

    @property
    def updates(self) -> int:
        """The number of refinements, one less than passes."""
        return self.steps - 1

    def update(self, k: int, attention: AttentionPass, state: RegulatorState) -> RegulatorState:
        """Return the state with refined queries."""
        query = attention.query if state.control.query is None else state.control.query
        mixed = attention.pairing.mix(attention.weights, attention.key_axis)
        query = query.expand_as(mixed)
        both = torch.cat([query, mixed], -1)
        gate = self.gate(both).sigmoid()
        refined = gate * query + (1 - gate) * self.refine(both).tanh()
        return state.with_control(query=l2norm(refined) if self.normalised else refined)


OF_PYTHON = ("__annotate__", "__annotate_func__")  # functions that Python 3.14 adds to a class
REGULATORS: dict[str, type[Regulator]] = {"rcr": RCR, "rar": RAR, "rcar": RCAR, "memory": Memory}


def register(name: str, regulator: type[Regulator]) -> None:
    """Make a regulator available to recipes as ``regulator.kind=name``.

    Raises `InputError` when it neither changes the attention nor pools, for a built-in name, also
    that of a constraint, and for a name that is no part of a recipe's: letters, digits and
    underscores.
    """
    if not re.fullmatch(r"\w+", name):
        raise InputError(
            "not a name of a regulator",
            found=repr(name),
            expected="letters, digits and underscores: it is part of recipes' names",
        )
    if not (regulator.changes_attention or regulator.pools):
        raise InputError(
            "this regulator has no effect",
            found=regulator.__name__,
            expected="changes_attention = True, pools = True, or both",
        )
    built_in = REGULATORS.get(name)
    part = "constraint" if name in CONSTRAINTS else "regulator"  # both are added to a host by name
    if name in ("none", *CONSTRAINTS) or (built_in and built_in.__module__ == __name__):
        remedy = "choose another one"
        raise InputError(f"a built-in {part} has this name", found=name, remedy=remedy)
    REGULATORS[name] = regulator


def fingerprint(kind: str) -> str | None:
    """Return a hash of the source of a registered regulator; None for the built-in ones.

    It is part of a run's configuration, so that a changed class makes another run.
    """
    regulator = REGULATORS.get(kind)
    if regulator is None or regulator.__module__ == __name__:
        return None
    own = takewhile(lambda c: not c.__module__.startswith("itm_core."), regulator.__mro__)
    return hashlib.sha256("".join(map(_source, own)).encode()).hexdigest()[:12]


def _source(regulator: type) -> str:
    """Return the source of a class's methods, and its constants."""
    members = sorted(item for item in vars(regulator).items() if item[0] not in OF_PYTHON)
    functions = [getattr(v, "fget", None) or getattr(v, "__func__", v) for _, v in members]
    try:  # method by method: the source of a whole class is not found in a notebook
        source = "".join(inspect.getsource(v) for v in functions if inspect.isfunction(v))
    except (OSError, TypeError):
        raise InputError(
            "the source of this regulator cannot be read",
            found=regulator.__name__,
            remedy="define it in a file or in a notebook cell: a run's folder depends on it",
        ) from None
    constants = [(k, v) for k, v in members if _is_own(k) and _is_constant(v)]
    # Python 3.13 removes the indentation of a docstring, earlier ones do not
    return source + repr([(k, inspect.cleandoc(v) if k == "__doc__" else v) for k, v in constants])


def _is_own(name: str) -> bool:
    """Return whether a member may be one of the class itself rather than of Python.

    What Python adds depends on its version and on the place in the file: annotations, the first
    line, the attributes that methods set. Module and docstring have always been part of the hash.
    """
    return not name.startswith("__") or name in ("__module__", "__doc__")


def _is_constant(value: object) -> bool:
    """Return whether a value is a number, a text, or a collection of them, and its text is too."""
    if isinstance(value, dict):
        return all(map(_is_constant, [*value.keys(), *value.values()]))
    if isinstance(value, tuple | list):
        return all(map(_is_constant, value))
    return isinstance(value, bool | int | float | str)


def regulator_factory(settings: RegulatorSettings) -> RegulatorFactory | None:
    """Return a function from the width of the embeddings to a new regulator; None if inactive."""
    if not settings.active:
        return None
    return lambda embedding: REGULATORS[settings.kind](embedding, settings)
