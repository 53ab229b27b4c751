"""Scoring through ``torch.compile``: what follows a matrix product, fused into few passes.

Softmax, norms and gates read and write every dot product several times. A compiler makes one or
two passes of them, at the price of compiling: seconds to a minute for each method, paid again in
every process. The chapter on cost says for which methods it has been worth that, and where.

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

    Where this machine cannot compile (on a CPU that takes a C++ compiler, on a GPU Triton) it is
    the matcher itself, and a warning says why.
    """
    device = next(matcher.parameters()).device.type
    reason = _trial(device)
    if reason:
        warnings.warn(f"torch.compile does not work here, scoring without: {reason}", stacklevel=2)
        return matcher
    fast = torch.compile(types.MethodType(_own(type(matcher).forward), matcher), dynamic=True)

    def forward(pairing: Pairing) -> Tensor:
        for side in (pairing.regions, pairing.words):
            side.precompute()  # one graph, whichever of them has been asked for before
        return fast(pairing)

    ours = copy.copy(matcher)
    ours.forward = forward  # type: ignore[method-assign]
    return ours


def _own(function: Callable[..., Tensor]) -> types.FunctionType:
    """Return a function with code of its own.

    The compiler gives up on code that it has compiled in eight variants, and all matchers share
    the code of `Matcher.forward`.
    """
    assert isinstance(function, types.FunctionType)
    code = function.__code__.replace()
    return types.FunctionType(code, function.__globals__, function.__name__)


@functools.cache
def _trial(device: str) -> str:
    """Return why nothing can be compiled for a device, in a line; empty where it can."""
    try:
        torch.compile(lambda x: (x + 1).sin().sum())(torch.ones(64, device=device))
    except Exception as error:  # whatever the compiler meets: there is a way without it
        lines = str(error).strip().splitlines()
        return lines[0] if lines else type(error).__name__
    return ""
