"""Hyperbolic tangents of linear layers through the logistic function.

``(1 + tanh z) / 2 = sigmoid(2 z)``, and on a CPU the logistic function takes a third of the time of
the tangent. The factors are folded into the small weight matrices, never into the large tensors.

Page: the RCAR chapter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from itm_core.models.alignment import along_last


def half_tanh(layers: Sequence[nn.Module], x: Tensor) -> tuple[Tensor, ...]:
    """Return ``(1 + tanh(layer(x))) / 2`` of linear layers with the same input, in one product.

    Shapes: ``x [C, L, P, R, N]``, results ``[C, L, P, R, M]``.
    """
    weight = 2 * torch.cat([layer.get_parameter("weight") for layer in layers])
    bias = 2 * torch.cat([layer.get_parameter("bias") for layer in layers])
    halves = along_last(lambda rows: linear(rows, weight, bias).sigmoid_(), x)
    return halves.split([len(layer.get_parameter("bias")) for layer in layers], -1)


def layer_of_tanh(layer: nn.Module, half: Tensor) -> Tensor:
    """Return ``layer(tanh z)`` for ``half = (1 + tanh z) / 2``; shapes as in `half_tanh`."""
    weight, bias = _folded(layer)
    return along_last(lambda rows: linear(rows, weight, bias), half)


def half_tanh_of_tanh(layer: nn.Module, half: Tensor) -> Tensor:
    """Return ``(1 + tanh(layer(tanh z))) / 2`` for ``half = (1 + tanh z) / 2``."""
    weight, bias = _folded(layer)
    weight, bias = 2 * weight, 2 * bias
    return along_last(lambda rows: linear(rows, weight, bias).sigmoid_(), half)


def _folded(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias for which ``layer(2 h - 1)`` is a linear map of ``h``."""
    weight = layer.get_parameter("weight")
    return 2 * weight, layer.get_parameter("bias") - weight.sum(1)
