"""The intermediate values of RCAR's reference cases, against the record that `explain` gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from itm_book.parity.format import Difference, Stored, value_difference
from itm_core.encoders.fragments import Fragments, l2norm
from itm_core.models import DirectionOutput, Matcher
from itm_core.models.attending import Attending
from itm_core.models.pairing import REGIONS
from itm_core.regulators import Regulator

SMOOTH_LIMIT = 1e-4  # temperatures, which are sums of large numbers


@torch.no_grad()
def trace_differences(
    stored: Stored, matcher: Matcher, regions: Fragments, words: Fragments
) -> Iterator[Difference]:
    """Yield the difference of every stored intermediate value; nothing where none is stored.

    Stored are one caption's values against all images: met here as `Matched` pairs.
    """
    by_caption: dict[int, list[str]] = {}
    for key in stored.folder("outputs/trace"):
        number, what = key.split("/")
        by_caption.setdefault(int(number), []).append(what)
    images = len(regions.lens)
    for caption, entries in by_caption.items():
        repeated = words.take(torch.full((images,), caption))
        look = matcher.explain(regions.detach(), repeated.detach()).directions[0]
        for what in entries:
            match = re.fullmatch(r"([a-z_]+)(\d+)", what)
            assert match is not None
            name = f"trace/{caption}/{what}"
            ours = READERS[match[1]](matcher, look, int(match[2]))
            found = value_difference(name, ours, stored.tensor(f"outputs/{name}"))
            limit = SMOOTH_LIMIT if match[1] == "smooth" else found.limit
            yield Difference(name, found.error, limit)


def _queries_first(look: DirectionOutput, x: Tensor) -> Tensor:
    """Return ``[C, L, 1, R]`` as ``[C, queries, asked]``."""
    x = x.squeeze(2)
    return x if look.key_axis == REGIONS else x.transpose(1, 2)


def _vectors(look: DirectionOutput, x: Tensor) -> Tensor:
    """Return ``[C, L, 1, 1, D]`` or ``[C, 1, 1, R, D]`` as ``[C, queries, D]``."""
    return x.flatten(1, 3)


def _attended(look: DirectionOutput, k: int) -> Tensor:
    return look.passes[k].attended()


def _alignment(matcher: Matcher, look: DirectionOutput, k: int) -> Tensor:
    return _regulator(matcher).alignment(k, look.passes[k])


def _regulator(matcher: Matcher) -> Regulator:
    assert isinstance(matcher, Attending)
    regulator = next(iter(matcher.directions.values())).regulator
    assert isinstance(regulator, Regulator)
    return regulator


def _pooled(matcher: Matcher, look: DirectionOutput, k: int) -> Tensor:
    """Return the pooled alignment of step ``k`` from its weights in the record."""
    regulator = _regulator(matcher)
    alignment = _alignment(matcher, look, k if regulator.changes_attention else 0)
    weights = look.pooling[k].unsqueeze(-1)
    return l2norm((weights * alignment).sum(look.query_axis, keepdim=True)).flatten(1)


def _temperature(look: DirectionOutput, k: int) -> Tensor:
    temperature = look.passes[k + 1].control.temperature
    assert isinstance(temperature, Tensor)
    return temperature.flatten(1)[..., None]


def _factors(look: DirectionOutput, k: int) -> Tensor:
    factors = look.passes[k + 1].control.factors
    assert factors is not None
    return _vectors(look, factors)


READERS: dict[str, Callable[[Matcher, DirectionOutput, int], Tensor]] = {
    "attention": lambda matcher, look, k: _queries_first(look, look.passes[k].weights),
    "wcontext": lambda matcher, look, k: _vectors(look, _attended(look, k)),
    "alignment": lambda matcher, look, k: _vectors(look, _alignment(matcher, look, k)),
    "matrix": lambda matcher, look, k: _factors(look, k),
    "smooth": lambda matcher, look, k: _temperature(look, k),
    "rar_weights": lambda matcher, look, k: look.pooling[k].flatten(1),
    "rar_out": _pooled,
    "logit": lambda matcher, look, k: look.score.logit(),
}
