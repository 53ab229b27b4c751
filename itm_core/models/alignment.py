"""Alignment of each query with its attended vector: a cosine, or a similarity vector.

Page: the SCAN chapter, "Align"; the RCAR chapter for the vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear as linear_map

from itm_core.encoders.fragments import TINY, length, linear
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
        """Return the similarity vectors; without a gradient the difference is overwritten."""
        if torch.is_grad_enabled():
            weight, bias = self.transform.weight, self.transform.bias
            return along_last(lambda rows: _UnitOfSquares.apply(rows, weight, bias), difference)
        x = along_last(self.transform, difference.square_())
        return x.div_(length(x).add_(TINY))  # as l2norm(x), in place


class _UnitOfSquares(torch.autograd.Function):
    """``l2norm(W x^2 + b)`` of rows ``x [N, D]``, ``[N, K]``, with a backward pass of few passes.

    The squares are computed again in the backward pass, which saves the memory of one ``[N, D]``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the unit vectors, and save them with their lengths."""
        y = linear_map(x.square(), weight, bias)
        lengths = length(y)
        y.div_(lengths + TINY)
        ctx.save_for_backward(x, weight, y, lengths)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of rows, weight and bias.

        With ``z = W x^2 + b``, ``l = |z|`` and ``y = z / (l + eps)``, the gradient of z is
        ``(g - y (y . g) (l + eps) / l) / (l + eps)``.
        """
        x, weight, y, lengths = ctx.saved_tensors
        along = (slope * y).sum(-1, keepdim=True)
        # below the clamp of `length` the length is constant
        along.mul_((lengths + TINY) / lengths).masked_fill_(lengths <= 1e-15, 0)
        of_z = torch.addcmul(slope, y, along, value=-1).div_(lengths + TINY)
        of_x = (of_z @ (2 * weight)).mul_(x) if ctx.needs_input_grad[0] else None
        of_weight = of_z.mT @ x.square() if ctx.needs_input_grad[1] else None
        return of_x, of_weight, of_z.sum(0) if ctx.needs_input_grad[2] else None


def along_last(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ``layer(rows)`` for the rows ``[N, D]`` of ``x [C, ..., D]``, in its shape.

    The vectors of `AllPairs` are stored image by image; a linear layer would copy them into the
    order of the shape first.
    """
    by_image = x.stride(2) > x.stride(0)
    stored = x.movedim(2, 0) if by_image else x
    result = layer(stored.flatten(0, -2)).unflatten(0, stored.shape[:-1])
    return result.movedim(0, 2) if by_image else result
