"""Alignment of each query with its attended vector: a cosine, or a similarity vector.

Page: the SCAN chapter, "Align"; the RCAR chapter for the vectors.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from itm_core.encoders.fragments import TINY, l2norm, linear
from itm_core.models.pairing import Pairing, query_axis_of


def cosine(
    S: Tensor, weights: Tensor, pairing: Pairing, key_axis: int, *, scaled: bool = True
) -> Tensor:
    """Return the cosine of each query with its attended vector.

    SCAN equations 3 and 8. The attended vector is never formed: with s the dot products of a
    query q with the keys, a its weights and G their Gram matrix,
    ``cos = (a . s) / (|q| sqrt(a' G a))``.

    Args:
        S: ``[C, L, P, R]`` dot products.
        weights: ``[C, L, P, R]`` attention over the keys on ``key_axis``.
        scaled: divide by the query's length; otherwise the result is the dot product of the query
            with the attended vector at unit length.

    Returns ``[C, L, P, 1]`` (t2i) or ``[C, 1, P, R]`` (i2t); zero where the query or the attended
    vector is zero.
    """
    towards = (weights * S).sum(key_axis, keepdim=True)
    lengths = pairing.norm_of_mix(weights, key_axis)
    if scaled:
        lengths = lengths * pairing.norms(query_axis_of(key_axis))
    return towards / lengths.clamp_min(TINY)  # a zero vector has no direction: 0 / TINY = 0


class SimilarityVector(nn.Module):
    """``unit(W (x - y)^2 + b)``: the similarity of two vectors as a vector of width K.

    SGRAF equation 6, with the bias of its code; RCAR's alignment vector. Takes the difference
    ``x - y``, ``[..., D]``; returns ``[..., K]``.
    """

    def __init__(self, embedding: int, width: int) -> None:
        super().__init__()
        self.transform = linear(embedding, width)

    def forward(self, difference: Tensor) -> Tensor:
        """Return the similarity vectors."""
        return l2norm(along_last(self.transform, difference.square()))


def along_last(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ``layer(x)`` for a layer on the last axis of ``x [C, L, P, ...]``.

    The vectors of `AllPairs` are stored image by image; a linear layer would copy them into the
    order of the shape first.
    """
    if x.stride(2) > x.stride(0):
        return layer(x.movedim(2, 0)).movedim(0, 2)
    return layer(x)
