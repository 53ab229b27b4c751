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
    shared = type(matcher).forward
    # a copy of the code, which all matchers share: of one that it has compiled in eight variants
    # the compiler compiles no more
    code = shared.__code__.replace()
    forward_copy = types.FunctionType(code, shared.__globals__, shared.__name__)
    fast = torch.compile(types.MethodType(forward_copy, matcher), dynamic=True)

    def forward(pairing: Pairing) -> Tensor:
        """Return the scores of a pairing, by the compiled code."""
        for side in (pairing.regions, pairing.words):
            side.precompute()  # one graph, whichever lazy values exist already
        return fast(pairing)

    compiled = copy.copy(matcher)
    compiled.forward = forward  # type: ignore[method-assign]
    return compiled


@functools.cache
def _trial(device: str) -> str:
    """Return in one line why nothing can be compiled for a device; empty where it can."""
    try:
        torch.compile(lambda x: (x + 1).sin().sum())(torch.ones(64, device=device))
    except Exception as error:  # any failure: scoring works without it
        lines = str(error).strip().splitlines()
        return lines[0] if lines else type(error).__name__
    return ""
