"""Scoring through ``torch.compile``, which fuses the operations after a matrix product.

Softmax, norms and gates read and write every dot product several times; compiled, once or twice.
Compiling takes seconds to a minute for each method in every process. The chapter on cost reports
for which methods, and on which machines, it pays.

Page: "What it costs".
"""

from __future__ import annotations

import copy
import functools
import types
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from itm_core.models.matcher import Matcher
from itm_core.models.pairing import Pairing


def compiled(matcher: Matcher) -> Matcher:
    """Return a matcher with the same weights whose scores are computed by compiled code.

    Where this machine cannot compile (a CPU needs a C++ compiler, a GPU Triton) the matcher itself
    is returned, with a warning.
    """
    device = next(matcher.parameters()).device.type
    reason = _trial(device)
    if reason:
        warnings.warn(f"torch.compile does not work here, scoring without: {reason}", stacklevel=2)
        return matcher
    fast = torch.compile(
        types.MethodType(_with_own_code(type(matcher).forward), matcher), dynamic=True
    )

    def forward(pairing: Pairing) -> Tensor:
        for side in (pairing.regions, pairing.words):
            side.precompute()  # one graph, whichever lazy values exist already
        return fast(pairing)

    twin = copy.copy(matcher)
    twin.forward = forward  # type: ignore[method-assign]
    return twin


def _with_own_code(function: Callable[..., Tensor]) -> types.FunctionType:
    """Return a copy of a function with a copy of its code.

    The compiler gives up on code that it has compiled in eight variants, and all matchers share
    the code of `Matcher.forward`.
    """
    assert isinstance(function, types.FunctionType)
    code = function.__code__.replace()
    return types.FunctionType(code, function.__globals__, function.__name__)


@functools.cache
def _trial(device: str) -> str:
    """Return in one line why nothing can be compiled for a device; empty where it can."""
    try:
        torch.compile(lambda x: (x + 1).sin().sum())(torch.ones(64, device=device))
    except Exception as error:  # any failure: scoring works without it
        lines = str(error).strip().splitlines()
        return lines[0] if lines else type(error).__name__
    return ""
