"""Cross-attention weights: soft attention, normalisations, focal gates, hard assignment.

SCAN equations 1-2 (image-text) and 6-7 (text-image). Page: the SCAN chapter, "Attend".
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from itm_core.encoders.fragments import TINY, length
from itm_core.models.pairing import Pairing, query_axis_of
from itm_core.settings import registered

SLOPE = 0.1  # the paper has max(s, 0); the released code of all hosts a leaky ReLU of slope 0.1
Normalisation = Callable[[Tensor, int, Tensor | None, float], Tensor]
Gate = Callable[[Tensor, int, Tensor | None], Tensor]


def normalise(
    S: Tensor, kind: str, axis: int, mask: Tensor | None = None, *, scale: float = 1.0
) -> Tensor:
    """Return the dot products ``S`` normalised along ``axis``, the axis of the queries.

    A key that is similar to every query then attracts no more attention than one that is similar
    to a single query. Raises `InputError` for a kind that is not in `NORMALISATIONS`.

    Args:
        S: ``[C, L, P, R]`` dot products.
        mask: True where a query is real; only ``softmax`` needs it, as padded queries are zero.
        scale: multiplies the result, within the division by the norm.
    """
    return registered("normalisation", kind, NORMALISATIONS)(S, axis, mask, scale)


def _softmax(S: Tensor, axis: int, mask: Tensor | None, scale: float) -> Tensor:
    unpadded = S if mask is None else S.masked_fill(~mask, -torch.inf)
    return unpadded.softmax(axis) * scale


def _l2norm(S: Tensor, axis: int, mask: Tensor | None, scale: float) -> Tensor:
    return S * (scale / (length(S, axis) + TINY))


def _l1norm(S: Tensor, axis: int, mask: Tensor | None, scale: float) -> Tensor:
    return S * (scale / (S.abs().sum(axis, keepdim=True) + TINY))


def _no_norm(S: Tensor, axis: int, mask: Tensor | None, scale: float) -> Tensor:
    return S * scale


def _clipped(normalisation: Normalisation) -> Normalisation:
    """Return the normalisation after a leaky ReLU of the dot products."""
    return lambda S, axis, mask, scale: normalisation(leaky_relu(S, SLOPE), axis, mask, scale)


NORMALISATIONS: dict[str, Normalisation] = {  # the default of all hosts is the first
    "clipped_l2norm": _clipped(_l2norm),
    "clipped_l1norm": _clipped(_l1norm),
    "clipped": _clipped(_no_norm),
    "l2norm": _l2norm,
    "l1norm": _l1norm,
    "softmax": _softmax,
    "no_norm": _no_norm,
}


def attend(
    S: Tensor,
    pairing: Pairing,
    key_axis: int,
    *,
    kind: str,
    temperature: float | Tensor,
    gate: str = "none",
) -> Tensor:
    """Return attention weights over the keys on ``key_axis``, summing to one for each query.

    ``softmax(temperature * normalise(S))``: SCAN equations 2 and 7, with lambda_1 the temperature.
    ``S`` and the result are ``[C, L, P, R]``; a temperature per query broadcasts to that. Padded
    keys get weight zero.
    """
    query_axis = query_axis_of(key_axis)
    scale = 1.0 if isinstance(temperature, Tensor) else temperature
    Z = normalise(S, kind, query_axis, pairing.mask(query_axis), scale=scale)
    if isinstance(temperature, Tensor):
        Z = Z * temperature
    mask = pairing.mask(key_axis)
    if mask is not None:
        Z = Z.masked_fill(~mask, -torch.inf)
    return focused(Z.softmax(key_axis), key_axis, gate, mask)


def focused(weights: Tensor, axis: int, gate: str, mask: Tensor | None = None) -> Tensor:
    """Return the weights with irrelevant keys set to zero and the others renormalised.

    BFAN section 3.3; ``axis`` is that of the keys. ``equal`` keeps key i where
    ``sum_t (w_i - w_t) > 0``, that is above the mean; ``prob`` where
    ``sum_t (w_i - w_t) sqrt(w_t) > 0``, that is above ``sum w^1.5 / sum w^0.5``. Where no weight
    is above (all are equal) all are kept: the released code divides zero by zero there. Raises
    `InputError` for an unknown gate.
    """
    return registered("gate", gate, GATES)(weights, axis, mask)


def _equal(weights: Tensor, axis: int, mask: Tensor | None) -> Tensor:
    count = weights.shape[axis] if mask is None else mask.sum(axis, keepdim=True).to(weights)
    return _above(weights, 1.0 / count, axis)


def _prob(weights: Tensor, axis: int, mask: Tensor | None) -> Tensor:
    root = weights.detach().sqrt()
    threshold = (root * weights.detach()).sum(axis, keepdim=True) / root.sum(axis, keepdim=True)
    return _above(weights, threshold, axis)


def _above(weights: Tensor, threshold: Tensor | float, axis: int) -> Tensor:
    """Return the weights above a threshold, renormalised; all weights where none is above."""
    above = weights > threshold
    above |= ~above.any(axis, keepdim=True)
    focal = weights * above
    return focal / focal.sum(axis, keepdim=True).clamp_min(TINY)


GATES: dict[str, Gate] = {"none": lambda w, axis, mask: w, "equal": _equal, "prob": _prob}


def choose(S: Tensor, pairing: Pairing, key_axis: int) -> Tensor:
    """Return the index of the key with the largest dot product; ``key_axis`` gets size 1.

    CHAN's hard assignment of each query to its nearest key, the first of equals.
    Padded keys are never chosen. Page: the CHAN chapter, "The method as code".
    """
    mask = pairing.mask(key_axis)
    return (S if mask is None else S.masked_fill(~mask, -torch.inf)).argmax(key_axis, keepdim=True)
