"""Functions shared by the references: query and keys, linear map, batch norm, cosine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from itm_core.settings import registered

Weights = Mapping[str, Tensor]
Function = Callable[[Tensor], Tensor]
EPSILON = 1e-8


def unit(x: Tensor) -> Tensor:
    """Return ``x / (|x| + 1e-8)`` along the last axis."""
    return x / (x.pow(2).sum(-1, keepdim=True).sqrt() + EPSILON)


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Return ``W x + b`` with the matrix and the bias of that name."""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def batch_norm(
    x: Tensor, weights: Weights, name: str, axis: int, *, training: bool = False
) -> Tensor:
    """Return ``x`` with each channel on ``axis`` normalised, in training by its own statistics."""
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    if training:
        others = [k for k in range(x.ndim) if k != axis]
        mean, var = x.mean(others), x.var(others, correction=0)
    else:
        mean, var = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
    mean, var, scale, shift = (v.view(shape) for v in (mean, var, scale, shift))
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


def query_and_keys(regions: Tensor, caption: Tensor, direction: str) -> tuple[Tensor, Tensor]:
    """Return queries and keys of all images with one caption: words and regions, or the reverse.

    ``regions [I, R, D]``; ``caption [L, D]`` has no padding and is repeated for every image.
    ``direction`` is ``t2i`` or ``i2t``.
    """
    words = caption.repeat(len(regions), 1, 1)
    sides = {"t2i": (words, regions), "i2t": (regions, words)}
    return registered("direction", direction, sides)


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Return the cosine of ``x`` and ``y`` along the last axis."""
    lengths = x.pow(2).sum(-1).sqrt() * y.pow(2).sum(-1).sqrt()
    return (x * y).sum(-1) / lengths.clamp(min=1e-8)  # a zero vector has cosine 0
