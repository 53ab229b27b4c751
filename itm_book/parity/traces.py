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

    Stored are one caption's values against all images: scored here as `Matched` pairs.
    """
    by_caption: dict[int, list[str]] = {}
    for key in stored.folder("outputs/trace"):
        number, what = key.split("/")
        by_caption.setdefault(int(number), []).append(what)
    images = len(regions.lens)
    for caption, entries in by_caption.items():
        repeated = words.take(torch.full((images,), caption))
        output = matcher.explain(regions.detach(), repeated.detach()).directions[0]
        for what in entries:
            match = re.fullmatch(r"([a-z_]+)(\d+)", what)
            assert match is not None
            name = f"trace/{caption}/{what}"
            ours = READERS[match[1]](matcher, output, int(match[2]))
            difference = value_difference(name, ours, stored.tensor(f"outputs/{name}"))
            limit = SMOOTH_LIMIT if match[1] == "smooth" else difference.limit
            yield Difference(name, difference.error, limit)


def _queries_first(output: DirectionOutput, x: Tensor) -> Tensor:
    """Return ``[C, L, 1, R]`` as ``[C, queries, keys]``."""
    x = x.squeeze(2)
    return x if output.key_axis == REGIONS else x.transpose(1, 2)


def _vectors(output: DirectionOutput, x: Tensor) -> Tensor:
    """Return ``[C, L, 1, 1, D]`` or ``[C, 1, 1, R, D]`` as ``[C, queries, D]``."""
    return x.flatten(1, 3)


def _attended(output: DirectionOutput, k: int) -> Tensor:
    return output.passes[k].attended()


def _alignment(matcher: Matcher, output: DirectionOutput, k: int) -> Tensor:
    return _regulator(matcher).alignment(k, output.passes[k])


def _regulator(matcher: Matcher) -> Regulator:
    assert isinstance(matcher, Attending)
    regulator = next(iter(matcher.directions.values())).regulator
    assert isinstance(regulator, Regulator)
    return regulator


def _pooled(matcher: Matcher, output: DirectionOutput, k: int) -> Tensor:
    """Return the pooled alignment of step ``k`` from its weights in the record."""
    regulator = _regulator(matcher)
    alignment = _alignment(matcher, output, k if regulator.changes_attention else 0)
    weights = output.pooling[k].unsqueeze(-1)
    return l2norm((weights * alignment).sum(output.query_axis, keepdim=True)).flatten(1)


def _temperature(output: DirectionOutput, k: int) -> Tensor:
    temperature = output.passes[k + 1].control.temperature
    assert isinstance(temperature, Tensor)
    return temperature.flatten(1)[..., None]


def _factors(output: DirectionOutput, k: int) -> Tensor:
    factors = output.passes[k + 1].control.factors
    assert factors is not None
    return _vectors(output, factors)


READERS: dict[str, Callable[[Matcher, DirectionOutput, int], Tensor]] = {
    "attention": lambda matcher, output, k: _queries_first(output, output.passes[k].weights),
    "wcontext": lambda matcher, output, k: _vectors(output, _attended(output, k)),
    "alignment": lambda matcher, output, k: _vectors(output, _alignment(matcher, output, k)),
    "matrix": lambda matcher, output, k: _factors(output, k),
    "smooth": lambda matcher, output, k: _temperature(output, k),
    "rar_weights": lambda matcher, output, k: output.pooling[k].flatten(1),
    "rar_out": _pooled,
    "logit": lambda matcher, output, k: output.score.logit(),
}
