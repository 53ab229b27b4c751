"""Compare each query fragment with what it saw.

Page: the SCAN chapter, "Align".
"""

from __future__ import annotations

from torch import Tensor

from itm_core.fragments import TINY
from itm_core.pairing import Pairing, other


def cosine(S: Tensor, weights: Tensor, pairing: Pairing, axis: int) -> Tensor:
    """Return the cosine of each query with the vector it attended to.

    SCAN equations 3 and 8. The attended vector is never formed: with s the dot products of a
    query q with the fragments, a its weights and G their Gram matrix,
    ``cos = (a . s) / (|q| sqrt(a' G a))``.

    Args:
        S: ``[C, L, P, R]`` dot products.
        weights: ``[C, L, P, R]`` attention over the fragments on ``axis``.

    Returns ``[C, L, P, 1]`` (words ask) or ``[C, 1, P, R]`` (regions ask); zero where the query
    or what it saw is a zero vector.
    """
    towards = (weights * S).sum(axis, keepdim=True)
    lengths = pairing.norms(other(axis)) * pairing.norm_of_mix(weights, axis)
    return towards / lengths.clamp_min(TINY)  # a zero vector has no direction: 0 / TINY = 0
