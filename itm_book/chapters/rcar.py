"""Answers to the exercises of RCAR: each a text, a few lines, and their numbers.

The first paragraph of a docstring says what is returned; the rest is the answer that the page
shows, with the code below it (`method_code.answer`). V are regions ``[R, D]``, W words ``[L, D]``;
``steps`` are the linear maps of each step, ``w_s`` the last one and ``t`` the temperature of the
host.

Page: "RCAR", "Exercises".
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from itm_book.reference.plain import Function
from itm_book.reference.rcar import Maps, attend, rar, rcr, rcr_score, similarity

Steps = list[Maps]
Numbers = dict[str, float]


def zero_maps(W: Tensor, V: Tensor, steps: Steps, w_s: Function, t: float) -> Numbers:
    r"""Return the score of RCR whose last maps are zero, and the score of the host.

    Then $e_i$ stays a vector of ones and $\lambda_i$ the temperature of the host, so that every
    pass is the first one again and the score is the host's. RCR is a *correction*: small weights
    begin near the host. (Of the maps of RCAR the last step has none for RCR.)
    """
    zero = {"W_2": lambda a: 0 * W, "w_2": lambda a: 0 * a[:, :1]}
    still = [replace(maps, **zero) for maps in steps[:-1]]
    regulated = rcr_score(W, V, still, w_s, t)
    host = rcr_score(W, V, [], w_s, t)
    assert torch.isclose(regulated, host, atol=1e-6)
    return {"RCR with zero maps": float(regulated), "host": float(host)}


def signs(W: Tensor, V: Tensor, steps: Steps, w_s: Function, t: float) -> Numbers:
    r"""Return how the channel factors are distributed after the first correction, in percent.

    $e$ begins at 1 and $\tanh$ is above $-1$, so after one correction $e$ lies between 0 and 1: a
    channel is damped or left alone, never reversed. RCAR with two steps has one correction. The
    sign of a channel can change in the second correction at the earliest.
    """
    e, temperature = torch.ones_like(W), torch.full_like(W[:, :1], t)
    a = similarity(W, attend(W, V, e, temperature), steps[0])
    e, _ = rcr(a, e, temperature, steps[0])
    assert ((e >= 0) & (e <= 1)).all()
    shares = {"left alone": e == 1, "damped": (e > 0) & (e < 1), "reversed": e < 0}
    return {name: 100 * float(share.float().mean()) for name, share in shares.items()}


def equal_weights(W: Tensor, V: Tensor, steps: Steps, w_s: Function, t: float) -> Numbers:
    r"""Return the difference between RAR without $w$ and the mean, and between one step and two.

    All words then agree equally, $\beta$ is $1 / L$, and the result is the mean of the similarity
    vectors, set to unit length. It does not depend on $a_g$, so a second step changes nothing.
    """
    e, temperature = torch.ones_like(W), torch.full_like(W[:, :1], t)
    a = similarity(W, attend(W, V, e, temperature), steps[0])  # [L, K]
    mean, flat = a.mean(0, keepdim=True), replace(steps[0], w=lambda a: 0 * a[:, :1])
    once = rar(a, mean, flat)
    twice = rar(a, once, flat)
    assert torch.allclose(once, mean / mean.norm(), atol=1e-5)
    return {
        "to the mean at unit length": float((once - mean / mean.norm()).abs().max()),
        "second step to the first": float((twice - once).abs().max()),
    }
