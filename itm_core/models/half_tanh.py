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


def half_tanh(layers: Sequence[nn.Linear], x: Tensor) -> tuple[Tensor, ...]:
    """Return ``(1 + tanh(layer(x))) / 2`` of layers that share their input, in one product.

    Shapes: ``x [C, L, P, R, N]``, results ``[C, L, P, R, M]``.
    """
    weight = 2 * torch.cat([layer.weight for layer in layers])
    bias = 2 * torch.cat([layer.bias for layer in layers])
    halves = along_last(lambda rows: linear(rows, weight, bias).sigmoid_(), x)
    return halves.split([layer.out_features for layer in layers], -1)


def layer_of_tanh(layer: nn.Linear, half: Tensor) -> Tensor:
    """Return ``layer(tanh z)`` for ``half = (1 + tanh z) / 2``; shapes as in `half_tanh`."""
    weight, bias = _folded(layer)
    return along_last(lambda rows: linear(rows, weight, bias), half)


def half_tanh_of_tanh(layer: nn.Linear, half: Tensor) -> Tensor:
    """Return ``(1 + tanh(layer(tanh z))) / 2`` for ``half = (1 + tanh z) / 2``."""
    weight, bias = _folded(layer)
    weight, bias = 2 * weight, 2 * bias
    return along_last(lambda rows: linear(rows, weight, bias).sigmoid_(), half)


def _folded(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """Return weight and bias for which ``layer(2 h - 1)`` is a linear map of ``h``."""
    return 2 * layer.weight, layer.bias - layer.weight.sum(1)
