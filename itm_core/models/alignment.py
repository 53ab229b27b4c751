"""Compare each query fragment with what it saw: as one number, or as a vector.

Page: the SCAN chapter, "Align"; the RCAR chapter for the vectors.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from itm_core.encoders.fragments import TINY, l2norm
from itm_core.models.pairing import Pairing, other


def cosine(
    S: Tensor, weights: Tensor, pairing: Pairing, axis: int, *, scaled: bool = True
) -> Tensor:
    """Return the cosine of each query with the vector it attended to.

    SCAN equations 3 and 8. The attended vector is never formed: with s the dot products of a
    query q with the fragments, a its weights and G their Gram matrix,
    ``cos = (a . s) / (|q| sqrt(a' G a))``.

    Args:
        S: ``[C, L, P, R]`` dot products.
        weights: ``[C, L, P, R]`` attention over the fragments on ``axis``.
        scaled: divide by the query's length; without, it is the dot product with a unit vector.

    Returns ``[C, L, P, 1]`` (words ask) or ``[C, 1, P, R]`` (regions ask); zero where the query
    or what it saw is a zero vector.
    """
    towards = (weights * S).sum(axis, keepdim=True)
    lengths = pairing.norm_of_mix(weights, axis)
    if scaled:
        lengths = lengths * pairing.norms(other(axis))
    return towards / lengths.clamp_min(TINY)  # a zero vector has no direction: 0 / TINY = 0


class SimilarityVector(nn.Module):
    """``unit(W (x - y)^2 + b)``: how two vectors agree, as a vector of width K.

    SGRAF equation 6, with the bias of its code; RCAR's alignment vector. Called with the
    difference of the two.

    Shapes: ``[..., D]`` to ``[..., K]``.
    """

    def __init__(self, embedding: int, width: int) -> None:
        super().__init__()
        self.transform = linear(embedding, width)

    def forward(self, difference: Tensor) -> Tensor:
        """Return the similarity vectors."""
        return l2norm(along_last(self.transform, difference.square()))


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear map with Xavier-uniform weights and zero bias, as SGRAF and RCAR start."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def along_last(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ``layer(x)`` for a layer on the last axis of ``x [C, L, P, ...]``.

    All pairs are mixed image by image, so their vectors lie image by image too; a linear layer
    would copy them into the order of the shape first.
    """
    if x.stride(2) > x.stride(0):
        return layer(x.movedim(2, 0)).movedim(0, 2)
    return layer(x)
